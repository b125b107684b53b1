"""Progress of a running rollout, read from its execution history: step, traffic, time left, responses, pending conditions.

The history contains the Deploy machine's plan, the endpoint's state at the last poll, and the last comparison of both fleets, so a
single permission is enough to read all of it: ``states:GetExecutionHistory``.

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
from mlops_runtime.iso_time import parse_time
from mlops_runtime.rollout.fleet_minutes import FleetMetric

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_PAGE = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACTIVE = ("ActivatingTraffic", "Baking")


class Phase(StrEnum):
    """Current phase of an execution of the Deploy machine."""

    WAITING = "waiting"
    PLANNING = "planning"
    REHEARSING = "rehearsing"
    SHADOWING = "shadowing"
    STARTING = "starting"
    BAKING = "baking"
    JUDGING = "judging"
    ROLLING_BACK = "rolling back"
    RECORDING = "recording"


# states that begin a phase or wait in it; every other state belongs to the phase of the previous state
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
    "AwaitEndpoint": Phase.STARTING,  # until the endpoint reports traffic on the new fleet
    "Shift": Phase.BAKING,
    "Bake": Phase.BAKING,
    "LastLook": Phase.JUDGING,
    "LastVerdict": Phase.JUDGING,
    "AwaitEvidence": Phase.JUDGING,
    "AskWhatRang": Phase.ROLLING_BACK,
    "Revert": Phase.ROLLING_BACK,
    "AwaitRevert": Phase.ROLLING_BACK,
    "PutBack": Phase.ROLLING_BACK,
    "AwaitBack": Phase.ROLLING_BACK,
    "Record": Phase.RECORDING,
    "AwaitDrained": Phase.RECORDING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutProgress:
    """Progress of a rollout."""

    execution: str  # ARN of the execution
    phase: Phase  # current phase
    since: str  # start of the phase, or of the current step's bake
    request_reason: str = ""  # reason of the request: a `DeployReason`, empty if the input has another format
    planned: str = ""  # the plan's reason; empty before the plan
    package: str | None = None  # ARN of the candidate's package, if known
    step: int = 0  # number of the step that bakes, from 1; 0 before the first
    steps: int = 0  # number of steps; 0 if unknown
    percent: float = 0.0  # the new fleet's share of the traffic, in percent
    bakes: tuple[int, ...] = ()  # shortest bake of each step, in seconds
    until: str | None = None  # earliest end of the step
    at_least: int = 0  # least remaining seconds, without the start of instances
    # most remaining seconds: until SageMaker's timeout rolls back, or until the longest bakes end
    at_most: int | None = None
    bake_reason: str = ""  # reason for the length of the bakes if it was planned or may be extended; else empty
    needed: int = 0  # successful responses that the new fleet needs for a promotion
    verdict: RolloutVerdict | None = None  # latest result of the comparison of both fleets
    is_watched: bool = False  # whether both fleets are compared; not for a first model or a rollback
    # whether the fleets are slots: the candidate needs its responses before it gets all of the traffic
    is_between_slots: bool = False
    # CloudWatch metrics of the response time of the `new` and the `old` slot, in seconds; empty on SageMaker
    slot_times: Mapping[str, FleetMetric] = field(default_factory=dict)
    started: str = ""  # when the plan was made; empty before the plan

    @property
    def missing(self) -> int:
        """Successful responses that a promotion still needs."""
        answered = 0 if self.verdict is None else self.verdict.calls
        return max(0, self.needed - answered) if self.is_watched else 0


@dataclass(slots=True)
class _Observed:
    """State of one execution, from the events read so far."""

    newest: int = 0
    state: str = ""
    phase: Phase = Phase.PLANNING
    since: datetime = _EPOCH
    request_reason: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    shifts: int = 0
    shifted: datetime | None = None
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    verdict: RolloutVerdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReader:
    """Reads executions; for an execution read before, only new events."""

    stepfunctions: "SFNClient"
    _observed: dict[str, _Observed] = field(default_factory=dict)

    def read(self, execution: str, now: datetime) -> RolloutProgress:
        """Return the progress of an execution.

        Args:
            execution: ARN of the execution.
            now: Current time of the cloud.
        """
        observed = self._observed.setdefault(execution, _Observed())
        for event in self._new_events(execution, observed.newest):
            _apply(observed, event)
        return _progress(execution, observed, now)

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


def _apply(observed: _Observed, event: Mapping[str, Any]) -> None:
    """Apply one event; states run sequentially, so a result belongs to the state that was entered last."""
    kind, at = event["type"], event["timestamp"]
    if observed.newest == 0:
        observed.since = at
    observed.newest = int(event["id"])
    if kind == "ExecutionStarted":
        observed.request_reason = str(_parsed(event["executionStartedEventDetails"].get("input")).get("reason", ""))
    elif kind.endswith("StateEntered"):
        observed.state = event["stateEnteredEventDetails"]["name"]
        _enter(observed, PHASES.get(observed.state, observed.phase), at)
    elif kind == "TaskFailed" and observed.state == "Lock":
        _enter(observed, Phase.WAITING, at)
    elif kind == "TaskSucceeded":
        _take_result(observed, _parsed(event["taskSucceededEventDetails"].get("output")), at)


def _enter(observed: _Observed, phase: Phase, at: datetime) -> None:
    if phase is not observed.phase:
        observed.phase, observed.since = phase, at


def _take_result(observed: _Observed, result: Mapping[str, Any], at: datetime) -> None:
    if observed.state == "Preflight":
        observed.plan = _payload(result)
    elif observed.state == "DescribeEndpoint":
        observed.endpoint = result
    elif observed.state == "Shift":
        observed.shifts, observed.shifted = observed.shifts + 1, at
    elif observed.state in ("AskVerdict", "LastVerdict"):
        try:
            observed.verdict = from_dict(RolloutVerdict, _payload(result))
        except ContractError:
            observed.verdict = None  # written by another version


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


def _progress(execution: str, observed: _Observed, now: datetime) -> RolloutProgress:
    traffic = _slots(observed) if "eks" in observed.plan else _endpoint(observed)
    phase = observed.phase
    if phase is Phase.STARTING and traffic.step:
        phase = Phase.BAKING
    is_moving = phase in (Phase.BAKING, Phase.JUDGING)
    since = traffic.since if is_moving and traffic.since is not None else observed.since
    return RolloutProgress(
        execution=execution,
        phase=phase,
        since=_iso(since),
        request_reason=observed.request_reason,
        planned=str(observed.plan.get("reason") or ""),
        package=observed.plan.get("candidate_package"),
        step=traffic.step if is_moving else 0,
        steps=len(traffic.bakes),
        percent=traffic.percent if is_moving else 0.0,
        bakes=traffic.bakes,
        until=None if not is_moving or traffic.since is None else _iso(traffic.ends),
        at_least=_left(traffic, now) if phase not in (Phase.ROLLING_BACK, Phase.RECORDING) else 0,
        at_most=None if traffic.deadline is None else max(0, math.ceil((traffic.deadline - now).total_seconds())),
        bake_reason=str((observed.plan.get("verdict") or {}).get("planned") or ""),
        needed=int(observed.plan.get("min_invocations") or 0),
        verdict=observed.verdict,
        is_watched=bool(observed.plan.get("verdict")),
        is_between_slots="eks" in observed.plan,
        slot_times=_slot_times(observed.plan.get("eks") or {}),
        started=str(observed.plan.get("started") or ""),
    )


def _slot_times(eks: Mapping[str, Any]) -> dict[str, FleetMetric]:
    groups: Mapping[str, str] = eks.get("target_groups") or {}
    slots = {"new": str(eks.get("slot")), "old": str(eks.get("live_slot"))}
    return {fleet: answer_time(str(eks.get("rule")), groups[slot]) for fleet, slot in slots.items() if slot in groups}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traffic:
    """Progress of the traffic: current step, 0 before the first, and bake of each step."""

    step: int = 0
    percent: float = 0.0
    since: datetime | None = None
    bakes: tuple[int, ...] = ()
    deadline: datetime | None = None

    @property
    def ends(self) -> datetime:
        """Earliest end of the current step."""
        seconds = self.bakes[self.step - 1] if 0 < self.step <= len(self.bakes) else 0
        return (self.since or _EPOCH) + timedelta(seconds=seconds)


def _left(traffic: _Traffic, now: datetime) -> int:
    """Return the least remaining seconds."""
    later = sum(traffic.bakes[traffic.step :])
    if traffic.step == 0 or traffic.since is None:
        return later
    return later + max(0, math.ceil((traffic.ends - now).total_seconds()))


def _slots(observed: _Observed) -> _Traffic:
    eks = observed.plan["eks"]
    steps: Sequence[Mapping[str, int]] = eks.get("steps") or ()
    step, longest = min(observed.shifts, len(steps)), int(eks.get("max_bake") or 0)
    begun = observed.shifted
    return _Traffic(
        step=step,
        percent=float(steps[step - 1].get(eks["slot"], 0)) if step else 0.0,
        since=begun,
        bakes=(int(eks.get("bake") or 0),) * len(steps),
        deadline=None if begun is None or not longest else begun + timedelta(seconds=longest * (len(steps) - step + 1)),
    )


def _endpoint(observed: _Observed) -> _Traffic:
    """Return SageMaker's progress: ``PendingDeploymentSummary`` counts the instances with traffic."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    # claim: pending-variants-count-instances-with-traffic
    config = (observed.plan.get("update_endpoint") or {}).get("DeploymentConfig")
    pending = observed.endpoint.get("PendingDeploymentSummary") or {}
    variants: Sequence[Mapping[str, Any]] = pending.get("ProductionVariants") or ()
    if not config or not variants or pending.get("EndpointConfigName") != observed.plan.get("config_name"):
        return _Traffic(bakes=() if not config else _bakes(config, _planned_count(observed.plan)))
    variant = next((each for each in variants if each.get("VariantName") == observed.plan.get("variant")), variants[0])
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
    """Return the instance count of the plan's config; autoscaling may have started more."""
    config: Mapping[str, Any] = plan.get("create_endpoint_config") or {}
    variants: Sequence[Mapping[str, Any]] = config.get("ProductionVariants") or ({},)
    return int(variants[0].get("InitialInstanceCount") or 1)


def _longest(config: Mapping[str, Any]) -> int | None:
    policy = config.get("BlueGreenUpdatePolicy") or config.get("RollingUpdatePolicy") or {}
    found = policy.get("MaximumExecutionTimeoutInSeconds")
    return None if found is None else int(found)


def _sizes(config: Mapping[str, Any], count: int) -> Iterator[int]:
    """Yield the number of instances with traffic after each step, in whole instances."""
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
    """Return the bake of each step: the wait interval, and for the last the wait before the old fleet is terminated."""
    number = len(list(_sizes(config, max(1, count))))
    rolling = config.get("RollingUpdatePolicy")
    if rolling:
        return (int(rolling["WaitIntervalInSeconds"]),) * number
    policy = config["BlueGreenUpdatePolicy"]
    between = int(policy["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"])
    return (*(between,) * (number - 1), int(policy.get("TerminationWaitInSeconds") or 0))


def _time(value: object) -> datetime | None:
    """Return a time from Step Functions' JSON: ISO 8601, or epoch seconds."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, tz=UTC)
    try:
        return parse_time(str(value))
    except ValueError:
        return None


def _iso(at: datetime) -> str:
    return str(to_dict(at))
