"""Pausing and resuming a unit, asking a pipeline for a retraining, and what came of that."""

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

_DETAIL = 500  # characters of a reason that the guard keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseAnswer:
    """Whether a unit is paused now; ``record`` is the sequence of the record, null where nothing changed."""

    unit: str
    paused: bool
    record: int | None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingAsked:
    """A retraining that was asked for; ``event`` is what to ask the guard's decision by."""

    event: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingProgress:
    """Where a retraining is. ``decision`` is the guard's, null while it has not decided; ``outcome`` what came of the run."""

    event: str
    decision: Decision | None
    execution: str | None
    is_over: bool
    outcome: RetrainingOutcome | None
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockAnswer:
    """The embedded cloud's time, and how many seconds pass there in a real one."""

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
        raise RefusedRequestError(409, f"{entry.unit} has changed since it was shown{came}. Read it again, then decide")
    try:
        change = set_pause(chain, is_paused=is_paused, by=call.caller, reason=body.reason.strip(), now=call.now)
    except AuditError as error:
        raise RefusedRequestError(409, f"{error}; check it with: mlops audit verify {entry.unit}") from error
    if change.record is None:
        how = f"is {paused_reason(change.state)}" if is_paused else "is not paused"
        return PauseAnswer(unit=entry.unit, paused=is_paused, record=None, says=f"{entry.unit} {how}; nothing changed")
    what = "paused: automatic retraining, approval and promotion are stopped" if is_paused else "resumed"
    number = change.record.sequence
    return PauseAnswer(
        unit=entry.unit, paused=is_paused, record=number, says=f"{entry.unit} is {what} (record {number})"
    )


def retrain(call: Call) -> RetrainingAsked:
    """Ask a pipeline for a retraining.

    Raises:
        RefusedRequestError: If it has started another one since, has nothing to measure on, or the bus does not take it.
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
            # this very request, whichever process took it: what began since is of the same person, for the same reason
            return RetrainingAsked(event=begun.event_id, says=f"asked {pipeline.pipeline} for a retraining")
        started = "nothing" if last is None else last.rpartition(":")[2]
        raise RefusedRequestError(
            409, f"{pipeline.pipeline} has started {started} since it was shown. Read it again, then decide"
        )
    if (problem := requests.unpublished()) is not None:
        raise RefusedRequestError(409, problem)
    try:
        event = requests.ask(caller=caller, reason=body.reason.strip())
    except RetrainingRequestError as error:
        raise RefusedRequestError(502, str(error)) from error
    return RetrainingAsked(event=event, says=f"asked {pipeline.pipeline} for a retraining")


def retraining(call: Call) -> RetrainingProgress:
    """Return what the guard has decided on a request, and what came of the run."""
    requests, event = _requests(call), call.names["event"]
    decision = requests.decision(event)
    if decision is None:
        says = "the guard has not decided yet; what it does not decide on is among the dead letters of its queue"
        return RetrainingProgress(event=event, decision=None, execution=None, is_over=False, outcome=None, says=says)
    if decision.decision not in (Decision.STARTED, Decision.KNOWN) or decision.execution is None:
        return RetrainingProgress(
            event=event,
            decision=decision.decision,
            execution=None,
            is_over=True,
            outcome=None,
            says=refusal_of(decision),
        )
    outcome = earlier_outcome(decision) or requests.outcome(decision.execution)
    name = decision.execution.rpartition(":")[2]
    return RetrainingProgress(
        event=event,
        decision=decision.decision,
        execution=name,
        is_over=outcome is not None,
        outcome=outcome,
        says=f"{name} runs" if outcome is None else f"{outcome.outcome}: {outcome.reason}",
    )


def move_clock(call: Call) -> ClockAnswer:
    """Move the embedded cloud's clock forward; what is due on the way runs.

    Raises:
        RefusedRequestError: On AWS, whose time passes by itself, or for a time that lies behind.
    """
    body: ClockBody = call.body
    before = call.cloud.clock()
    if before is None:
        raise RefusedRequestError(409, "this is an account on AWS, whose time passes by itself")
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
            404, f"pipeline {pipeline.pipeline} is of unit {pipeline.unit}, not {call.names['unit']}"
        )
    return RetrainingRequests(client=call.cloud.client, unit=entries.unit(pipeline.unit), pipeline=pipeline)
