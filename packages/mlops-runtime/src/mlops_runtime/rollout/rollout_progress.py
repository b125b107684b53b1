"""Where a rollout that runs is, read from the history of its execution: step, traffic, time left, answers, what it waits for.

The history has what the Deploy machine planned, how the endpoint was at the last poll, and what the comparison of both fleets
came to then, so that one right is enough to read all of it: ``states:GetExecutionHistory``.

See: https://docs.aws.amazon.com/step-functions/latest/apireference/API_GetExecutionHistory.html
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import ContractError, from_dict, to_dict
from mlops_runtime.contracts.rollout import RolloutVerdict
from mlops_runtime.eks.slot_alarms import answer_time
from mlops_runtime.rollout.fleet_minutes import FleetMetric

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_PAGE = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACTIVE = ("ActivatingTraffic", "Baking")


class Phase(StrEnum):
    """What an execution of the Deploy machine does."""

    WAITING = "waiting"
    PLANNING = "planning"
    REHEARSING = "rehearsing"
    SHADOWING = "shadowing"
    STARTING = "starting"
    BAKING = "baking"
    JUDGING = "judging"
    GOING_BACK = "going back"
    RECORDING = "recording"


# states that begin a phase, or in which it waits; every other state belongs to the phase of the one before
PHASES: Mapping[str, Phase] = {
    "Lock": Phase.PLANNING,  # until it meets another execution
    "AwaitRest": Phase.WAITING,
    "Preflight": Phase.PLANNING,
    "AwaitRemoved": Phase.PLANNING,
    "CreateRehearsalConfig": Phase.REHEARSING,
    "AwaitRehearsal": Phase.REHEARSING,
    "CheckGolden": Phase.REHEARSING,
    "AwaitRehearsalEnd": Phase.REHEARSING,
    "AwaitRehearsalGone": Phase.REHEARSING,
    "CreateShadowConfig": Phase.SHADOWING,
    "AwaitShadow": Phase.SHADOWING,
    "BakeShadow": Phase.SHADOWING,
    "AwaitCaptures": Phase.SHADOWING,
    "AwaitShadowEnd": Phase.SHADOWING,
    "CreateModel": Phase.STARTING,
    "PutAlarms": Phase.STARTING,
    "ApplySlot": Phase.STARTING,
    "AwaitSlot": Phase.STARTING,
    "ConfirmSlot": Phase.STARTING,
    "AwaitEndpoint": Phase.STARTING,  # until the endpoint says that the new fleet has traffic
    "Shift": Phase.BAKING,
    "Bake": Phase.BAKING,
    "LastLook": Phase.JUDGING,
    "LastVerdict": Phase.JUDGING,
    "AwaitEvidence": Phase.JUDGING,
    "AskWhatRang": Phase.GOING_BACK,
    "Revert": Phase.GOING_BACK,
    "AwaitRevert": Phase.GOING_BACK,
    "PutBack": Phase.GOING_BACK,
    "AwaitBack": Phase.GOING_BACK,
    "Record": Phase.RECORDING,
    "AwaitDrained": Phase.RECORDING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """Where a rollout is.

    Args:
        execution: ARN of the execution.
        phase: What it does.
        since: Since when it does this, or bakes this step.
        asked: What asked for it: a ``DeployReason``, empty where its input is something else.
        planned: Why and what is deployed, as the plan says; empty before there is one.
        package: ARN of the package that it is about, where that is known.
        step: Number of the step that bakes, from 1; 0 before the first.
        steps: How many there are; 0 where that is not known.
        percent: Share of the traffic that the new fleet has.
        bakes: Seconds that each step bakes at least.
        until: When the step may end at the earliest.
        at_least: Seconds that are left at least, the starts of instances not counted.
        at_most: Seconds that are left at most: until SageMaker rolls back what takes too long, or until the longest bakes end.
        bake_reason: Why each step bakes as long as it does, where that was planned or may be extended; empty where not.
        needed: Answers without an error that the new fleet must have given in the end.
        verdict: What the comparison of both fleets has come to by now.
        is_watched: Whether both fleets are compared; a first model and a rollback have nothing to be compared with.
        is_between_slots: Whether slots are its fleets: their candidate needs its answers before it gets all of the traffic.
        slot_times: Where CloudWatch has the time of answers of the ``new`` and the ``old`` slot, in seconds; empty on SageMaker.
        started: When its plan was made; empty before there is one.
    """

    execution: str
    phase: Phase
    since: str
    asked: str = ""
    planned: str = ""
    package: str | None = None
    step: int = 0
    steps: int = 0
    percent: float = 0.0
    bakes: tuple[int, ...] = ()
    until: str | None = None
    at_least: int = 0
    at_most: int | None = None
    bake_reason: str = ""
    needed: int = 0
    verdict: RolloutVerdict | None = None
    is_watched: bool = False
    is_between_slots: bool = False
    slot_times: Mapping[str, FleetMetric] = field(default_factory=dict)
    started: str = ""

    @property
    def missing(self) -> int:
        """Answers that a promotion still needs."""
        answered = 0 if self.verdict is None else self.verdict.calls
        return max(0, self.needed - answered) if self.is_watched else 0


@dataclass(slots=True)
class _Told:
    """What the events of one execution have told by now."""

    newest: int = 0
    state: str = ""
    phase: Phase = Phase.PLANNING
    since: datetime = _EPOCH
    asked: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    shifts: int = 0
    shifted: datetime | None = None
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    verdict: RolloutVerdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReader:
    """Reads executions; of one that it has read before only what is new.

    Args:
        stepfunctions: Client.
    """

    stepfunctions: "SFNClient"
    _told: dict[str, _Told] = field(default_factory=dict)

    def read(self, execution: str, now: datetime) -> RolloutProgress:
        """Return where an execution is.

        Args:
            execution: Its ARN.
            now: The time in the cloud.
        """
        told = self._told.setdefault(execution, _Told())
        for event in self._new_events(execution, told.newest):
            _tell(told, event)
        return _progress(execution, told, now)

    def _new_events(self, execution: str, newest: int) -> list[Mapping[str, Any]]:
        pages = self.stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=execution,
            reverseOrder=True,
            includeExecutionData=True,
            PaginationConfig={"PageSize": _PAGE if newest == 0 else 100},
        )
        found: list[Mapping[str, Any]] = []
        for page in pages:
            events = [event for event in page["events"] if event["id"] > newest]
            found += events
            if len(events) < len(page["events"]):
                break
        return found[::-1]


def _tell(told: _Told, event: Mapping[str, Any]) -> None:
    """Take in one event; states run one after the other, so a result is of the state that was entered last."""
    kind, at = event["type"], event["timestamp"]
    if told.newest == 0:
        told.since = at
    told.newest = int(event["id"])
    if kind == "ExecutionStarted":
        told.asked = str(_parsed(event["executionStartedEventDetails"].get("input")).get("reason", ""))
    elif kind.endswith("StateEntered"):
        told.state = event["stateEnteredEventDetails"]["name"]
        _enter(told, PHASES.get(told.state, told.phase), at)
    elif kind == "TaskFailed" and told.state == "Lock":
        _enter(told, Phase.WAITING, at)
    elif kind == "TaskSucceeded":
        _take_result(told, _parsed(event["taskSucceededEventDetails"].get("output")), at)


def _enter(told: _Told, phase: Phase, at: datetime) -> None:
    if phase is not told.phase:
        told.phase, told.since = phase, at


def _take_result(told: _Told, result: Mapping[str, Any], at: datetime) -> None:
    if told.state == "Preflight":
        told.plan = _payload(result)
    elif told.state == "DescribeEndpoint":
        told.endpoint = result
    elif told.state == "Shift":
        told.shifts, told.shifted = told.shifts + 1, at
    elif told.state in ("AskVerdict", "LastVerdict"):
        try:
            told.verdict = from_dict(RolloutVerdict, _payload(result))
        except ContractError:
            told.verdict = None  # of another version


def _payload(result: Mapping[str, Any]) -> Mapping[str, Any]:
    payload = result.get("Payload")
    payload = _parsed(payload) if isinstance(payload, str) else payload
    return payload if isinstance(payload, Mapping) else {}


def _parsed(text: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, Mapping) else {}


def _progress(execution: str, told: _Told, now: datetime) -> RolloutProgress:
    traffic = _slots(told) if "eks" in told.plan else _endpoint(told)
    phase = told.phase
    if phase is Phase.STARTING and traffic.step:
        phase = Phase.BAKING
    is_moving = phase in (Phase.BAKING, Phase.JUDGING)
    since = traffic.since if is_moving and traffic.since is not None else told.since
    return RolloutProgress(
        execution=execution,
        phase=phase,
        since=_iso(since),
        asked=told.asked,
        planned=str(told.plan.get("reason") or ""),
        package=told.plan.get("candidate_package"),
        step=traffic.step if is_moving else 0,
        steps=len(traffic.bakes),
        percent=traffic.percent if is_moving else 0.0,
        bakes=traffic.bakes,
        until=None if not is_moving or traffic.since is None else _iso(traffic.ends),
        at_least=_left(traffic, now) if phase not in (Phase.GOING_BACK, Phase.RECORDING) else 0,
        at_most=None if traffic.deadline is None else max(0, math.ceil((traffic.deadline - now).total_seconds())),
        bake_reason=str((told.plan.get("verdict") or {}).get("planned") or ""),
        needed=int(told.plan.get("min_invocations") or 0),
        verdict=told.verdict,
        is_watched=bool(told.plan.get("verdict")),
        is_between_slots="eks" in told.plan,
        slot_times=_slot_times(told.plan.get("eks") or {}),
        started=str(told.plan.get("started") or ""),
    )


def _slot_times(eks: Mapping[str, Any]) -> dict[str, FleetMetric]:
    groups: Mapping[str, str] = eks.get("target_groups") or {}
    slots = {"new": str(eks.get("slot")), "old": str(eks.get("live_slot"))}
    return {fleet: answer_time(str(eks.get("rule")), groups[slot]) for fleet, slot in slots.items() if slot in groups}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traffic:
    """How far the traffic has moved: the step, 0 before the first, and how long each one bakes."""

    step: int = 0
    percent: float = 0.0
    since: datetime | None = None
    bakes: tuple[int, ...] = ()
    deadline: datetime | None = None

    @property
    def ends(self) -> datetime:
        """When the step that bakes may end at the earliest."""
        seconds = self.bakes[self.step - 1] if 0 < self.step <= len(self.bakes) else 0
        return (self.since or _EPOCH) + timedelta(seconds=seconds)


def _left(traffic: _Traffic, now: datetime) -> int:
    """Return the seconds that are left at least."""
    later = sum(traffic.bakes[traffic.step :])
    if traffic.step == 0 or traffic.since is None:
        return later
    return later + max(0, math.ceil((traffic.ends - now).total_seconds()))


def _slots(told: _Told) -> _Traffic:
    eks = told.plan["eks"]
    steps: Sequence[Mapping[str, int]] = eks.get("steps") or ()
    step, longest = min(told.shifts, len(steps)), int(eks.get("max_bake") or 0)
    begun = told.shifted
    return _Traffic(
        step=step,
        percent=float(steps[step - 1].get(eks["slot"], 0)) if step else 0.0,
        since=begun,
        bakes=(int(eks.get("bake") or 0),) * len(steps),
        deadline=None if begun is None or not longest else begun + timedelta(seconds=longest * (len(steps) - step + 1)),
    )


def _endpoint(told: _Told) -> _Traffic:
    """Return how far SageMaker is: ``PendingDeploymentSummary`` counts the instances that have traffic.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    # claim: pending-variants-count-instances-with-traffic
    config = (told.plan.get("update_endpoint") or {}).get("DeploymentConfig")
    pending = told.endpoint.get("PendingDeploymentSummary") or {}
    variants: Sequence[Mapping[str, Any]] = pending.get("ProductionVariants") or ()
    if not config or not variants or pending.get("EndpointConfigName") != told.plan.get("config_name"):
        return _Traffic(bakes=() if not config else _bakes(config, _planned_count(told.plan)))
    variant = next((each for each in variants if each.get("VariantName") == told.plan.get("variant")), variants[0])
    wanted = int(variant.get("DesiredInstanceCount") or 0)
    bakes = _bakes(config, wanted)
    deadline = None
    begun, longest = _time(pending.get("StartTime")), _longest(config)
    if begun is not None and longest is not None:
        deadline = begun + timedelta(seconds=longest)
    statuses: Sequence[Mapping[str, Any]] = variant.get("VariantStatus") or ({},)
    status = statuses[0]
    if status.get("Status") not in _ACTIVE or wanted == 0:
        return _Traffic(bakes=bakes, deadline=deadline)
    current = int(variant.get("CurrentInstanceCount") or 0)
    sizes = list(_sizes(config, wanted))
    step = next((number for number, size in enumerate(sizes, 1) if size >= current), len(sizes))
    return _Traffic(
        step=step,
        percent=round(100 * current / wanted, 1),
        since=_time(status.get("StartTime")),
        bakes=bakes,
        deadline=deadline,
    )


