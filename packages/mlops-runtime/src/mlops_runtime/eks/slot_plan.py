"""Plan of a traffic shift between two slots: the candidate's slot, and the weights of each step. Makes no calls.

The weights of both slots always sum to 100, and the first and last steps give all traffic to one slot. So a failed execution leaves
a rule that only forwards to approved models, and the next execution rolls its change back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mlops_runtime.contracts.rollout import LivePointer, RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import EksSpec, GoldenSpec, SlotVersion
from mlops_runtime.eks.live_slots import ALL, Slots, Weights, all_to, other, taken_back
from mlops_runtime.eks.pod import eks_of
from mlops_runtime.eks.slot_alarms import SlotAlarms, slot_fleet, slot_share
from mlops_runtime.eks.slot_limits import version_problems
from mlops_runtime.registry.model_package import RegisteredPackage, container_environment
from mlops_runtime.rollout.deploy_plan import Plan, RefusedError
from mlops_runtime.rollout.evidence_requests import verdict_request
from mlops_runtime.rollout.plan_requests import REQUEST, PlanPart
from mlops_runtime.rollout.probation_alarm import alarm_request
from mlops_runtime.rollout.rehearsed_answers import GoldenRepeat, answers_key, golden_repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTraffic:
    """Traffic of two slots in a plan."""

    slot: str  # slot for the candidate
    live_slot: str | None  # slot that serves; `None` before the first model
    rule: str  # ARN of the listener rule
    target_groups: Mapping[str, str]  # ARN of each slot's target group
    start: Weights  # weights that the rule must have before the first step
    is_left: bool  # whether the slot without traffic has running pods, left by a failed execution
    # without defaults, so that JSON has every key
    service: str | None  # URI of the serving spec
    version: SlotVersion | None  # the version for the candidate's slot
    steps: tuple[Weights, ...] = ()
    bake: int = 0  # seconds to watch after each step
    max_bake: int = 0  # longest bake of a step in seconds, while the comparison is undecided
    alarms: Mapping[str, Sequence[str]] = field(default_factory=dict)  # names of the alarms of each slot
    pods: int = 0  # initial number of its pods


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRehearsal(PlanPart):
    """Request to send the golden requests to the candidate's slot before it gets traffic."""

    golden: GoldenSpec
    answers: str  # key of the answers
    slot: str
    live_slot: str | None  # slot whose answers are compared. `None` for none


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRepeat(GoldenRepeat):
    """Request to send the golden requests again while the candidate's slot serves."""

    slot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlan(Plan):
    """A plan for two slots on EKS.

    ``rehearsal`` are the golden requests for the candidate's slot before it gets traffic, ``again`` those while it serves;
    ``golden_sha256`` is the hash of the golden requests that the package will have passed.
    """

    eks: SlotTraffic
    rehearsal: SlotRehearsal | None = field(default=None, metadata=REQUEST)
    again: SlotRepeat | None = field(default=None, metadata=REQUEST)
    golden_sha256: str | None = None


def shares(rollout: RolloutSpec) -> tuple[int, ...]:
    """Return the candidate's share of the traffic after each step, in percent; the last is 100.

    Example:
        >>> shares(RolloutSpec(kind="LINEAR", bake=600, maximum=3600, percent=30))
        (30, 60, 90, 100)

    Raises:
        RefusedError: For a kind that slots do not support.
    """
    percent = ALL if rollout.percent is None else rollout.percent
    if rollout.kind == "ALL_AT_ONCE":
        return (ALL,)
    if rollout.kind == "CANARY":
        return (percent, ALL)
    if rollout.kind == "LINEAR":
        return (*range(percent, ALL, percent), ALL)
    raise RefusedError(
        f"rollout must be ALL_AT_ONCE, CANARY or LINEAR on EKS, got {rollout.kind}: slots are complete fleets, not batches; use "
        "RolloutPolicy.linear"
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
        start: Weights that the rule must have. Default: all for the slot with the most traffic.
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
    """Return the weights that undo an interrupted shift, and the reason; ``None`` if no weights must be restored."""
    start = taken_back(slots, live)
    if start is None:
        return None
    shown = ", ".join(f"{slot} {share} %" for slot, share in slots.weights.items())
    to = next(slot for slot, share in start.items() if share == ALL)
    return start, f"the rule forwards {shown}, but all traffic belongs to {to} with {slots.name(to)}"


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
    """Return a plan completed for slots.

    The candidate gets the slot without traffic, regardless of its content. It starts with the live slot's current number of pods,
    since autoscaling could not follow the steps.

    Args:
        plan: Plan with the parts that are common to all targets.
        spec: The serving spec.
        slots: Both slots, with all traffic on one.
        package: The package to serve.
        live: The live pointer after the plan.
        execution: ARN of the execution.
        is_rollback: Whether it is a rollback: all at once and without alarms, so that alarms of the live slot do not block it.
        serves_since: Time at which the live version went live (ISO 8601). Default: unknown.

    Raises:
        RefusedError: If no slot can run the package, or slots do not support the policy.
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
    again = golden_repeat(spec, live.config)
    request = verdict_request(spec, fleet=live.config, since=plan.started, new=new, old=old, planned=planned)
    share = slot_share(spec, old=other(slot), since=plan.started, serves_since=serves_since)
    return replace(
        plan,
        live=replace(live, slot=slot),
        probation_alarm=alarm_request(spec, execution, share.before) if plan.probation else None,
        probation_share=share if plan.probation else None,
        alarms=tuple(alarms.requests()) if is_watched else (),
        alarm_names=names,
        watched=(*names, *spec.rollout.alarms, *eks.alarms.get(slot, ())) if is_watched else (),
        verdict=replace(request, not_before=reused) if is_watched else None,
        rehearsal=_rehearsal(spec, live.config, slot=slot, live_slot=other(slot) if is_watched else None),
        again=None
        if again is None or not is_watched
        else SlotRepeat(golden=again.golden, answers=again.answers, slot=slot),
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
    """Return the first whole minute without calls to the candidate of a failed execution, whose slot is used again."""
    # https://github.com/argoproj/argo-rollouts/issues/4595 (load balancers continue to send requests for some seconds)
    at = datetime.fromisoformat(started) + 2 * timedelta(minutes=1)
    return at.replace(second=0, microsecond=0).isoformat()


def _rehearsal(spec: ServingSpec, config: str, *, slot: str, live_slot: str | None) -> SlotRehearsal | None:
    """Return the golden requests for the slot before it gets traffic; in a rollback, the other slot is not a baseline."""
    if spec.rollout.golden is None:
        return None
    answers = answers_key(spec.endpoint, config)
    return SlotRehearsal(golden=spec.rollout.golden, answers=answers, slot=slot, live_slot=live_slot)


def slot_version(spec: ServingSpec, *, package: RegisteredPackage, config: str, spec_sha256: str) -> SlotVersion:
    """Return the version of a slot for a package, with the values that SageMaker would read from the registry."""
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
