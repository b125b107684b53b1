"""Names and definitions of a new fleet's alarms, which only exist during a rollout.

Fleets differ in the dimension of the endpoint config's name, which is known only at run time. Missing data is not a breach, since a
new fleet has none yet; ``min_invocations`` checks that it got requests at all.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import MetricRule
from mlops_runtime.rollout.execution_names import version_tags
from mlops_runtime.rollout.fleet_capacity import error_metric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.literals import ComparisonOperatorType, StatisticType
    from mypy_boto3_cloudwatch.type_defs import (
        DimensionTypeDef,
        MetricDataQueryTypeDef,
        MetricTypeDef,
        PutMetricAlarmInputTypeDef,
        PutMetricDataInputTypeDef,
    )

ABORT = "abort"  # suffix of the alarm that a user sets to roll back
ABORT_NAMESPACE = "MLOps/Rollout"
ABORT_METRIC = "RolloutAbort"
VERDICT = "verdict"  # suffix of the alarm that the comparison of both fleets sets
VERDICT_METRIC = "RolloutVerdict"
VERDICTS = "verdicts"  # folder of the compared minutes
_SAGEMAKER = "AWS/SageMaker"
# without a comparison: most responses of the new fleet fail, while the old fleet's succeed
_DEAD = "IF(n > 20 AND {x} / n > 0.5 AND FILL({y} / m, 0) < 0.25, 1, 0)"
_DEAD_PERIODS, _DEAD_DATAPOINTS = 3, 2
SLOW_PERIODS = 3  # of five
# without a comparing function: x of n responses of the new fleet failed, all_x of all_n of both fleets. Three times the old
# fleet's failing share plus a percentage point is tolerated, or 5 % if only the new fleet gets calls. No divisions: an old fleet
# without calls has no share
WORSE = (
    "IF(n >= 20 AND x >= 5 AND ((x * (all_n - n) > n * (0.01 * (all_n - n) + 3 * (all_x - x))) "
    "OR (all_n <= n AND x > 0.05 * n)), 1, 0)"
)
WORSE_TEXT = (
    "in three of five minutes, at least 5 of 20 or more answers fail, and more than three times the old fleet's failing share plus "
    "one percentage point, or more than 5 % where only the new fleet gets calls"
)
WORSE_PERIODS, WORSE_DATAPOINTS = 5, 3
_HOLDS = 5


class Breach(TypedDict):
    """Arguments of PutMetricAlarm that most alarms have."""

    ComparisonOperator: "ComparisonOperatorType"
    TreatMissingData: str


BREACH: Breach = {"ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}


def alarm_prefix(endpoint: str) -> str:
    """Return the common prefix of the names of an endpoint's new-fleet alarms."""
    return f"{endpoint}-rollout-"


def fleet_stem(endpoint: str, config: str) -> str:
    """Return the common prefix of the names of one new fleet's alarms.

    Example:
        >>> fleet_stem("demand-forecast", "demand-forecast-4588cf62")
        'demand-forecast-rollout-4588cf62-'
    """
    return f"{alarm_prefix(endpoint)}{config.rpartition('-')[2]}-"


def alarm_kinds(rollout: RolloutSpec) -> tuple[str, ...]:
    """Return the suffixes of the names of a new fleet's alarms.

    Example:
        >>> alarm_kinds(RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=50, max_latency_ms=100))
        ('verdict', 'dead', 'latency', 'abort')
    """
    return (
        VERDICT,
        "dead",
        *(() if rollout.max_error_count is None else ("errors",)),
        *(() if rollout.max_latency_ms is None else ("latency",)),
        *(f"metric-{number}" for number in range(1, len(rollout.metrics or ()) + 1)),
        ABORT,
    )


