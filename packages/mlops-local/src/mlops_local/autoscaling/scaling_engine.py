"""The scaling engine: alarms with scaling policies, each embedded minute, and scheduled actions at their times."""

import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch as cw

from mlops_local import alarms, clock, schedules
from mlops_local.autoscaling.scaling_store import Target, everywhere
from mlops_local.sagemaker import endpoints, sagemaker_api
from mlops_local.sagemaker import resource_store as sagemaker
from mlops_local.sagemaker.api_shapes import ServiceError

# cooldown of a policy without one; the default of botocore's model for SageMaker variants
COOLDOWN = 300


LOGGER = logging.getLogger(__name__)
_MINUTE = 60.0
_SAME = 0.001
_WAIT, _LOOK = 5.0, 0.02  # real seconds: longest wait for a change of capacity, and its polling interval


# claim: tracking-holds-the-target
def tracked(current: int, value: float, target: float, *, is_out: bool) -> int:
    """Return the instances at which a per-instance metric would meet its target, proportionally in one step as AWS does.

    Args:
        current: Current instances; 0 counts as 1, since a proportion of zero is undefined.
        value: The metric's last datapoint, per instance.
        target: ``TargetValue``.
        is_out: Whether the metric is above its target; scale-in never adds instances, and scale-out never removes any.

    Example:
        >>> tracked(2, 150.0, 100.0, is_out=True), tracked(4, 20.0, 100.0, is_out=False)
        (3, 1)
    """
    wanted = math.ceil(round(max(1, current) * value / target, 9))
    return max(wanted, current) if is_out else min(wanted, current)


def stepped(current: int, over: float, policy: Mapping[str, Any]) -> int:
    """Return the instances that a step policy requires.

    Args:
        current: Current instances.
        over: Difference between the metric and the alarm's threshold.
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
    """Find the step of a metric; the bound closer to the threshold is inclusive, the other one exclusive."""
    for step in steps:
        low, high = step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf)
        if (low <= over < high) if over >= 0 else (low < over <= high):
            return step
    return None


def _percent(current: int, percent: int, least: int) -> int:
    """Round away from zero below one, else towards zero, and change by at least ``least``."""
    change = current * percent / 100
    whole = math.copysign(1, change) if 0 < abs(change) < 1 else math.trunc(change)
    return int(math.copysign(max(abs(whole), least), percent)) if whole else 0


# claim: scheduled-actions-move-the-bounds
class Engine:
    """All scaling, as one source of the embedded clock, after the source of alarms."""

    def due(self, after: float) -> float | None:
        """Return the next scheduled action, or the next minute while a policy may act."""
        times = []
        for account, region, target in everywhere():
            times += [at for action in target.actions.values() if (at := occurrence(action, after)) is not None]
            with request_scope(account, region):
                if target.is_out_of_bounds or _wanted(target, after) not in {None, capacity(target)}:
                    times.append((after // _MINUTE + 1) * _MINUTE)
        return min(times, default=None)

    def run(self, at: float) -> bool:
        """Run due scheduled actions and policies."""
        for account, region, target in everywhere():
            with request_scope(account, region):
                try:
                    for name, action in list(target.actions.items()):
                        _run_action(target, name, action, at)
                    _scale(target, at)
                except Exception:
                    LOGGER.exception("scaling of %s failed", target.record["ResourceId"])
        return False


def scheduled() -> str | None:
    """Return why the clock must not be set back, or ``None``."""
    count = sum(len(target.actions) for _, _, target in everywhere())
    return f"{count} scheduled scaling actions exist" if count else None


def occurrence(action: Mapping[str, Any], after: float) -> float | None:
    """Return the next time of a scheduled action between its start and end."""
    created, zone = action["CreationTime"].timestamp(), action.get("Timezone", "UTC")
    return schedules.occurrence_between(
        action["Schedule"], created, after, zone, action.get("StartTime"), action.get("EndTime")
    )


def capacity(target: Target) -> int | None:
    """Return a target's number of instances; ``None`` if its variant no longer exists."""
    record = sagemaker.store().records["Endpoint"].get(target.endpoint)
    fleet = None if record is None else endpoints.live(record).fleet
    server = None if fleet is None else fleet.servers.get(target.variant)
    return None if server is None else server.instances


