"""Whether an event starts a retraining. Pure: events, state and time in, a decision out.

An alarm fires one event and then says nothing for as long as it rings, so a schedule asks again; both, and people, come here.
A person's request does not wait for the cool-down, which is there against alarms that come back; lock and budget hold for all.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.contracts import ContractError, from_dict, from_json, to_dict
from mlops_runtime.contracts.events import BusEvent, DetailType, EventDetail
from mlops_runtime.contracts.retraining import Decision, RetrainRequest, Trigger

OLDEST = timedelta(minutes=15)
NEWEST = timedelta(minutes=5)  # clocks of senders may be ahead

_ID = re.compile(r"[A-Za-z0-9._:/=+@-]{1,128}")
_SCHEDULERS = ("aws.events", "aws.scheduler")


class RefusedEventError(Exception):
    """An event that starts nothing; ``decision`` says of which kind."""

    def __init__(self, decision: Decision, reason: str) -> None:
        self.decision = decision
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """What a pipeline allows.

    Args:
        pipeline: Its name.
        machine_arn: The Retrain machine; its account is the only one that events may come from.
        alarms: Names of the alarms that may start it.
        cool_down: Seconds between a start and the next that no person asked for.
        daily_budget: Starts a UTC day.
        lock_seconds: When the lock may be taken over; above the machine's timeout. Default: 6 hours.
    """

    pipeline: str
    machine_arn: str
    alarms: tuple[str, ...]
    cool_down: int
    daily_budget: int
    lock_seconds: int = 21600


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """The pipeline's ``STATE`` item; times in epoch seconds. ``owner`` is an execution's ARN."""

    owner: str | None = None
    lock_until: int = 0
    last_started: int | None = None
    last_execution: str | None = None
    day: str | None = None
    day_count: int = 0


def request_from(body: str, *, settings: GuardSettings, now: datetime) -> RetrainRequest:
    """Return what an event asks for.

    Args:
        body: The message: an event as EventBridge delivers it.
        settings: What the pipeline allows.
        now: When the queue took the message.

    Raises:
        RefusedEventError: ``INVALID`` or ``STALE``.
    """
    try:
        event = from_json(BusEvent, body)
        request = _read(event, settings, now)
    except ContractError as error:
        raise RefusedEventError(Decision.INVALID, str(error)) from error
    at = event.time if event.time.tzinfo is not None else event.time.replace(tzinfo=UTC)
    if not -NEWEST <= now - at <= OLDEST:
        raise RefusedEventError(Decision.STALE, f"event of {event.time.isoformat()} came at {now.isoformat()}")
    return request


def execution_name(pipeline: str, request: RetrainRequest) -> str:
    """Return the 24 characters that name the execution of an event and its jobs, the same at every delivery.

    Example:
        >>> request = RetrainRequest(trigger=Trigger.ALARM, event_id="e1", as_of="2017-08-01T09:00:00Z", requested_by="alarm")
        >>> execution_name("demand-forecast", request)
        '20170801-e0f099f12ac469a'
    """
    digest = hashlib.sha256(f"{pipeline}/{request.event_id}".encode()).hexdigest()
    return f"{request.as_of[:10].replace('-', '')}-{digest[:15]}"


def decide(
    state: GuardState, request: RetrainRequest, settings: GuardSettings, *, execution: str, now: datetime
) -> tuple[Decision, str]:
    """Return what to do with a request whose trigger has been confirmed, and why.

    A state that the same execution left is a delivery that was cut off: it is started again, which is starting it once.
    """
    seconds = int(now.timestamp())
    if state.last_execution == execution:
        return Decision.STARTED, "resumed"
    if state.owner is not None and seconds <= state.lock_until:
        return Decision.BUSY, f"{state.owner} runs"
    if request.trigger is not Trigger.MANUAL and state.last_started is not None:
        rest = state.last_started + settings.cool_down - seconds
        if rest > 0:
            return Decision.COOLING_DOWN, f"{rest} s of the cool-down of {settings.cool_down} s are left"
    if state.day == f"{now:%Y-%m-%d}" and state.day_count >= settings.daily_budget:
        return Decision.OVER_BUDGET, f"{state.day_count} of {settings.daily_budget} retrainings of {state.day} are used"
    return Decision.STARTED, request.detail


def next_state(state: GuardState, settings: GuardSettings, *, execution: str, now: datetime) -> GuardState:
    """Return the state in which an execution holds the lock."""
    day = f"{now:%Y-%m-%d}"
    seconds = int(now.timestamp())
    return GuardState(
        owner=execution,
        lock_until=seconds + settings.lock_seconds,
        last_started=seconds,
        last_execution=execution,
        day=day,
        day_count=state.day_count + 1 if state.day == day else 1,
    )


def alarm_of(request: RetrainRequest) -> str | None:
    """Return the alarm that must still ring for the request to hold."""
    return request.requested_by if request.trigger is Trigger.ALARM else None


def _read(event: BusEvent, settings: GuardSettings, now: datetime) -> RetrainRequest:
    account = settings.machine_arn.split(":")[4]
    if event.account != account:
        raise RefusedEventError(Decision.INVALID, f"account {event.account!r} is not {account!r}")
    if not _ID.fullmatch(event.id):
        raise RefusedEventError(Decision.INVALID, f"event id must match {_ID.pattern}, got {event.id[:140]!r}")
    trigger, by, detail = _trigger(event, settings)
    return RetrainRequest(
        trigger=trigger, event_id=event.id, as_of=str(to_dict(now)), requested_by=by, detail=detail[:500]
    )


def _trigger(event: BusEvent, settings: GuardSettings) -> tuple[Trigger, str, str]:
    kind = (event.source, event.detail_type)
    if kind == ("aws.cloudwatch", "CloudWatch Alarm State Change"):
        return _alarm(event.detail, settings)
    if event.source in _SCHEDULERS and event.detail_type == "Scheduled Event":
        return Trigger.SCHEDULE, event.source, "scheduled"
    unit = event.source.removeprefix("mlops.")
    own = event.source.startswith("mlops.") and settings.pipeline.startswith(f"{unit}-")
    if own and event.detail_type == DetailType.RETRAINING_REQUESTED:
        asked = from_dict(EventDetail, event.detail)
        if asked.subject != settings.pipeline:
            raise RefusedEventError(Decision.INVALID, f"subject {asked.subject!r} is not {settings.pipeline!r}")
        by = asked.attributes.get("requested_by", event.source)
        return Trigger.MANUAL, by, asked.reason
    raise RefusedEventError(Decision.INVALID, f"{event.detail_type!r} of {event.source!r} starts no retraining")


def _alarm(detail: Mapping[str, Any], settings: GuardSettings) -> tuple[Trigger, str, str]:
    name, state = detail.get("alarmName"), detail.get("state")
    value = state.get("value") if isinstance(state, Mapping) else None
    if name not in settings.alarms:
        raise RefusedEventError(Decision.INVALID, f"alarm {name!r} is none of {', '.join(settings.alarms) or 'none'}")
    if value != "ALARM":
        raise RefusedEventError(Decision.NOT_CONFIRMED, f"alarm {name} went to {value!r}")
    return Trigger.ALARM, str(name), f"alarm {name} rings"