def verdict_dimensions(endpoint: str, config: str) -> "list[DimensionTypeDef]":
    """Return the dimensions of the metric that keeps a new fleet's verdict alarm in ALARM."""
    values = {"EndpointName": endpoint, "EndpointConfigName": config}
    return [{"Name": name, "Value": value} for name, value in values.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequest:
    """Request to stop a new fleet: its alarm, and the arguments of PutMetricData that keep the alarm in ALARM."""

    alarm: str
    metric: "PutMetricDataInputTypeDef"


def verdict_alarm(endpoint: str, config: str) -> StopRequest:
    """Return the request to stop a new fleet by its verdict alarm."""
    return StopRequest(
        alarm=f"{fleet_stem(endpoint, config)}{VERDICT}",
        metric={
            "Namespace": ABORT_NAMESPACE,
            "MetricData": [
                {"MetricName": VERDICT_METRIC, "Dimensions": verdict_dimensions(endpoint, config), "Value": 1.0}
            ],
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetAlarms:
    """The alarms of one new fleet."""

    spec: ServingSpec  # serving spec with the limits of its rollout
    config: str  # name of its endpoint config
    previous: str  # name of the old fleet's config
    execution: str  # ARN of the execution
    # whether it is the fleet of a rollback, which only has the alarm for a dead fleet. It cannot be aborted, since that
    # would return to the version that was rolled back from
    is_rollback: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the alarms."""
        stem = fleet_stem(self.spec.endpoint, self.config)
        return tuple(f"{stem}{kind}" for kind in self._kinds)

    def requests(self) -> "list[PutMetricAlarmInputTypeDef]":
        """Return the arguments of PutMetricAlarm for each alarm."""
        return list(self._alarms())

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("dead",) if self.is_rollback else alarm_kinds(self.spec.rollout)

    def _alarms(self) -> "Iterator[PutMetricAlarmInputTypeDef]":
        rollout = self.spec.rollout
        if self.is_rollback:
            yield self._dead()
            return
        yield self._verdict()
        yield self._dead()
        if rollout.max_error_count is not None:
            yield self._errors(rollout.max_error_count)
        if rollout.max_latency_ms is not None:
            yield self._latency(rollout.max_latency_ms)
        for number, rule in enumerate(rollout.metrics or (), 1):
            yield self._metric(f"metric-{number}", rule)
        yield self._abort()

    def _common(self, kind: str) -> "PutMetricAlarmInputTypeDef":
        """Common part of all alarms.

        One datapoint raises an alarm, and it stays in ALARM as long as the bake allows, at most five periods: a poll once a
        minute sees it, so that the record can name it.
        """
        return {
            "AlarmName": f"{fleet_stem(self.spec.endpoint, self.config)}{kind}",
            "EvaluationPeriods": self._periods(),
            "DatapointsToAlarm": 1,
            "ActionsEnabled": False,
            "Tags": version_tags(self.spec, self.execution),
        }

    def _verdict(self) -> "PutMetricAlarmInputTypeDef":
        """The function ``rollout_verdict`` sets it, and publishes the value that keeps it in ALARM."""
        return {
            **self._common(VERDICT),
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "ignore",
            "AlarmDescription": self._description("fails more often, or answers more slowly, than the old fleet"),
            "Namespace": ABORT_NAMESPACE,
            "MetricName": VERDICT_METRIC,
            "Dimensions": verdict_dimensions(self.spec.endpoint, self.config),
            "Period": 60,
            "Statistic": "Sum",
            "Threshold": 0.0,
        }

    def _dead(self) -> "PutMetricAlarmInputTypeDef":
        """Rolls back if the machine that requests verdicts has died."""
        metrics, x, y = self._dead_metrics()
        return {
            **self._common("dead"),
            **BREACH,
            "EvaluationPeriods": _DEAD_PERIODS,
            "DatapointsToAlarm": _DEAD_DATAPOINTS,
            "AlarmDescription": self._description(
                "most of more than 20 answers in a minute failed, and few of the old fleet's"
            ),
            "Metrics": [
                *metrics,
                {"Id": "dead", "Expression": _DEAD.format(x=x, y=y), "Label": "dead", "ReturnData": True},
            ],
            "Threshold": 0.0,
        }

    def _dead_metrics(self) -> "tuple[list[MetricDataQueryTypeDef], str, str]":
        """Return the metrics, with calls as ``n`` and ``m``, and the expressions of both fleets' failing answers."""

        def of(id: str, config: str, statistic: str) -> "MetricDataQueryTypeDef":
            metric = self._own(error_metric(self.spec), config)
            return {
                "Id": id,
                "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic},
                "ReturnData": False,
            }

        new = [of("x", self.config, "Sum"), of("n", self.config, "SampleCount")]
        return [*new, of("y", self.previous, "Sum"), of("m", self.previous, "SampleCount")], "x", "y"

    def _errors(self, count: int) -> "PutMetricAlarmInputTypeDef":
        """An absolute limit of errors, if the policy has one."""
        rollout = self.spec.rollout
        return {
            **self._common("errors"),
            **BREACH,
            **self._own(error_metric(self.spec), self.config),
            "AlarmDescription": self._description(f"more than {count} errors in {rollout.alarm_period} s"),
            "Period": rollout.alarm_period,
            "Statistic": "Sum",
            "Threshold": float(count),
        }

    def _latency(self, milliseconds: int) -> "PutMetricAlarmInputTypeDef":
        return {
            **self._slow(f"model latency above {milliseconds} ms"),
            **self._own("ModelLatency", self.config),
            "Threshold": milliseconds * 1000.0,  # ModelLatency is in microseconds
        }

    def _slow(self, what: str) -> "PutMetricAlarmInputTypeDef":
        """Common part of latency alarms. They need several periods: among few responses, one slow one is the 95th percentile."""
        periods = self._periods()
        return {
            **self._common("latency"),
            **BREACH,
            "AlarmDescription": self._description(
                f"95th percentile of {what} in {min(SLOW_PERIODS, periods)} of {periods} periods"
            ),
            "Period": self.spec.rollout.alarm_period,
            "ExtendedStatistic": "p95",
            "DatapointsToAlarm": min(SLOW_PERIODS, periods),
        }

    def _periods(self) -> int:
        rollout = self.spec.rollout
        return max(1, min(_HOLDS, rollout.bake // rollout.alarm_period))

    def _metric(self, kind: str, rule: MetricRule) -> "PutMetricAlarmInputTypeDef":
        dimensions = dict(rule.dimensions) | ({"EndpointConfigName": self.config} if rule.is_per_fleet else {})
        what = f"{rule.statistic} of {rule.namespace} {rule.metric} is {rule.comparison} {rule.threshold:g}"
        alarm: PutMetricAlarmInputTypeDef = {
            **self._common(kind),
            **BREACH,
            "ComparisonOperator": rule.comparison,
            "AlarmDescription": self._description(what),
            "Namespace": rule.namespace,
            "MetricName": rule.metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in sorted(dimensions.items())],
            "Period": self.spec.rollout.alarm_period,
        }
        if rule.statistic.startswith("p"):
            alarm["ExtendedStatistic"] = rule.statistic
        else:
            alarm["Statistic"] = cast("StatisticType", rule.statistic)
        alarm["Threshold"] = float(rule.threshold)
        return alarm

    def _abort(self) -> "PutMetricAlarmInputTypeDef":
        """Its metric is never published: a user sets the alarm to ALARM, and ``ignore`` keeps it there."""
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
        return {
            **self._common(ABORT),
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "ignore",
            "AlarmDescription": self._description("set to ALARM to roll back at once (mlops rollback)"),
            "Namespace": ABORT_NAMESPACE,
            "MetricName": ABORT_METRIC,
            "Dimensions": [{"Name": "EndpointName", "Value": self.spec.endpoint}],
            "Period": 60,
            "Statistic": "Sum",
            "Threshold": 0.0,
        }

    def _own(self, metric: str, config: str) -> "MetricTypeDef":
        values = {"EndpointName": self.spec.endpoint, "VariantName": self.spec.variant, "EndpointConfigName": config}
        dimensions: list[DimensionTypeDef] = [{"Name": name, "Value": value} for name, value in values.items()]
        return {"Namespace": _SAGEMAKER, "MetricName": metric, "Dimensions": dimensions}

    def _description(self, what: str) -> str:
        return f"new fleet {self.config}: {what}; SageMaker rolls the deployment back"
