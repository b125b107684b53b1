"""The alarm on errors that takes a model back during its probation, made at its promotion, and the schedule that watches.

One share for all models would keep the alarm of a live model that fails more often in ALARM, where no change takes anything back.
So the share is that of the hours before and of the bake, by the rule that holds a fleet which is alone.

See: docs/adr/0040-rollouts-are-compared.md
"""

from dataclasses import replace
from typing import Any

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.execution_names import version_tags
from mlops_runtime.rollout.fleet_alarms import BREACH
from mlops_runtime.rollout.fleet_comparison import ComparisonRule
from mlops_runtime.rollout.fleet_minutes import FleetMetrics, FleetMinutes
from mlops_runtime.rollout.live_history import usual_share

METRIC = "Invocation5XXErrors"  # all kinds of endpoints have it, and a caller's malformed call is not counted
# what a model may fail on where nothing is known of the one before; less is chance at five errors in five minutes
LEAST_SHARE = 0.01
LEAST_ERRORS = 5
_PERIOD, _PERIODS = 300, 3
_DIGITS = 4
# of a probation that is asked at least this often, the last time is in its last part
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
    """Return the name of the rule that has the schedule.

    Example:
        >>> probation_rule("demand-forecast")
        'demand-forecast-probation'
    """
    return f"{endpoint}-probation"


def watch_minutes(probation: int) -> int:
    """Return how often a probation of so many seconds looks.

    Example:
        >>> watch_minutes(600), watch_minutes(3600), watch_minutes(86400)
        (1, 10, 60)
    """
    return min(_MOST_MINUTES, max(_LEAST_MINUTES, probation // 60 // _PARTS))


def counted(fleet: FleetMetrics) -> FleetMetrics:
    """Return where the alarm's errors of a fleet are counted."""
    metric = replace(fleet.calls, metric=METRIC)
    return replace(fleet, calls=metric, errors=(metric,), calls_statistic="SampleCount")


def allowed_share(found: FleetMinutes, rule: ComparisonRule) -> float | None:
    """Return the share of calls that a model alone may fail on: a multiple of what the live one stayed below before.

    Args:
        found: Minutes of both fleets, with the live one's before.
        rule: What a rollout tolerates.

    Returns:
        At least `LEAST_SHARE`; None where the live model was asked nothing.
    """
    usual = usual_share([*found.history, *(minute.old for minute in found.minutes)])
    if usual is None:
        return None
    return round(min(1.0, max(LEAST_SHARE, rule.alone * (usual + rule.extra))), _DIGITS)


def alarm_request(spec: ServingSpec, execution: str) -> dict[str, Any]:
    """Return the arguments of PutMetricAlarm without what depends on the share, which is known after the bake.

    The machine adds the expression ``IF(errors >= 5 AND errors > SHARE * calls, 1, 0)``.

    Args:
        spec: How the endpoint is served.
        execution: ARN of the execution, for the tags.
    """
    values = {"EndpointName": spec.endpoint, "VariantName": spec.variant}
    dimensions = [{"Name": name, "Value": value} for name, value in values.items()]
    metric = {"Namespace": "AWS/SageMaker", "MetricName": METRIC, "Dimensions": dimensions}

    def of(id: str, statistic: str) -> dict[str, Any]:
        stat = {"Metric": metric, "Period": _PERIOD, "Stat": statistic}
        return {"Id": id, "MetricStat": stat, "ReturnData": False}

    return {
        **BREACH,
        "AlarmName": probation_alarm(spec.endpoint),
        "EvaluationPeriods": _PERIODS,
        "DatapointsToAlarm": _PERIODS,
        "Threshold": 0.0,
        "ActionsEnabled": False,
        "Tags": version_tags(spec, execution),
        "Metrics": [of("errors", "Sum"), of("calls", "SampleCount")],
    }
