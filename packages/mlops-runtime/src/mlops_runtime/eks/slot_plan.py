"""How traffic moves between two slots: which of them the candidate gets, and the weights of each step. Pure.

Every set of weights that is ever written gives one slot what the other does not have, and the first and the last are ends. So an
execution that dies leaves a rule that forwards to approved models alone, and the next one rolls its change back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import LivePointer, RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import EksSpec, SlotVersion
from mlops_runtime.eks.live_slots import ALL, Slots, Weights, all_to, other, taken_back
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.eks.slot_alarms import SlotAlarms, slot_fleet, slot_share
from mlops_runtime.eks.slot_limits import version_problems
from mlops_runtime.registry.model_package import RegisteredPackage, container_environment
from mlops_runtime.rollout.deploy_plan import Plan, RefusedError, Request
from mlops_runtime.rollout.probation_alarm import alarm_request
from mlops_runtime.rollout.rehearsed_answers import answers_key, asked_again
from mlops_runtime.rollout.verdict_request import verdict_request


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTraffic:
    """What a plan does with the traffic of two slots.

    Args:
        slot: The one that the candidate gets.
        live_slot: The one that serves, None before the first model.
        rule: ARN of the listener rule.
        target_groups: ARN of each slot's target group.
        start: Weights that the rule must have before anything else.
        is_left: Whether the slot without traffic has pods that an execution that died left running.
        steps: Weights of each step.
        bake: Seconds to watch after each step.
        max_bake: Seconds until which a step goes on while the comparison is undecided.
        alarms: Names of the alarms of each slot.
        service: URI of the spec to serve by.
        version: What the candidate's slot runs.
        pods: How many pods it starts with.
    """

    slot: str
    live_slot: str | None
    rule: str
    target_groups: Mapping[str, str]
    start: Weights
    is_left: bool
    # without defaults, so that JSON has every key
    service: str | None
    version: SlotVersion | None
    steps: tuple[Weights, ...] = ()
    bake: int = 0
    max_bake: int = 0
    alarms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pods: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlan(Plan):
    """A plan for two slots on EKS.

    ``rehearsal`` are the golden requests that the candidate's slot answers before it has traffic, ``again`` those that it answers
    while it serves, ``golden_sha256`` is of those that the package will have passed.
    """

    eks: SlotTraffic
    rehearsal: Request = field(default_factory=dict)
    again: Request = field(default_factory=dict)
    golden_sha256: str | None = None


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


def at_rest(slots: Slots, start: Weights | None = None) -> SlotTraffic:
    """Return the traffic of a plan that changes nothing.

    Args:
        slots: Both slots.
        start: Weights that the rule is to have. Default: all for the slot that has the most.
    """
    idle = other(slots.heaviest)
    return SlotTraffic(
        slot=idle,
        live_slot=slots.heaviest if slots.name(slots.heaviest) is not None else None,
        rule=slots.rule,
        target_groups=slots.target_groups,
        start=all_to(slots.heaviest) if start is None else start,
        is_left=slots.weights[idle] == 0 and slots.states[idle].desired > 0,
        service=None,
        version=None,
    )


def misplaced(slots: Slots, *, live: str | None) -> tuple[Weights, str] | None:
    """Return the weights to which an interrupted shift must return, and the reason, or None where one slot has all traffic."""
    start = taken_back(slots, live)
    if start is None:
        return None
    said = ", ".join(f"{slot} {share} %" for slot, share in slots.weights.items())
    to = next(slot for slot, share in start.items() if share == ALL)
    return start, f"the rule forwards {said}, and all belongs to {to} with {slots.name(to)}"


def on_slots(
    plan: SlotPlan,
    *,
    spec: ServingSpec,
    slots: Slots,
    package: RegisteredPackage,
    live: LivePointer,
    execution: str,
    is_rollback: bool,
    serves_since: str | None = None,
) -> SlotPlan:
    """Return a plan with what is particular to slots.

    The candidate gets the slot without traffic, regardless of its content. It starts with the live slot's current number of pods:
    its own scaling could not follow a step.

    Args:
        plan: With all that holds for every target.
        spec: The spec to serve by.
        slots: Both slots, at rest.
        package: The package to be served.
        live: The pointer that the plan ends in.
        execution: ARN of the execution.
        is_rollback: Whether it is a rollback: at once and unwatched, so that alarms of the live slot do not block it.
        serves_since: Since when the version that serves is live (ISO 8601). Default: not known.

    Raises:
        RefusedError: If no slot can run the package, or the policy does not support slots.
    """
    eks, slot = eks_of(spec), plan.eks.slot
    version = slot_version(spec, package=package, config=live.config, spec_sha256=live.spec_sha256)
    problems = list(version_problems(spec, version))
    if problems:
        raise RefusedError(f"no slot can run {package.arn}: {'; '.join(problems)}")
    is_first = plan.action == "create"
    is_watched = not is_first and not is_rollback
    alarms = SlotAlarms(
        spec=spec,
        config=live.config,
        previous=str(plan.previous_config),
        execution=execution,
        slot=slot,
        live_slot=other(slot),
    )
    names = alarms.names if is_watched else ()
    new, old = (slot_fleet(eks, each) for each in (slot, other(slot)))
    longest = spec.rollout.bake if spec.rollout.max_bake is None else spec.rollout.max_bake
    planned = None
    if longest > spec.rollout.bake:
        bakes = f"{spec.rollout.bake / 60:.3g} minutes a step"
        planned = f"bakes {bakes}, and up to {longest / 60:.3g} while the comparison is undecided"
    reused = _after_drained(plan.started) if plan.eks.is_left else None
    again = asked_again(spec, live.config)
    asked = verdict_request(spec, fleet=live.config, since=plan.started, new=new, old=old, planned=planned)
    share = slot_share(spec, old=other(slot), since=plan.started, serves_since=serves_since)
    return replace(
        plan,
        live=replace(live, slot=slot),
        probation_alarm=alarm_request(spec, execution, share.before) if plan.probation else {},
        probation_share=dict(to_dict(share)) if plan.probation else {},
        alarms=tuple(alarms.requests()) if is_watched else (),
        alarm_names=names,
        watched=(*names, *spec.rollout.alarms, *eks.alarms.get(slot, ())) if is_watched else (),
        verdict=dict(to_dict(replace(asked, not_before=reused))) if is_watched else {},
        rehearsal=_rehearsal(spec, live.config, slot=slot, live_slot=other(slot) if is_watched else None),
        again={**again, "slot": slot} if is_watched and again else {},
        eks=replace(
            plan.eks,
            steps=tuple(weights(slot, share) for share in ((ALL,) if is_first else shares(spec.rollout))),
            bake=spec.rollout.bake if is_watched else 0,
            max_bake=longest if is_watched else 0,
            alarms=eks.alarms,
            service=live.spec_uri,
            version=version,
            pods=_pods(eks, 0 if is_first else slots.states[other(slot)].desired),
        ),
    )


def _after_drained(started: str) -> str:
    """Return the first whole minute in which a slot that a dead execution left gets no call of that one's candidate.

    See: https://github.com/argoproj/argo-rollouts/issues/4595 (a load balancer goes on for some seconds)
    """
    at = datetime.fromisoformat(started) + 2 * timedelta(minutes=1)
    return at.replace(second=0, microsecond=0).isoformat()


def _rehearsal(spec: ServingSpec, config: str, *, slot: str, live_slot: str | None) -> dict[str, object]:
    """Return what the slot is asked before it has traffic; the one that a rollback leaves is not a baseline."""
    if spec.rollout.golden is None:
        return {}
    answers = answers_key(spec.endpoint, config)
    return {"golden": to_dict(spec.rollout.golden), "answers": answers, "slot": slot, "live_slot": live_slot}


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
        environment=container_environment(made),
    )


def _pods(eks: EksSpec, live: int) -> int:
    return max(eks.minimum, min(live, eks.maximum))
