"""Decides whether an event starts a retraining. Pure: events, state and time in, a decision out.

Sources of events are alarms, a rule that checks alarms again (an alarm sends one event when it fires, and none while it stays in
ALARM), new labels, schedules, people, and the end of an execution that could not release its lock. A person's request ignores the
cool-down, which limits recurring alarms, and also labels, a pause and a freeze, which the person knows about. Lock and budget apply
to all requests.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.contracts import ContractError, canonical_json, from_dict, from_json, to_dict
from mlops_runtime.contracts.events import BusEvent, DetailType, EventDetail
from mlops_runtime.contracts.retraining import (
    REGISTERED,
    BroughtCandidate,
    Candidate,
    Decision,
    RetrainRequest,
    Trigger,
    candidate_uri,
)
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.retraining.request_evidence import IN_ALARM, Alarms
from mlops_runtime.rollout.event_origin import EVENT_ID, Origin, age_problem, read_event

OLDEST = timedelta(minutes=15)
ENDED = ("ABORTED", "FAILED", "TIMED_OUT")  # ends after which an execution may still hold its lock
REJECTED = "REJECTED"
_NAMED = 3  # features in a question
_QUESTION_SECONDS = 86_400  # at least a day between two questions

# role id and session, or a user's id: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
_CALLER = re.compile(r"[A-Z0-9]{12,64}(:[\w+=,.@-]{2,64})?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARQUET = re.compile(r"[A-Za-z0-9/_.-]+\.parquet")
_SCHEDULERS = ("aws.events", "aws.scheduler")


class RefusedEventError(Exception):
    """An event that starts no retraining; ``decision`` states the kind of refusal."""

    def __init__(self, decision: Decision, reason: str) -> None:
        self.decision = decision
        super().__init__(reason)


class KnownCandidateError(RefusedEventError):
    """A candidate that was already submitted; ``outcome`` and ``package`` are absent while ``execution`` runs."""

    def __init__(
        self, reason: str, *, execution: str | None = None, outcome: str | None = None, package: str | None = None
    ) -> None:
        self.execution, self.outcome, self.package = execution, outcome, package
        super().__init__(Decision.KNOWN, f"{reason}; use --again to measure it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Settings of a pipeline's guard."""

    pipeline: str
    machine_arn: str  # the Retrain machine; events of other accounts and regions are refused
    alarms: tuple[str, ...]  # names of the alarms that may start it
    cool_down: int  # seconds between a start and the next automatic one
    daily_budget: int  # maximum number of starts in a UTC day
    # seconds after which the lock may be taken over; above the machine's timeout. Default: 6 hours
    lock_seconds: int = 21600
    rejected_cool_down: int | None = None  # the cool-down after a candidate was rejected. Default: `cool_down`
    minimum_labels: int | None = None  # new labels that an automatic start needs. Default: labels are not counted
    label_table: str | None = None  # table whose new rows are the labels
    label_database: str | None = None  # Glue database of that table
    recheck_rule: str | None = None  # ARN of the rule that checks alarms again
    # bucket of candidates that were made elsewhere. Default: such candidates are refused
    artifacts_bucket: str | None = None
    endpoint: str = "ENDPOINT"  # endpoint of the model, for commands in questions to people. Default: a placeholder
    asks: bool = True  # whether an alarm with a suspected fault of the feed asks people instead of training
    unit: str | None = None  # the unit in whose metrics decisions are counted. Default: decisions are not counted
    has_targets: bool = False  # whether environments that serve the model elsewhere may request retrainings

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "GuardSettings":
        """Create the settings from the guard's environment variables; absent ones have their defaults.

        Raises:
            KeyError: If a variable without a default is missing.
            ValueError: If a value is not a number.
        """
        optional = {"rejected_cool_down": "REJECTED_COOL_DOWN_SECONDS", "minimum_labels": "MINIMUM_LABELS"}
        numbers = {name: int(environ[variable]) for name, variable in optional.items() if variable in environ}
        return cls(
            pipeline=environ["PIPELINE"],
            machine_arn=environ["RETRAIN_MACHINE_ARN"],
            alarms=tuple(name for name in environ.get("ALARM_NAMES", "").split(",") if name),
            cool_down=int(environ["COOL_DOWN_SECONDS"]),
            daily_budget=int(environ["DAILY_BUDGET"]),
            lock_seconds=int(environ.get("LOCK_SECONDS", "21600")),
            label_table=environ.get("LABEL_TABLE"),
            label_database=environ.get("LABEL_DATABASE"),
            recheck_rule=environ.get("RECHECK_RULE"),
            artifacts_bucket=environ.get("ARTIFACTS_BUCKET"),
            endpoint=environ.get("ENDPOINT", "ENDPOINT"),
            asks=environ.get("BROKEN_FEED", "ask") == "ask",
            unit=environ.get("UNIT"),
            has_targets=environ.get("HAS_TARGETS") == "true",
            **numbers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """The pipeline's ``STATE`` item; times in epoch seconds.

    ``owner`` is the ARN of the execution that holds the lock, ``request`` its accepted request (JSON), which the machine reads
    here, ``last_outcome`` the outcome of the last execution, ``new_labels`` the number of labels since its start, and
    ``last_asked`` the time of the last question to people.
    """

    owner: str | None = None
    lock_until: int = 0
    last_started: int | None = None
    last_execution: str | None = None
    day: str | None = None
    day_count: int = 0
    last_outcome: str | None = None
    new_labels: int = 0
    request: str | None = None
    last_asked: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingMessage:
    """A message that requests a retraining.

    ``ingest`` is the id of the ingest that it reports; ``again`` requests another evaluation of a known candidate.
    """

    request: RetrainRequest
    ingest: str | None = None
    again: bool = False

    @property
    def event_id(self) -> str:
        """Id of the event, the request's."""
        return self.request.event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A message that reports the end of an execution, by its ARN."""

    event_id: str
    execution: str


def event_from(body: str, *, settings: GuardSettings, now: datetime) -> RetrainingMessage | Ended:
    """Parse an event.

    Raises:
        RefusedEventError: ``INVALID`` or ``STALE``.
    """
    try:
        event = read_event(body)
        read = _read(event, settings, now)
    except ContractError as error:
        raise RefusedEventError(Decision.INVALID, str(error)) from error
    if problem := age_problem(event, now=now, oldest=OLDEST):
        raise RefusedEventError(Decision.STALE, problem)
    return read


def execution_name(pipeline: str, request: RetrainRequest) -> str:
    """Return the name of an event's execution and jobs, 24 characters that are the same at every delivery.

    Example:
        >>> request = RetrainRequest(trigger=Trigger.ALARM, event_id="e1", as_of="2017-08-01T09:00:00Z", requested_by="alarm")
        >>> execution_name("demand-forecast", request)
        '20170801-e0f099f12ac469a'
    """
    digest = hashlib.sha256(f"{pipeline}/{request.event_id}".encode()).hexdigest()
    return f"{request.as_of[:10].replace('-', '')}-{digest[:15]}"


def confirmed(request: RetrainRequest, settings: GuardSettings, *, alarms: Alarms, state: GuardState) -> RetrainRequest:
    """Confirm that a request's reason is still valid, and return it with evidence, or with a question about a suspected feed fault.

    Args:
        settings: Settings of the guard.
        alarms: Current state of the alarms of the request (`alarms_of`), with their evidence.
        state: The pipeline's state.

    Raises:
        RefusedEventError: ``NOT_CONFIRMED``.
    """
    if request.trigger is Trigger.ALARM and (got := alarms.states.get(request.requested_by)) != IN_ALARM:
        raise RefusedEventError(Decision.NOT_CONFIRMED, f"alarm {request.requested_by} is {got} now")
    if request.trigger is Trigger.ALARM and request.requested_by in alarms.doubts:
        raise RefusedEventError(Decision.NOT_CONFIRMED, _doubted(alarms, request.requested_by))
    if request.trigger is Trigger.ALARM:
        return _with_question(request, settings, alarms)
    if request.trigger is not Trigger.RECHECK:
        return request
    firing = [n for n in settings.alarms if alarms.states.get(n) == IN_ALARM and n not in alarms.doubts]
    if firing:
        still = replace(request, requested_by=firing[0], detail=f"still in ALARM: {', '.join(firing)}"[:500])
        return _with_question(still, settings, alarms)
    if settings.minimum_labels is not None and state.new_labels >= settings.minimum_labels:
        return replace(request, detail=f"{state.new_labels} new labels wait")
    doubted = [_doubted(alarms, name) for name in settings.alarms if name in alarms.doubts]
    raise RefusedEventError(Decision.NOT_CONFIRMED, "; ".join(doubted) or "no alarm is in ALARM and no labels wait")


def require_new(
    candidate: Candidate, state: GuardState, brought: BroughtCandidate | None, *, approval: str | None
) -> None:
    """Check that an archive is new: one archive is one version, even if several people submit it.

    An archive that the gate rejected is evaluated again if the team submits other predictions. An earlier result without
    predictions, or with other ones, is not the result of a request that submits some.

    Args:
        candidate: The submitted candidate.
        state: The pipeline's state, with a running owner.
        brought: Earlier result of this archive; None without one.
        approval: Status of its package; None if it is not, or no longer, in the registry.

    Raises:
        KnownCandidateError: If a run evaluates it, a package has it, or the gate rejected it.
    """
    running = (
        None if state.owner is None or state.request is None else from_json(RetrainRequest, state.request).candidate
    )
    if running is not None and running.sha256 == candidate.sha256:
        name = str(state.owner).rpartition(":")[2]
        if not _answers(candidate, running.predictions_uri):
            raise KnownCandidateError(f"{name} measures this archive now, {_unlike(running.predictions_uri)}")
        raise KnownCandidateError(f"{name} measures this archive now", execution=state.owner)
    if brought is None:
        return
    run, answers = brought.execution.rpartition(":")[2], _answers(candidate, brought.predictions_uri)
    if approval is not None:
        version = version_of(brought.package)
        problem = f"already registered as {version} by {run} at {brought.at}, which is {approval} now"
        if not answers:
            raise KnownCandidateError(f"{problem}, {_unlike(brought.predictions_uri)}")
        raise KnownCandidateError(
            problem, execution=brought.execution, outcome=brought.outcome, package=brought.package
        )
    if brought.outcome == REJECTED and answers:
        raise KnownCandidateError(
            f"already rejected by the gate in {run} at {brought.at}; {_short(brought.reason, 800)}",
            execution=brought.execution,
            outcome=brought.outcome,
        )


def _unlike(predictions_uri: str | None) -> str:
    """Return how the predictions that a run compared differ from the submitted ones."""
    return "with other predictions than yours" if predictions_uri else "without your predictions"


def _answers(candidate: Candidate, predictions_uri: str | None) -> bool:
    """Return whether a run compared the team's submitted predictions, if any."""
    return candidate.predictions_uri is None or candidate.predictions_uri == predictions_uri


def decide(
    state: GuardState,
    request: RetrainRequest,
    settings: GuardSettings,
    *,
    execution: str,
    now: datetime,
    rest: tuple[Decision, str] | None = None,
) -> tuple[Decision, str]:
    """Return the decision on a confirmed request, and its reason.

    If the state was written by the same execution, an earlier delivery was interrupted: the execution is started again, which has
    an effect only once.

    Args:
        state: The pipeline's state.
        settings: Settings of the guard.
        execution: ARN of the execution that the request would start.
        now: When the queue received the message.
        rest: Why automatic work is stopped: ``PAUSED`` or ``FROZEN``, and the reason. None: it is not stopped.
    """
    seconds, is_automatic = int(now.timestamp()), request.trigger is not Trigger.MANUAL
    started = Decision.STARTED if request.question is None else Decision.ASKED
    if state.last_execution == execution:
        return started, "resumed"
    if is_automatic and rest is not None:
        return rest
    if state.owner is not None and seconds <= state.lock_until:
        return Decision.BUSY, f"{state.owner} runs"
    if is_automatic and settings.minimum_labels is not None and state.new_labels < settings.minimum_labels:
        return Decision.TOO_FEW_LABELS, f"{state.new_labels} of {settings.minimum_labels} new labels have come"
    if is_automatic and state.last_started is not None:
        cool_down = _cool_down(state, settings)
        left = state.last_started + cool_down - seconds
        if left > 0:
            return Decision.COOLING_DOWN, f"{left} s of the cool-down of {cool_down} s are left"
    if request.question is not None:
        left = _answer_due(state, settings) - seconds
        if left > 0:
            return (
                Decision.COOLING_DOWN,
                f"the question was sent and is repeated in {left} s at the earliest; {request.question}",
            )
        return started, request.question
    if state.day == f"{now:%Y-%m-%d}" and state.day_count >= settings.daily_budget:
        return Decision.OVER_BUDGET, f"{state.day_count} of {settings.daily_budget} retrainings of {state.day} are used"
    return started, request.detail


def free_at(
    decision: Decision, request: RetrainRequest, state: GuardState, settings: GuardSettings, now: datetime
) -> datetime | None:
    """Return when a refused request would be accepted; None unless only time must pass (cool-down or budget).

    Example:
        >>> settings = GuardSettings(pipeline="p", machine_arn="arn", alarms=(), cool_down=3600, daily_budget=1)
        >>> state = GuardState(last_started=1501578000)
        >>> request = RetrainRequest(trigger=Trigger.ALARM, event_id="e1", as_of="2017-08-01T09:30:00Z", requested_by="alarm")
        >>> free_at(Decision.COOLING_DOWN, request, state, settings, datetime(2017, 8, 1, 9, 30, tzinfo=UTC)).isoformat()
        '2017-08-01T10:00:00+00:00'
    """
    if decision is Decision.COOLING_DOWN:
        started = 0 if state.last_started is None else state.last_started + _cool_down(state, settings)
        question_due = 0 if request.question is None else _answer_due(state, settings)
        return datetime.fromtimestamp(max(started, question_due), UTC)
    if decision is Decision.OVER_BUDGET:
        return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    return None


def next_state(
    state: GuardState, request: RetrainRequest, settings: GuardSettings, *, execution: str, now: datetime
) -> GuardState:
    """Return the state in which an execution holds the lock for a request.

    Training uses up the new labels and one start of the budget; a question uses neither.
    """
    day = f"{now:%Y-%m-%d}"
    seconds = int(now.timestamp())
    taken = replace(
        state,
        owner=execution,
        lock_until=seconds + settings.lock_seconds,
        last_execution=execution,
        request=canonical_json(request).decode(),
        last_outcome=None,
    )
    if request.question is not None:
        return replace(taken, last_asked=seconds)
    return replace(
        taken, last_started=seconds, day=day, day_count=state.day_count + 1 if state.day == day else 1, new_labels=0
    )


def alarms_of(request: RetrainRequest, settings: GuardSettings) -> tuple[str, ...]:
    """Return the alarms of which at least one must still be in ALARM for the request to be valid."""
    if request.trigger is Trigger.RECHECK:
        return settings.alarms
    return (request.requested_by,) if request.trigger is Trigger.ALARM else ()


def _with_question(request: RetrainRequest, settings: GuardSettings, alarms: Alarms) -> RetrainRequest:
    """Return an alarm's request, with a question to people if its feed looks broken and the pipeline asks in that case."""
    if not alarms.faults or not settings.asks:
        return request
    named = "; ".join(alarms.faults[:_NAMED])
    more = f"; {len(alarms.faults) - _NAMED} more" if len(alarms.faults) > _NAMED else ""
    question = (
        f"the feed looks broken, so nothing was trained: {_short(named, 500)}{more}; alarm: {request.requested_by}; fix the feed, "
        f'or train on it: mlops train {settings.pipeline} --reason "..."; page: mlops monitor report {settings.endpoint}; '
        f"report: {alarms.report}"
    )
    return replace(request, question=question)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _doubted(alarms: Alarms, name: str) -> str:
    return f"alarm {name} is in ALARM without confirmation: {alarms.doubts[name]}"


def _cool_down(state: GuardState, settings: GuardSettings) -> int:
    if state.last_outcome == REJECTED and settings.rejected_cool_down is not None:
        return settings.rejected_cool_down
    return settings.cool_down


def _answer_due(state: GuardState, settings: GuardSettings) -> int:
    """Return the earliest time at which the question is repeated."""
    return 0 if state.last_asked is None else state.last_asked + max(settings.cool_down, _QUESTION_SECONDS)


def _read(event: BusEvent, settings: GuardSettings, now: datetime) -> RetrainingMessage | Ended:
    if problem := Origin(machine_arn=settings.machine_arn).problem(event):
        raise RefusedEventError(Decision.INVALID, problem)
    if (event.source, event.detail_type) == ("aws.states", "Step Functions Execution Status Change"):
        return Ended(event_id=event.id, execution=_ended(event.detail, settings))
    if settings.has_targets and event.detail_type == DetailType.RETRAINING_REQUESTED and _is_of(event.source, settings):
        return RetrainingMessage(request=_of_target(event, settings, now))
    ingest, event_id, candidate, again = None, event.id, None, False
    if _is_of(event.source, settings) and event.detail_type == DetailType.FEATURES_INGESTED:
        # identified by the ingest, since a repeated report of an ingest has another event id
        by, ingest = _new_labels(event.detail, settings)
        trigger, detail, event_id = Trigger.NEW_DATA, f"new rows of {by}", f"{by}/{ingest}"
    else:
        trigger, by, detail = _trigger(event, settings)
        if trigger is Trigger.MANUAL:
            attributes = from_dict(EventDetail, event.detail).attributes
            candidate, again = _candidate(attributes.get("candidate"), settings), attributes.get("again") == "true"
    request = RetrainRequest(
        trigger=trigger,
        event_id=event_id,
        as_of=str(to_dict(now)),
        requested_by=by,
        detail=detail[:500],
        candidate=candidate,
    )
    return RetrainingMessage(request=request, ingest=ingest, again=again)


def _is_of(source: str, settings: GuardSettings) -> bool:
    unit = source.removeprefix("mlops.")
    return source.startswith("mlops.") and settings.pipeline.startswith(f"{unit}-")


def _trigger(event: BusEvent, settings: GuardSettings) -> tuple[Trigger, str, str]:
    if (event.source, event.detail_type) == ("aws.cloudwatch", "CloudWatch Alarm State Change"):
        return _alarm(event, settings)
    if event.source in _SCHEDULERS and event.detail_type == "Scheduled Event":
        if settings.recheck_rule is not None and settings.recheck_rule in (event.resources or ()):
            return Trigger.RECHECK, event.source, "checked again"
        return Trigger.SCHEDULE, event.source, "scheduled"
    if event.detail_type == DetailType.RETRAINING_REQUESTED:
        return _requested(event, settings)
    raise RefusedEventError(Decision.INVALID, f"{event.detail_type!r} of {event.source!r} starts no retraining")


def _requested(event: BusEvent, settings: GuardSettings) -> tuple[Trigger, str, str]:
    """Parse a person's request: the event's source contains the caller's id, which IAM policies enforce."""
    unit, _, caller = event.source.partition("/")
    if not _is_of(unit, settings) or not _CALLER.fullmatch(caller):
        wanted = "mlops.<unit>/<UserId of the caller>"
        raise RefusedEventError(Decision.INVALID, f"source of a request must be {wanted}, got {event.source[:200]!r}")
    return Trigger.MANUAL, caller, _own_detail(event, settings).reason


def _own_detail(event: BusEvent, settings: GuardSettings) -> EventDetail:
    """Return the detail of a request to this pipeline."""
    detail = from_dict(EventDetail, event.detail)
    if detail.subject != settings.pipeline:
        raise RefusedEventError(Decision.INVALID, f"subject {detail.subject!r} is not {settings.pipeline!r}")
    return detail


def _of_target(event: BusEvent, settings: GuardSettings, now: datetime) -> RetrainRequest:
    """Parse the request of another environment, which a function puts on the bus; its id is kept, since it may be sent twice.

    If the feed looks broken there, the question is sent here, as for an own alarm.
    """
    request_detail = _own_detail(event, settings)
    attributes = {
        name: str(request_detail.attributes.get(name, ""))[:500]
        for name in ("environment", "alarm", "faults", "report")
    }
    event_id = f"{attributes['environment']}/{request_detail.id}"
    if not EVENT_ID.fullmatch(event_id):
        raise RefusedEventError(
            Decision.INVALID, f"id of the request must match {EVENT_ID.pattern}, got {event_id[:140]!r}"
        )
    request = RetrainRequest(
        trigger=Trigger.TARGET,
        event_id=event_id,
        as_of=str(to_dict(now)),
        requested_by=f"{attributes['environment']} {attributes['alarm']}",
        detail=request_detail.reason[:500],
    )
    if not attributes["faults"]:
        return request
    faults = tuple(attributes["faults"].split("; "))
    return _with_question(request, settings, Alarms({}, {}, faults=faults, report=attributes["report"]))


def _candidate(text: str | None, settings: GuardSettings) -> Candidate | None:
    """Return a submitted model; it must be below the prefix that only principals who may register can write."""
    if text is None:
        return None
    found = from_json(Candidate, text)
    if not _SHA256.fullmatch(found.sha256):
        raise RefusedEventError(
            Decision.INVALID, f"sha256 of a candidate must be 64 hexadecimal digits, got {found.sha256[:80]!r}"
        )
    root = f"s3://{settings.artifacts_bucket}/{REGISTERED}/{settings.pipeline}/"
    wanted = candidate_uri(settings.artifacts_bucket or "", settings.pipeline, found.sha256)
    if settings.artifacts_bucket is None or found.uri != wanted:
        raise RefusedEventError(Decision.INVALID, f"a candidate must be at {wanted}, got {found.uri[:300]!r}")
    given = found.predictions_uri
    if given is not None and not (given.startswith(root) and _PARQUET.fullmatch(given.removeprefix(root))):
        raise RefusedEventError(
            Decision.INVALID, f"predictions must be a Parquet file below {root}, got {given[:300]!r}"
        )
    return found


def _alarm(event: BusEvent, settings: GuardSettings) -> tuple[Trigger, str, str]:
    name, state = event.detail.get("alarmName"), event.detail.get("state")
    value = state.get("value") if isinstance(state, Mapping) else None
    if name not in settings.alarms:
        raise RefusedEventError(
            Decision.INVALID, f"alarm {name!r} is not one of {', '.join(settings.alarms) or 'none'}"
        )
    if problem := Origin(machine_arn=settings.machine_arn).alarm_problem(event, str(name)):
        raise RefusedEventError(Decision.INVALID, problem)
    if value != "ALARM":
        raise RefusedEventError(Decision.NOT_CONFIRMED, f"alarm {name} changed to {value!r}")
    return Trigger.ALARM, str(name), f"alarm {name} is in ALARM"


def _new_labels(detail: Mapping[str, Any], settings: GuardSettings) -> tuple[str, str]:
    """Return the table and the ingest's id; the number of its rows is read from the table."""
    reported = from_dict(EventDetail, detail)
    if settings.minimum_labels is None or reported.subject != settings.label_table:
        raise RefusedEventError(
            Decision.INVALID, f"rows of {reported.subject!r} are not counted for {settings.pipeline}"
        )
    if not EVENT_ID.fullmatch(f"{reported.subject}/{reported.id}"):
        raise RefusedEventError(
            Decision.INVALID, f"id of the ingest must match {EVENT_ID.pattern}, got {reported.id[:140]!r}"
        )
    return reported.subject, reported.id


def _ended(detail: Mapping[str, Any], settings: GuardSettings) -> str:
    execution, status = detail.get("executionArn"), detail.get("status")
    if not isinstance(execution, str) or Origin(machine_arn=settings.machine_arn).execution_name(execution) is None:
        raise RefusedEventError(Decision.INVALID, f"execution {execution!r} does not belong to {settings.machine_arn}")
    if status not in ENDED:
        raise RefusedEventError(Decision.INVALID, f"status must be one of {', '.join(ENDED)}, got {status!r}")
    return execution