def _run_action(target: Target, name: str, action: dict[str, Any], at: float) -> None:
    due = occurrence(action, at - 10 * _SAME)
    if due is None or abs(due - at) > _SAME:
        return
    bounds = action["ScalableTargetAction"]
    target.record.update({member: bounds[member] for member in ("MinCapacity", "MaxCapacity") if member in bounds})
    target.is_out_of_bounds = True
    LOGGER.info("scheduled action %s of %s: %s", name, target.record["ResourceId"], bounds)
    if action["Schedule"].strip().startswith("at("):
        del target.actions[name]  # a one-time action is deleted after its run


def _scale(target: Target, at: float) -> None:
    current, suspended = capacity(target), target.record["SuspendedState"]
    if current is None:
        target.is_out_of_bounds = False
        return
    if target.is_out_of_bounds and not suspended["ScheduledScalingSuspended"]:
        bounded = _bounded(target, current)
        if bounded == current or _set(target, bounded, at, "scheduled action"):
            target.is_out_of_bounds = False
        return
    wanted = _wanted(target, at, minding_cool_down=True)
    if wanted is None or wanted == current:
        return
    if suspended["DynamicScalingOutSuspended" if wanted > current else "DynamicScalingInSuspended"]:
        return
    _set(target, wanted, at, "monitor alarm")


def _wanted(target: Target, at: float, *, minding_cool_down: bool = False) -> int | None:
    current = capacity(target)
    if current is None:
        return None
    found = [
        wanted
        for policy in list(target.policies.values())
        for wanted in _calls(policy, current, at)
        if not minding_cool_down or _is_warm(target, policy, wanted - current, at)
    ]
    return _bounded(target, max(found)) if found else None


def _calls(policy: Mapping[str, Any], current: int, at: float) -> Iterator[int]:
    """Yield the capacities that a policy's alarms in ALARM require."""
    for alarm in list(cw._alarms.values()):
        if alarm["StateValue"] != "ALARM" or policy["PolicyARN"] not in (alarm.get("AlarmActions") or []):
            continue
        points, _ = alarms.datapoints(alarm, at)
        value = next((point for point in reversed(points) if point is not None), None)
        if value is None:
            continue
        tracking = policy.get("TargetTrackingScalingPolicyConfiguration")
        if tracking is None:
            yield stepped(current, value - alarm["Threshold"], policy["StepScalingPolicyConfiguration"])
        else:
            is_out = alarm["ComparisonOperator"] == "GreaterThanThreshold"
            yield tracked(current, value, tracking["TargetValue"], is_out=is_out)


def _is_warm(target: Target, policy: Mapping[str, Any], change: int, at: float) -> bool:
    """Return whether a policy's cooldown has passed."""
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration")
    since, wait = target.scaled, float(COOLDOWN)
    if tracking is None:
        wait = policy["StepScalingPolicyConfiguration"].get("Cooldown", wait)
    elif change > 0:
        since, wait = target.scaled_out, tracking.get("ScaleOutCooldown", wait)
    else:
        wait = tracking.get("ScaleInCooldown", wait)
    return bool(at - since >= wait)


def _bounded(target: Target, wanted: int) -> int:
    return min(max(wanted, int(target.record["MinCapacity"])), int(target.record["MaxCapacity"]))


def _set(target: Target, wanted: int, at: float, cause: str) -> bool:
    """Change the capacity, unless the endpoint is busy."""
    change = {"VariantName": target.variant, "DesiredInstanceCount": wanted}
    current = capacity(target)
    activity = {
        "ActivityId": f"{target.record['ScalableTargetARN'].rpartition('/')[2]}-{len(target.activities) + 1}",
        **{name: target.record[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")},
        "Description": f"Setting desired instance count to {wanted}.",
        "Cause": cause,
        "StartTime": clock.utcnow(),
    }
    try:
        request = {"EndpointName": target.endpoint, "DesiredWeightsAndCapacities": [change]}
        sagemaker_api.call("UpdateEndpointWeightsAndCapacities", request)
    except ServiceError as error:
        # retried each minute, logged once
        if not target.activities or target.activities[-1].get("StatusMessage") != error.message:
            LOGGER.warning("%s does not scale to %d: %s", target.record["ResourceId"], wanted, error)
            target.activities.append({**activity, "StatusCode": "Failed", "StatusMessage": error.message})
        return False
    LOGGER.info("%s scales from %s to %d: %s", target.record["ResourceId"], current, wanted, cause)
    target.activities.append({**activity, "StatusCode": "Successful", "EndTime": clock.utcnow()})
    target.scaled = at
    if current is not None and wanted > current:
        target.scaled_out = at
    pause, left = threading.Event(), _WAIT
    while capacity(target) != wanted and left > 0:  # a jump continues when the instances exist
        pause.wait(_LOOK)
        left -= _LOOK
    return True