def _planned_count(plan: Mapping[str, Any]) -> int:
    """Return how many instances the plan's config asks for; autoscaling may have made more of them."""
    config: Mapping[str, Any] = plan.get("create_endpoint_config") or {}
    variants: Sequence[Mapping[str, Any]] = config.get("ProductionVariants") or ({},)
    return int(variants[0].get("InitialInstanceCount") or 1)


def _longest(config: Mapping[str, Any]) -> int | None:
    policy = config.get("BlueGreenUpdatePolicy") or config.get("RollingUpdatePolicy") or {}
    found = policy.get("MaximumExecutionTimeoutInSeconds")
    return None if found is None else int(found)


def _sizes(config: Mapping[str, Any], count: int) -> Iterator[int]:
    """Yield how many instances have traffic after each step; only whole ones move."""
    rolling = config.get("RollingUpdatePolicy")
    routing = {} if rolling else config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    member = rolling["MaximumBatchSize"] if rolling else routing.get("CanarySize") or routing.get("LinearStepSize")
    if member is None:
        yield count
        return
    value = int(member["Value"])
    size = max(1, min(count, count * value // 100 if member["Type"] == "CAPACITY_PERCENT" else value))
    if "CanarySize" in routing:
        if size < count:
            yield size
        yield count
        return
    yield from range(size, count, size)
    yield count


def _bakes(config: Mapping[str, Any], count: int) -> tuple[int, ...]:
    """Return how long each step bakes: the wait interval, and after the last the wait before the old fleet ends."""
    number = len(list(_sizes(config, max(1, count))))
    rolling = config.get("RollingUpdatePolicy")
    if rolling:
        return (int(rolling["WaitIntervalInSeconds"]),) * number
    policy = config["BlueGreenUpdatePolicy"]
    between = int(policy["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"])
    return (*(between,) * (number - 1), int(policy.get("TerminationWaitInSeconds") or 0))


def _time(value: object) -> datetime | None:
    """Return a time of Step Functions' JSON: ISO 8601, or seconds."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, tz=UTC)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _iso(at: datetime) -> str:
    return str(to_dict(at))
