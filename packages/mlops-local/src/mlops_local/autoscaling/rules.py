"""How many instances a policy calls for.

Sources: https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html and
https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

# what a policy waits where it says nothing; the default of botocore's model for SageMaker's variants
COOLDOWN = 300


# claim: tracking-holds-the-target
def tracked(current: int, value: float, target: float, *, is_out: bool) -> int:
    """Return the instances at which a metric per instance would be at its target: all at once, as AWS goes in proportion.

    Args:
        current: Instances now; 0 counts as 1, since nothing can be told in proportion to none.
        value: The metric's last datapoint, per instance.
        target: ``TargetValue``.
        is_out: Whether the metric is above its target; scaling in never scales out, nor the other way.

    Example:
        >>> tracked(2, 150.0, 100.0, is_out=True), tracked(4, 20.0, 100.0, is_out=False)
        (3, 1)
    """
    wanted = math.ceil(round(max(1, current) * value / target, 9))
    return max(wanted, current) if is_out else min(wanted, current)


def stepped(current: int, over: float, policy: Mapping[str, Any]) -> int:
    """Return the instances that a step policy calls for.

    Args:
        current: Instances now.
        over: By how much the metric is above the alarm's threshold.
        policy: ``StepScalingPolicyConfiguration``.

    Example:
        >>> step = {"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}
        >>> stepped(0, 3.0, {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [step]})
        1
    """
    step = _step(over, policy["StepAdjustments"])
    if step is None:
        return current
    amount = int(step["ScalingAdjustment"])
    match policy["AdjustmentType"]:
        case "ExactCapacity":
            return amount
        case "PercentChangeInCapacity":
            return current + _percent(current, amount, int(policy.get("MinAdjustmentMagnitude", 1)))
    return current + amount


def _step(over: float, steps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Find the step of a metric; the bound nearer to the threshold belongs to a step above it, the farther one to one below."""
    for step in steps:
        low, high = step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf)
        if (low <= over < high) if over >= 0 else (low < over <= high):
            return step
    return None


def _percent(current: int, percent: int, least: int) -> int:
    """Round away from nothing below one, else towards zero, and move by at least ``least``."""
    change = current * percent / 100
    whole = math.copysign(1, change) if 0 < abs(change) < 1 else math.trunc(change)
    return int(math.copysign(max(abs(whole), least), percent)) if whole else 0
