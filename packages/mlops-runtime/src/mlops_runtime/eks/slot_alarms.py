"""The alarms of a candidate's slot, which only exist while a rollout runs: what SageMaker's say of a fleet, said of a target group.

See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.serving import EksSpec
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.rollout.fleet_alarms import BREACH, RATIO, FleetAlarms

NAMESPACE = "AWS/ApplicationELB"
# `RequestCount` has every request for which a target was chosen, answered or not
ANSWERED = "HTTPCode_Target_2XX_Count"
_LATENCY = "TargetResponseTime"
# what a candidate answers with anything but success, and what it does not answer at all
_ERRORS = {
    "failed": "HTTPCode_Target_5XX_Count",
    "refused": "HTTPCode_Target_4XX_Count",
    "unreached": "TargetConnectionErrorCount",
}

Request = dict[str, Any]


def dimensions(eks: EksSpec, slot: str) -> list[Request]:
    """Return the dimensions of a slot's metrics: its target group behind the rule's load balancer.

    Example:
        >>> dimensions(eks, "blue")  # doctest: +SKIP
        [{'Name': 'LoadBalancer', 'Value': 'app/demand/1'}, {'Name': 'TargetGroup', 'Value': 'targetgroup/blue/2'}]
    """
    # arn:...:listener-rule/app/<name>/<id>/<listener>/<rule> and arn:...:targetgroup/<name>/<id>
    balancer = "/".join(eks.rule.partition("listener-rule/")[2].split("/")[:3])
    group = eks.target_groups[slot].rpartition(":")[2]
    return [{"Name": "LoadBalancer", "Value": balancer}, {"Name": "TargetGroup", "Value": group}]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotAlarms(FleetAlarms):
    """The alarms of a candidate's slot; kinds and names are those of a fleet on SageMaker.

    Args:
        slot: The candidate's slot.
        live_slot: The slot whose latency is compared with.
    """

    slot: str
    live_slot: str

    def _errors(self) -> Request:
        rollout = self.spec.rollout
        metrics = [self._metric_of(name, metric, self.slot, "Sum") for name, metric in _ERRORS.items()]
        # each of the three is published only when it happens
        total = " + ".join(f"FILL({name}, 0)" for name in _ERRORS)
        return {
            **BREACH,
            "AlarmDescription": self._says(f"more than {rollout.max_error_count} errors in {rollout.alarm_period} s"),
            "Metrics": [*metrics, {"Id": "errors", "Expression": total, "Label": "errors", "ReturnData": True}],
            "Threshold": float(rollout.max_error_count),
        }

    def _latency(self, milliseconds: int) -> Request:
        return {
            **BREACH,
            **self._in_slot(_LATENCY, self.slot),
            "AlarmDescription": self._says(f"95th percentile of the target's response time above {milliseconds} ms"),
            "Period": self.spec.rollout.alarm_period,
            "ExtendedStatistic": "p95",
            "Threshold": milliseconds / 1000,  # TargetResponseTime is in seconds
        }

    def _ratio(self, ratio: float) -> Request:
        return {
            **BREACH,
            "AlarmDescription": self._says(
                f"99th percentile of the target's response time above {ratio:g} times that of {self.previous}"
            ),
            "Metrics": [
                self._metric_of("new", _LATENCY, self.slot, "p99"),
                self._metric_of("old", _LATENCY, self.live_slot, "p99"),
                {"Id": "ratio", "Expression": RATIO, "Label": "new / old", "ReturnData": True},
            ],
            "Threshold": float(ratio),
        }

    def _says(self, what: str) -> str:
        return f"slot {self.slot} with {self.config}: {what}; the Deploy machine puts the weights back"

    def _in_slot(self, metric: str, slot: str) -> Request:
        return {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions(eks_of(self.spec), slot)}

    def _metric_of(self, name: str, metric: str, slot: str, statistic: str) -> Request:
        period = self.spec.rollout.alarm_period
        stat = {"Metric": self._in_slot(metric, slot), "Period": period, "Stat": statistic}
        return {"Id": name, "MetricStat": stat, "ReturnData": False}
