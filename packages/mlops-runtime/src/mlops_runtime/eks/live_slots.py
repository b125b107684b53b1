"""Live version of a service on EKS, from the weights of its listener rule and the state of its two slots, without calls.

The weights are authoritative. Only a rule with all weight on one slot is stable; a split belongs to an execution that is shifting
traffic, or to one that failed while shifting.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.serving import SLOTS, SlotState
from mlops_runtime.rollout.live_fleet import Serving, Variant, Version

# sum of both slots' weights in a forward action; the load balancer accepts 0 to 999 and divides by the sum
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupTuple.html
ALL = 100

Weights = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Current state of both slots."""

    # share of the traffic by slot, in percent; the sum is 100, or 0 if all traffic was removed by hand
    weights: Weights
    states: Mapping[str, SlotState]
    rule: str  # ARN of the listener rule
    target_groups: Mapping[str, str]  # ARN of each slot's target group

    @property
    def heaviest(self) -> str:
        """The slot with the most traffic; the first one if both are equal."""
        return max(SLOTS, key=lambda slot: self.weights[slot])

    @property
    def is_at_rest(self) -> bool:
        """Whether one slot has all the traffic."""
        return ALL in self.weights.values()

    def running(self, config: str | None) -> str | None:
        """Return the slot that runs the version with a name."""
        return None if config is None else next((slot for slot in SLOTS if self.name(slot) == config), None)

    def name(self, slot: str) -> str | None:
        """Return the name of the version that a slot runs."""
        version = self.states[slot].version
        return None if version is None else version.config


def other(slot: str) -> str:
    """Return the other slot.

    Example:
        >>> other("blue")
        'green'
    """
    return next(candidate for candidate in SLOTS if candidate != slot)


def all_to(slot: str) -> dict[str, int]:
    """Return the weights that give one slot all the traffic.

    Example:
        >>> all_to("green")
        {'blue': 0, 'green': 100}
    """
    return {each: ALL if each == slot else 0 for each in SLOTS}


def read_weights(rule: Mapping[str, object], target_groups: Mapping[str, str]) -> dict[str, int]:
    """Return the share of each slot, in percent, as DescribeRules returns it.

    See: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ForwardActionConfig.html

    Raises:
        ForeignRuleError: If the rule does anything other than forward to the two slots.
    """
    weights = dict.fromkeys(SLOTS, 0)
    slots = {arn: slot for slot, arn in target_groups.items()}
    actions = rule.get("Actions")
    forwards = [action for action in actions if action.get("Type") == "forward"] if isinstance(actions, list) else []
    if len(forwards) != 1:
        raise ForeignRuleError(f"the rule must have one forward action, got {len(forwards)}; deploy the stack again")
    config = forwards[0].get("ForwardConfig") or {}
    groups = config.get("TargetGroups") or [{"TargetGroupArn": forwards[0].get("TargetGroupArn"), "Weight": 1}]
    foreign = [str(group["TargetGroupArn"]) for group in groups if group["TargetGroupArn"] not in slots]
    if foreign:
        raise ForeignRuleError(
            f"the rule forwards to {', '.join(foreign)}, which belongs to no slot; remove it from the rule"
        )
    for group in groups:
        weights[slots[group["TargetGroupArn"]]] = int(group.get("Weight", 1))
    return _percent(weights)


class ForeignRuleError(ValueError):
    """The listener rule was changed by hand, so its weights cannot be read."""


def read_version(state: SlotState) -> Version | None:
    """Return the version that a slot runs, represented as one variant without instances."""
    return None if state.version is None else _version(state.version.config, state.version.package)


def versions(slots: Slots, live: LivePointer | None) -> dict[str, Version]:
    """Return the versions available for rollbacks, by name: those in the slots, the recorded live one and the previous one.

    A slot may run another version by now, since a version can be deployed again from its package.
    """
    found = {version.config: version for state in slots.states.values() if (version := read_version(state)) is not None}
    recorded = [] if live is None else [(live.config, live.model_package_arn), (live.previous, live.previous_package)]
    for config, package in recorded:
        if config is not None and package is not None:
            found[config] = _version(config, package)
    return found


def serving(slots: Slots) -> Serving | None:
    """Return the version of the slot with the most traffic; its status is ``Updating`` while the other slot has traffic.

    ``None`` if that slot never ran a version: the load balancer responds, but no model does.
    """
    state = slots.states[slots.heaviest]
    version = read_version(state)
    if version is None:
        return None
    status = "InService" if slots.is_at_rest else "Updating"
    return Serving(status=status, config=version.config, version=version, failure=state.reason)


def taken_back(slots: Slots, live: str | None) -> dict[str, int] | None:
    """Return the weights that undo a shift by a failed execution, or a manual change of the rule.

    Only the owner of the lock, here the caller, may shift weights. So all traffic belongs to the version that is recorded as live
    if it has a ready pod; else to the slot with traffic and a ready pod. ``None`` if the weights are already so.
    """
    slot = _rightful(slots, live)
    if slot is None or slots.weights == all_to(slot):
        return None
    return all_to(slot)


def _rightful(slots: Slots, live: str | None) -> str | None:
    recorded = slots.running(live)
    requested = sorted((slot for slot in SLOTS if slots.weights[slot] > 0), key=lambda slot: -slots.weights[slot])
    order = [slot for slot in (recorded, *requested) if slot is not None and slots.states[slot].version is not None]
    # the recorded version keeps its traffic while its pods are not yet counted, so that a candidate does not get all traffic
    ready = [
        slot for slot in order if slots.states[slot].ready > 0 or (slot == recorded and slots.states[slot].unsorted > 0)
    ]
    return next(iter([*ready, *order]), None)


def _version(config: str, package: str) -> Version:
    variant = Variant(name="AllTraffic", instance_type="", instance_count=0, weight=1.0)
    return Version(config=config, variants=(variant,), model=config, package=package)


def _percent(weights: Mapping[str, int]) -> dict[str, int]:
    """Return weights as percentages; a rule created by CloudFormation may have any numbers."""
    first, second = SLOTS
    total = sum(weights.values())
    if total == 0:
        return dict(weights)
    share = round(weights[first] * ALL / total)
    # a slot with any traffic has at least 1 percent
    share = min(max(share, int(weights[first] > 0)), ALL - int(weights[second] > 0))
    return {first: share, second: ALL - share}
