"""How traffic moves between two slots: which of them the candidate gets, and the weights of each step. Pure.

Every set of weights that is ever written gives one slot what the other does not have, and the first and the last are ends. So an
execution that dies leaves a rule that forwards to approved models alone, and the next one takes back what it began.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import EksSpec, SlotVersion
from mlops_runtime.eks.live_slots import ALL, Slots, all_to, other, taken_back
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.eks.slot_alarms import SlotAlarms, dimensions
from mlops_runtime.eks.slot_limits import version_problems
from mlops_runtime.registry.model_package import MODEL_SHA256, RegisteredPackage
from mlops_runtime.rollout.deploy_plan import Plan, RefusedError


def shares(rollout: RolloutSpec) -> tuple[int, ...]:
    """Return which percent of the traffic the candidate has after each step; the last is all.

    Example:
        >>> shares(RolloutSpec(kind="LINEAR", bake=600, maximum=3600, percent=30))
        (30, 60, 90, 100)

    Raises:
        RefusedError: For a kind that slots do not know.
    """
    percent = ALL if rollout.percent is None else rollout.percent
    if rollout.kind == "ALL_AT_ONCE":
        return (ALL,)
    if rollout.kind == "CANARY":
        return (percent, ALL)
    if rollout.kind == "LINEAR":
        return (*range(percent, ALL, percent), ALL)
    raise RefusedError(
        f"rollout must be ALL_AT_ONCE, CANARY or LINEAR on EKS, got {rollout.kind}: a slot is complete in itself and no batch of "
        "another one; use RolloutPolicy.linear"
    )


def weights(slot: str, share: int) -> dict[str, int]:
    """Return the weights that give a slot a share of the traffic, and the other slot the rest.

    Example:
        >>> weights("green", 10)
        {'blue': 90, 'green': 10}
    """
    rest = other(slot)
    return {each: share if each == slot else ALL - share for each in sorted((slot, rest))}


def unplanned(slots: Slots, start: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return what ``Plan.eks`` says before anything is planned; every key is always there.

    Args:
        slots: Both slots.
        start: Weights that the rule is to have. Default: all for the slot that has the most.
    """
    idle = other(slots.heaviest)
    return {
        "slot": idle,
        "live_slot": slots.heaviest if slots.name(slots.heaviest) is not None else None,
        "rule": slots.rule,
        "target_groups": dict(slots.target_groups),
        "start": dict(all_to(slots.heaviest) if start is None else start),
        "steps": [],
        "bake": 0,
        "alarms": {},
        "dimensions": [],
        "service": None,
        "version": None,
        "pods": 0,
        # pods of a slot without traffic, which an execution that died has left running
        "is_left": slots.weights[idle] == 0 and slots.states[idle].desired > 0,
    }


def from_slots(plan: Plan, slots: Slots, *, live: str | None) -> Plan:
    """Return a plan with what the slots say; where the rule is not as it must be, one that waits, with weights to start from."""
    start = taken_back(slots, live)
    if start is None:
        return replace(plan, eks=unplanned(slots))
    said = ", ".join(f"{slot} {share} %" for slot, share in slots.weights.items())
    to = next(slot for slot, share in start.items() if share == ALL)
    return replace(
        plan,
        action="wait",
        reason=f"the rule forwards {said}, and all belongs to {to} with {slots.name(to)}",
        eks=unplanned(slots, start),
    )


def on_slots(
    plan: Plan,
    *,
    spec: ServingSpec,
    slots: Slots,
    package: RegisteredPackage,
    execution: str,
    is_rollback: bool,
) -> Plan:
    """Return a plan with what is particular to slots.

    The candidate gets the slot without traffic, whatever that holds. It starts with as many pods as the live slot has now: its own
    scaling could not follow a step.

    Args:
        plan: With all that holds for every target, ``eks`` as ``unplanned`` made it.
        spec: The spec to serve by.
        slots: Both slots, at rest.
        package: The package to be served.
        execution: ARN of the execution.
        is_rollback: Whether it goes back: at once, unwatched, as what rings because of the live slot must not keep it there.

    Raises:
        RefusedError: If no slot can run the package, or the policy is none for slots.
    """
    eks, slot, config = eks_of(spec), str(plan.eks["slot"]), str(plan.config_name)
    version = slot_version(spec, package=package, config=config, spec_sha256=str(plan.live["spec_sha256"]))
    problems = list(version_problems(spec, version))
    if problems:
        raise RefusedError(f"no slot can run {package.arn}: {'; '.join(problems)}")
    is_first = plan.action == "create"
    is_watched = not is_first and not is_rollback
    alarms = SlotAlarms(
        spec=spec,
        config=config,
        previous=str(plan.previous_config),
        execution=execution,
        slot=slot,
        live_slot=other(slot),
    )
    names = alarms.names if is_watched else ()
    live = slots.states[other(slot)]
    return replace(
        plan,
        alarms=tuple(alarms.requests()) if is_watched else (),
        alarm_names=names,
        watched=(*names, *spec.rollout.alarms, *eks.alarms.get(slot, ())) if is_watched else (),
        eks={
            **plan.eks,
            "steps": [weights(slot, share) for share in ((ALL,) if is_first else shares(spec.rollout))],
            "bake": spec.rollout.bake if is_watched else 0,
            "alarms": {each: list(found) for each, found in eks.alarms.items()},
            "dimensions": dimensions(eks, slot),
            "service": plan.live["spec_uri"],
            "version": to_dict(version),
            "pods": _pods(eks, 0 if is_first else live.desired),
        },
    )


def slot_version(spec: ServingSpec, *, package: RegisteredPackage, config: str, spec_sha256: str) -> SlotVersion:
    """Return what a slot runs to serve a package; SageMaker takes the same from the registry by itself."""
    image, made = eks_of(spec).image, package.spec
    return SlotVersion(
        config=config,
        package=package.arn,
        image=made.image if image is None else image,
        artifact_uri=made.artifact_uri,
        artifact_sha256=made.artifact_sha256,
        model_sha256=made.model_sha256,
        spec_sha256=spec_sha256,
        environment={**made.environment, MODEL_SHA256: made.model_sha256},
    )


def _pods(eks: EksSpec, live: int) -> int:
    return max(eks.minimum, min(live, eks.maximum))
