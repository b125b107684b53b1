"""The alarms of a candidate's slot, which only exist while a rollout runs: what SageMaker's say of a fleet, said of a target group.

See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import EksSpec
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.rollout.fleet_alarms import BREACH, FleetAlarms
from mlops_runtime.rollout.fleet_minutes import FleetMetric, FleetMetrics
from mlops_runtime.rollout.probation_share import ShareRequest
from mlops_runtime.rollout.verdict_request import tolerated_share

NAMESPACE = "AWS/ApplicationELB"
# `RequestCount` has every request for which a target was chosen, answered or not
ANSWERED = "HTTPCode_Target_2XX_Count"
_LATENCY = "TargetResponseTime"
_FAILED = "HTTPCode_Target_5XX_Count"
# what the load balancer answers itself, for want of a pod or of its answer, is published for no target group
_UNANSWERED = "HTTPCode_ELB_5XX_Count"
# what a candidate answers with anything but success, and what it does not answer at all
_ERRORS = {
    "failed": _FAILED,
    "refused": "HTTPCode_Target_4XX_Count",
    "unreached": "TargetConnectionErrorCount",
}
_CALLS = "RequestCount"
_SECOND = 1000.0  # in milliseconds
_MINUTE = 60

Request = dict[str, Any]


def dimensions(eks: EksSpec, slot: str) -> list[Request]:
    """Return the dimensions of a slot's metrics: its target group behind the rule's load balancer.

    Example:
        >>> dimensions(eks, "blue")  # doctest: +SKIP
        [{'Name': 'LoadBalancer', 'Value': 'app/demand/1'}, {'Name': 'TargetGroup', 'Value': 'targetgroup/blue/2'}]
    """
    return [{"Name": name, "Value": value} for name, value in _places(eks.rule, eks.target_groups[slot]).items()]


def answer_time(rule: str, target_group: str) -> FleetMetric:
    """Return where CloudWatch has the time of a slot's answers, in seconds.

    Args:
        rule: ARN of the listener rule.
        target_group: ARN of the slot's target group.

    Example:
        >>> answer_time("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/demand/1/2/3",
        ...             "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/blue/2").dimensions
        {'LoadBalancer': 'app/demand/1', 'TargetGroup': 'targetgroup/blue/2'}
    """
    return FleetMetric(namespace=NAMESPACE, metric=_LATENCY, dimensions=_places(rule, target_group))


def slot_fleet(eks: EksSpec, slot: str) -> FleetMetrics:
    """Return where a slot is counted; a request without an answer is not counted."""
    values = {each["Name"]: each["Value"] for each in dimensions(eks, slot)}

    def of(metric: str) -> FleetMetric:
        return FleetMetric(namespace=NAMESPACE, metric=metric, dimensions=values)

    return FleetMetrics(
        calls=of(ANSWERED),
        calls_statistic="Sum",
        errors=tuple(of(metric) for metric in _ERRORS.values()),
        latency=of(_LATENCY),
        milliseconds=_SECOND,
    )


def _places(rule: str, target_group: str) -> dict[str, str]:
    # arn:...:listener-rule/app/<name>/<id>/<listener>/<rule> and arn:...:targetgroup/<name>/<id>
    balancer = "/".join(rule.partition("listener-rule/")[2].split("/")[:3])
    return {"LoadBalancer": balancer, "TargetGroup": target_group.rpartition(":")[2]}


def slot_share(spec: ServingSpec, *, old: str, since: str, serves_since: str | None = None) -> ShareRequest:
    """Return where the model before is counted: the service until the rollout began, and since then its slot.

    Of the load balancer's own failures none is known which slot they were of, so they count before alone. Refused calls are
    callers' own.

    Args:
        spec: How the service is served.
        old: Its slot.
        since: When the rollout began (ISO 8601).
        serves_since: Since when the model before is live (ISO 8601). Default: not known.
    """
    whole, slot = (
        {each["Name"]: each["Value"] for each in dimensions(eks_of(spec), old)[:places]} for places in (1, 2)
    )

    def counted(values: dict[str, str], *failures: str) -> FleetMetrics:
        calls, *errors = (
            FleetMetric(namespace=NAMESPACE, metric=metric, dimensions=values) for metric in (ANSWERED, *failures)
        )
        return FleetMetrics(calls=calls, calls_statistic="Sum", errors=tuple(errors))

    return ShareRequest(
        since=since,
        before=counted(whole, _FAILED, _UNANSWERED),
        tolerated=tolerated_share(spec),
        old=counted(slot, _FAILED),
        serves_since=serves_since,
    )


def _total(names: Iterable[str]) -> str:
    """Return the sum of error metrics, each of which is published only when it happens."""
    return " + ".join(f"FILL({name}, 0)" for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotAlarms(FleetAlarms):
    """The alarms of a candidate's slot; kinds and names are those of a fleet on SageMaker.

    Args:
        slot: The candidate's slot.
        live_slot: The slot that is compared with.
    """

    slot: str
    live_slot: str

    def _dead_metrics(self) -> tuple[list[Request], str, str]:
        slots = {"new": self.slot, "old": self.live_slot}
        counts = (("n", self.slot), ("m", self.live_slot))
        metrics = [self._metric_of(name, _CALLS, slot, "Sum", period=_MINUTE) for name, slot in counts]
        totals: list[str] = []
        for whose, slot in slots.items():
            names = {f"{whose}_{name}": metric for name, metric in _ERRORS.items()}
            metrics += [self._metric_of(name, metric, slot, "Sum", period=_MINUTE) for name, metric in names.items()]
            totals.append(f"({_total(names)})")
        return metrics, totals[0], totals[1]

    def _errors(self, count: int) -> Request:
        rollout = self.spec.rollout
        metrics = [self._metric_of(name, metric, self.slot, "Sum") for name, metric in _ERRORS.items()]
        return {
            **BREACH,
            "AlarmDescription": self._says(f"more than {count} errors in {rollout.alarm_period} s"),
            "Metrics": [
                *metrics,
                {"Id": "errors", "Expression": _total(_ERRORS), "Label": "errors", "ReturnData": True},
            ],
            "Threshold": float(count),
        }

    def _latency(self, milliseconds: int) -> Request:
        return {
            **self._slow(f"the target's response time above {milliseconds} ms"),
            **self._in_slot(_LATENCY, self.slot),
            "Threshold": milliseconds / 1000,  # TargetResponseTime is in seconds
        }

    def _says(self, what: str) -> str:
        return f"slot {self.slot} with {self.config}: {what}; the Deploy machine puts the weights back"

    def _in_slot(self, metric: str, slot: str) -> Request:
        return {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions(eks_of(self.spec), slot)}

    def _metric_of(self, name: str, metric: str, slot: str, statistic: str, *, period: int | None = None) -> Request:
        seconds = self.spec.rollout.alarm_period if period is None else period
        stat = {"Metric": self._in_slot(metric, slot), "Period": seconds, "Stat": statistic}
        return {"Id": name, "MetricStat": stat, "ReturnData": False}
