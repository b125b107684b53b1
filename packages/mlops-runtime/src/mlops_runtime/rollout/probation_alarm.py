"""Error alarm that rolls a model back during its probation, created at its promotion, and the schedule of the probation.

A fixed share for all models would keep the alarm of a live model that fails more often in ALARM, without a state change that could
start a rollback. So the share depends on the previous model (``probation_share``).

See: docs/adr/0040-rollouts-are-compared.md
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.execution_names import version_tags
from mlops_runtime.rollout.fleet_alarms import BREACH
from mlops_runtime.rollout.fleet_minutes import FleetMetrics

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import (
        MetricDataQueryTypeDef,
        MetricStatTypeDef,
        PutMetricAlarmInputTypeDef,
    )

LEAST_ERRORS = 5
_PERIOD, _PERIODS = timedelta(minutes=5), 3
# least number of checks in a probation, so that the last check is in its last part
_PARTS = 6
_LEAST_MINUTES, _MOST_MINUTES = 1, 60


def probation_alarm(endpoint: str) -> str:
    """Return the name of the alarm of an endpoint's probation.

    Example:
        >>> probation_alarm("demand-forecast")
        'demand-forecast-probation-errors'
    """
    return f"{endpoint}-probation-errors"


def probation_rule(endpoint: str) -> str:
    """Return the name of the scheduled rule of an endpoint's probation.

    Example:
        >>> probation_rule("demand-forecast")
        'demand-forecast-probation'
    """
    return f"{endpoint}-probation"


def watch_minutes(probation: int) -> int:
    """Return the minutes between two checks in a probation of ``probation`` seconds.

    Example:
        >>> watch_minutes(600), watch_minutes(3600), watch_minutes(86400)
        (1, 10, 60)
    """
    return min(_MOST_MINUTES, max(_LEAST_MINUTES, probation // 60 // _PARTS))


def alarm_request(spec: ServingSpec, execution: str, counted: FleetMetrics) -> "PutMetricAlarmInputTypeDef":
    """Return the arguments of PutMetricAlarm without the expression, since its share is only known after the bake.

    The machine adds the expression ``IF(errors >= 5 AND errors > SHARE * calls, EPOCH(calls) >= PROMOTION, 0)``, so only periods
    that begin after the promotion count.

    Args:
        spec: The endpoint's serving spec.
        execution: ARN of the execution, for the tags.
        counted: Metrics of the endpoint's calls, for all versions.
    """
    return {
        "ComparisonOperator": BREACH["ComparisonOperator"],
        "TreatMissingData": BREACH["TreatMissingData"],
        "AlarmName": probation_alarm(spec.endpoint),
        "EvaluationPeriods": _PERIODS,
        "DatapointsToAlarm": _PERIODS,
        "Threshold": 0.0,
        "ActionsEnabled": False,
        "Tags": version_tags(spec, execution),
        "Metrics": _metrics(counted),
    }


def _metrics(counted: FleetMetrics) -> "list[MetricDataQueryTypeDef]":
    """Return ``errors`` and ``calls``; an error metric that is only published on errors counts as 0 otherwise."""
    calls, errors = counted.calls.query(counted.calls_statistic, _PERIOD), counted.errors
    if counted.calls_statistic == "SampleCount":
        return [_counted("errors", errors[0].query("Sum", _PERIOD)), _counted("calls", calls)]
    names = [f"failed{number}" for number in range(len(errors))]
    total = " + ".join(f"FILL({name}, 0)" for name in names)
    return [
        *(_counted(name, each.query("Sum", _PERIOD)) for name, each in zip(names, errors, strict=True)),
        _counted("answered", calls),
        {"Id": "errors", "Expression": total, "ReturnData": False},
        {"Id": "calls", "Expression": f"FILL(answered, 0) + {total}", "ReturnData": False},
    ]


def _counted(id: str, stat: "MetricStatTypeDef") -> "MetricDataQueryTypeDef":
    return {"Id": id, "MetricStat": stat, "ReturnData": False}
