"""Operations on units: pause and resume automation, request a retraining and follow it, advance the embedded clock."""

import time
from dataclasses import dataclass

from mlops_runtime.business_unit.automation import paused_reason
from mlops_runtime.business_unit.deployed_chain import open_chain
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.business_unit.pause import set_pause
from mlops_runtime.cloud_connection import EmbeddedCloudError
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.console.write_requests import ClockBody, PauseBody, RetrainingBody
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import Decision, RetrainRequest
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.retraining.retraining_request import (
    RetrainingOutcome,
    RetrainingRequestError,
    RetrainingRequests,
    earlier_outcome,
    refusal_of,
)
from mlops_runtime.retraining.retraining_start import GuardTable
from mlops_runtime.rollout.audit_chain import AuditError, last_record

_DETAIL = 500  # characters of a reason that the guard stores


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseAnswer:
    """Whether a unit is paused; ``record`` is the sequence of the audit record, null if nothing changed."""

    unit: str
    paused: bool
    record: int | None
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingAnswer:
    """A requested retraining; ``event`` is the id for reading its progress."""

    event: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingProgress:
    """Progress of a retraining. ``decision`` is the guard's, null before it; ``outcome`` is the result of the run."""

    event: str
    decision: Decision | None
    execution: str | None
    is_over: bool
    outcome: RetrainingOutcome | None
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockAnswer:
    """The embedded cloud's time, its speed in cloud seconds per real second, and the real seconds that the move took."""

    now: str
    scale: float
    seconds: float


def pause(call: Call) -> PauseAnswer:
    """Pause a unit's automation."""
    return _set(call, is_paused=True)


def resume(call: Call) -> PauseAnswer:
    """Resume a unit's automation."""
    return _set(call, is_paused=False)


def _set(call: Call, *, is_paused: bool) -> PauseAnswer:
    body: PauseBody = call.body
    entry = Entries(ssm=call.cloud.client("ssm")).unit(call.names["unit"])
    chain = open_chain(call.cloud.client, entry)
    row = chain.table.read()
    if row.audit_sequence != body.expect.sequence:
        last = last_record(row)
        came = (
            "" if last is None else f": record {last.sequence}, {last.outcome.value}, by {person_of(last.requested_by)}"
        )
        raise RefusedRequestError(409, f"{entry.unit} has changed since it was displayed{came}. Reload it, then decide")
    try:
        change = set_pause(chain, is_paused=is_paused, by=call.caller, reason=body.reason.strip(), now=call.now)
    except AuditError as error:
        raise RefusedRequestError(409, f"{error}; check it with: mlops audit verify {entry.unit}") from error
    if change.record is None:
        how = f"is {paused_reason(change.state)}" if is_paused else "is not paused"
        return PauseAnswer(
            unit=entry.unit, paused=is_paused, record=None, summary=f"{entry.unit} {how}; nothing changed"
        )
    what = "paused: automatic retraining, approval and promotion are stopped" if is_paused else "resumed"
    number = change.record.sequence
    return PauseAnswer(
        unit=entry.unit, paused=is_paused, record=number, summary=f"{entry.unit} is {what} (record {number})"
    )


def retrain(call: Call) -> RetrainingAnswer:
    """Request a retraining.

    Raises:
        RefusedRequestError: If the pipeline has started another one since, has no training set, or the bus refuses the event.
    """
    body: RetrainingBody = call.body
    requests = _requests(call)
    pipeline = requests.pipeline
    table = GuardTable(dynamodb=requests.dynamodb, table=pipeline.retraining_table, pipeline=pipeline.pipeline)
    state, caller = table.read(), call.cloud.identity().user_id
    last = state.last_execution
    if last != body.expect.last_execution:
        begun = None if state.request is None else from_json(RetrainRequest, state.request)
        if begun is not None and (begun.requested_by, begun.detail) == (caller, body.reason.strip()[:_DETAIL]):
            # a repetition of this request: the new run has the same requester and reason
            return RetrainingAnswer(event=begun.event_id, summary=f"requested a retraining by {pipeline.pipeline}")
        started = "no run" if last is None else last.rpartition(":")[2]
        raise RefusedRequestError(
            409,
            f"{pipeline.pipeline} has changed since it was displayed: it last started {started}. Reload it, then decide",
        )
    if (problem := requests.unpublished()) is not None:
        raise RefusedRequestError(409, problem)
    try:
        event = requests.send(caller=caller, reason=body.reason.strip())
    except RetrainingRequestError as error:
        raise RefusedRequestError(502, str(error)) from error
    return RetrainingAnswer(event=event, summary=f"requested a retraining by {pipeline.pipeline}")


def retraining(call: Call) -> RetrainingProgress:
    """Return the guard's decision on a request, and the result of the run."""
    requests, event = _requests(call), call.names["event"]
    decision = requests.decision(event)
    if decision is None:
        message = "the guard has not decided yet; requests that it cannot handle are in the dead-letter queue"
        return RetrainingProgress(
            event=event, decision=None, execution=None, is_over=False, outcome=None, summary=message
        )
    if decision.decision not in (Decision.STARTED, Decision.KNOWN) or decision.execution is None:
        return RetrainingProgress(
            event=event,
            decision=decision.decision,
            execution=None,
            is_over=True,
            outcome=None,
            summary=refusal_of(decision),
        )
    outcome = earlier_outcome(decision) or requests.outcome(decision.execution)
    name = decision.execution.rpartition(":")[2]
    return RetrainingProgress(
        event=event,
        decision=decision.decision,
        execution=name,
        is_over=outcome is not None,
        outcome=outcome,
        summary=f"{name} is running" if outcome is None else f"{outcome.outcome}: {outcome.reason}",
    )


def move_clock(call: Call) -> ClockAnswer:
    """Advance the embedded cloud's clock; work that becomes due runs.

    Raises:
        RefusedRequestError: On AWS, whose clock cannot be moved, or if the cloud refuses it.
    """
    body: ClockBody = call.body
    before = call.cloud.clock()
    if before is None:
        raise RefusedRequestError(409, "this is an AWS account, whose clock cannot be moved")
    began = time.monotonic()
    try:
        call.cloud.move_clock(before.now + body.span)
    except EmbeddedCloudError as error:
        raise RefusedRequestError(422, str(error)) from error
    after = call.cloud.clock() or before
    took = round(time.monotonic() - began, 3)
    return ClockAnswer(now=after.now.isoformat().replace("+00:00", "Z"), scale=after.scale, seconds=took)


def _requests(call: Call) -> RetrainingRequests:
    entries = Entries(ssm=call.cloud.client("ssm"))
    pipeline = entries.pipeline(call.names["pipeline"])
    if pipeline.unit != call.names["unit"]:
        raise RefusedRequestError(
            404, f"pipeline {pipeline.pipeline} belongs to unit {pipeline.unit}, not {call.names['unit']}"
        )
    return RetrainingRequests(client=call.cloud.client, unit=entries.unit(pipeline.unit), pipeline=pipeline)
