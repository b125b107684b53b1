"""Adapter of ``retraining_guard``: confirms an event, takes the lock, starts the Retrain machine, and stores the decision."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_dict, from_json, to_dict
from mlops_runtime.contracts.retraining import (
    BroughtCandidate,
    Decision,
    GuardDecision,
    RetrainRequest,
    Trigger,
    candidate_item,
)
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated
from mlops_runtime.retraining.decision_metric import decision_line
from mlops_runtime.retraining.request_evidence import AlarmEvidence
from mlops_runtime.retraining.retraining_guard import (
    Ended,
    GuardSettings,
    GuardState,
    KnownCandidateError,
    RefusedEventError,
    RetrainingMessage,
    alarms_of,
    confirmed,
    decide,
    event_from,
    execution_name,
    free_at,
    next_state,
    require_new,
)
from mlops_runtime.rollout.execution_names import execution_arn

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
    from mypy_boto3_stepfunctions import SFNClient

    from mlops_runtime.business_unit.automation import Automation

KEPT = timedelta(days=30)  # time for which event ids are stored; they are refused as stale long before
KEPT_STARTED = timedelta(
    days=400
)  # requester and reason of a run are stored nowhere else for longer than the execution

_NUMBERS = ("lock_until", "last_started", "day_count", "new_labels", "last_asked")
_TAKEN = ("owner", "lock_until", "last_started", "last_execution", "day", "day_count", "request", "last_asked")
_REFUSED = "ConditionalCheckFailed"

logger = logging.getLogger(__name__)

ATTEMPTS = 5
# within this time, a message that took the lock is redelivered and starts its execution, or ends in the dead-letter queue
UNSTARTED = timedelta(minutes=30)

_OVER = ("ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTable:
    """The rows of one pipeline."""

    dynamodb: "DynamoDBClient"
    table: str  # name of the retraining table
    pipeline: str

    def read(self) -> GuardState:
        """Return the state; an empty one if it was never written."""
        item = self._item("STATE")
        if item is None:
            return GuardState()
        present = [f.name for f in fields(GuardState) if f.name in item]
        values: dict[str, Any] = {
            name: int(item[name]["N"]) if name in _NUMBERS else item[name]["S"] for name in present
        }
        return GuardState(**values)

    def take(self, seen: GuardState, new: GuardState, now: datetime, *, ended_owner: str | None = None) -> bool:
        """Write the new state if nothing was started since ``seen`` and the lock is free; labels counted since then are kept.

        Args:
            seen: The state that was decided on.
            new: The state in which an execution holds the lock.
            now: The time of the decision.
            ended_owner: An owner that is known to have ended. Default: only time frees a lock.
        """
        values: dict[str, AttributeValueTypeDef] = {
            ":now": {"N": str(int(now.timestamp()))},
            ":used": {"N": str(seen.new_labels - new.new_labels)},
            ":none": {"N": "0"},
        }
        changes = ["new_labels = if_not_exists(new_labels, :none) - :used"]
        known = [name for name in _TAKEN if getattr(new, name) is not None]
        for name in known:
            value = getattr(new, name)
            values[f":{name}"] = {"N": str(value)} if name in _NUMBERS else {"S": value}
            changes.append(f"#{name} = :{name}")
        unchanged = "attribute_not_exists(#last_execution)"
        if seen.last_execution is not None:
            unchanged, values[":seen"] = "#last_execution = :seen", {"S": seen.last_execution}
        free = "attribute_not_exists(#owner) OR #lock_until < :now"
        if ended_owner is not None:
            free, values[":ended"] = f"{free} OR #owner = :ended", {"S": ended_owner}
        return self._update(
            UpdateExpression="SET " + ", ".join(changes) + " REMOVE last_outcome",
            ConditionExpression=f"{unchanged} AND ({free})",
            ExpressionAttributeNames={f"#{name}": name for name in known},
            ExpressionAttributeValues=values,
        )

    def release(self, owner: str) -> bool:
        """Release the lock of an execution, and return whether the execution held it."""
        return self._update(
            UpdateExpression="REMOVE #owner, lock_until",
            ConditionExpression="#owner = :me",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":me": {"S": owner}},
        )

    def count(self, event_id: str, labels: int, now: datetime) -> None:
        """Add the labels of an event to the state, once: marker and sum are written in one transaction."""
        marker = {**self._key(f"LABELS#{event_id}"), "labels": {"N": str(labels)}, "expires": _expires(now)}
        mark: Any = {"TableName": self.table, "Item": marker, "ConditionExpression": "attribute_not_exists(pipeline)"}
        add: Any = {
            "TableName": self.table,
            "Key": self._key("STATE"),
            "UpdateExpression": "ADD new_labels :labels",
            "ExpressionAttributeValues": {":labels": {"N": str(labels)}},
        }
        try:
            self.dynamodb.transact_write_items(TransactItems=[{"Put": mark}, {"Update": add}])
        except ClientError as error:
            reasons = error.response.get("CancellationReasons", [])
            if not reasons or reasons[0].get("Code") != _REFUSED:
                raise

    def brought(self, sha256: str) -> BroughtCandidate | None:
        """Return the result of an archive, which the machine wrote before it released its lock."""
        item = self._item(candidate_item(sha256))
        if item is None:
            return None
        return from_dict(
            BroughtCandidate, {f.name: item[f.name]["S"] for f in fields(BroughtCandidate) if f.name in item}
        )

    def decided(self, event_id: str) -> str | None:
        """Return an earlier decision on an event; None without one."""
        item = self._item(f"EVENT#{event_id}")
        return None if item is None else str(item["decision"]["S"])

    def keep(self, decision: GuardDecision, event_id: str, now: datetime) -> None:
        """Store a decision for longer than its event can be redelivered; a start for longer than the run's history."""
        texts = {name: {"S": value} for name, value in to_dict(decision).items()}
        kept = KEPT_STARTED if decision.decision is Decision.STARTED else KEPT
        self.dynamodb.put_item(
            TableName=self.table, Item={**self._key(f"EVENT#{event_id}"), **texts, "expires": _expires(now, kept)}
        )

    def _update(self, **arguments: Any) -> bool:
        with Tolerated(*CONDITION_FAILED):
            self.dynamodb.update_item(TableName=self.table, Key=self._key("STATE"), **arguments)
            return True
        return False

    def _item(self, item: str) -> "dict[str, AttributeValueTypeDef] | None":
        answer = self.dynamodb.get_item(TableName=self.table, Key=self._key(item), ConsistentRead=True)
        return answer.get("Item")

    def _key(self, item: str) -> "dict[str, AttributeValueTypeDef]":
        return {"pipeline": {"S": self.pipeline}, "item": {"S": item}}


def _expires(now: datetime, kept: timedelta = KEPT) -> dict[str, str]:
    return {"N": str(int((now + kept).timestamp()))}


class GuardBusyError(Exception):
    """Others kept changing the state; the message stays in the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainGuard:
    """The guard of one pipeline."""

    dynamodb: "DynamoDBClient"
    stepfunctions: "SFNClient"
    table: str  # name of the retraining table
    settings: GuardSettings
    automation: "Automation"  # the unit's freeze calendar and pause
    evidence: AlarmEvidence  # reader of alarms and their evidence
    # returns the number of rows that an ingest (table, id) appended; None if the table has no such ingest
    ingested: Callable[[str, str], int | None]
    # returns the approval status of a model package; None if the registry does not have it
    approval: Callable[[str], str | None]

    def handle(self, message: Message) -> GuardDecision:
        """Decide on one message, start the machine if accepted, and store, log and count the decision.

        Raises:
            GuardBusyError: If others kept changing the state.
        """
        decision = self._decision(message)
        pipeline, unit = self.settings.pipeline, self.settings.unit
        logger.info(json.dumps(to_dict(decision) | {"pipeline": pipeline}))
        line = None if unit is None else decision_line(decision, unit=unit, pipeline=pipeline)
        if line is not None:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        return decision

    @property
    def _rows(self) -> GuardTable:
        return GuardTable(dynamodb=self.dynamodb, table=self.table, pipeline=self.settings.pipeline)

    def _decision(self, message: Message) -> GuardDecision:
        now = message.sent
        try:
            event = event_from(message.body, settings=self.settings, now=now)
        except RefusedEventError as refused:
            # stored by the message's id: a forged event must not use up the id of a real one
            return self._kept(refused.decision, f"message:{message.id}", now, str(refused))
        if (earlier := self._rows.decided(event.event_id)) is not None:
            reason = f"decided before: {earlier}"
            return GuardDecision(decision=Decision.DUPLICATE, event_id=event.event_id, at=_iso(now), reason=reason)
        try:
            return self._release(event, now) if isinstance(event, Ended) else self._retrain(event, now)
        except RefusedEventError as refused:
            request = event.request if isinstance(event, RetrainingMessage) else None
            known = refused if isinstance(refused, KnownCandidateError) else None
            return self._kept(refused.decision, event.event_id, now, str(refused), request=request, known=known)

    def _retrain(self, event: RetrainingMessage, now: datetime) -> GuardDecision:
        request = self._counted(event, now)
        name = execution_name(self.settings.pipeline, event.request)
        arn = execution_arn(self.settings.machine_arn, name)
        state = self._rows.read()
        if state.last_execution == arn and state.request is not None:
            # an interrupted start continues, even if the alarm is no longer in ALARM
            request = from_json(RetrainRequest, state.request)
        else:
            alarms = self.evidence.read(alarms_of(request, self.settings), now)
            request = confirmed(request, self.settings, alarms=alarms, state=state)
        decision, reason = self._lock(request, arn, now, again=event.again)
        if not decision.is_start:
            free = free_at(decision, request, self._rows.read(), self.settings, now)
            return self._kept(decision, request.event_id, now, reason, request=request, free=free)
        try:
            self.stepfunctions.start_execution(
                # the machine reads the request from the row that was written with the lock
                stateMachineArn=self.settings.machine_arn,
                name=name,
            )
        except self.stepfunctions.exceptions.ExecutionAlreadyExists:
            logger.info("execution %s already exists", name)
        return self._kept(decision, request.event_id, now, reason, arn, request=request)

    def _counted(self, event: RetrainingMessage, now: datetime) -> RetrainRequest:
        """Count the new labels of an ingest, from the table's snapshot."""
        table = event.request.requested_by
        if event.ingest is None:
            return event.request
        rows = self.ingested(table, event.ingest)
        if rows is None:
            raise RefusedEventError(Decision.NOT_CONFIRMED, f"{table} has no snapshot of ingest {event.ingest}")
        self._rows.count(event.event_id, rows, now)
        return replace(event.request, detail=f"{rows} new rows of {table}")

    def _release(self, event: Ended, now: datetime) -> GuardDecision:
        execution, status = event.execution, self._status(event.execution)
        if status not in _OVER:
            raise RefusedEventError(Decision.NOT_CONFIRMED, f"{execution} is {status} now")
        held = self._rows.release(execution)
        reason = f"{execution} is {status}" if held else f"{execution} is {status} and no longer held the lock"
        return self._kept(Decision.RELEASED, event.event_id, now, reason, execution)

    def _lock(self, request: RetrainRequest, execution: str, now: datetime, *, again: bool) -> tuple[Decision, str]:
        rest = None if request.trigger is Trigger.MANUAL else self._rest(now)
        for _ in range(ATTEMPTS):
            seen, ended_owner = self._rows.read(), None
            decision, reason = decide(seen, request, self.settings, execution=execution, now=now, rest=rest)
            if decision is Decision.BUSY and self._is_over(seen, now):
                ended_owner, freed = seen.owner, replace(seen, owner=None, lock_until=0)
                decision, reason = decide(freed, request, self.settings, execution=execution, now=now, rest=rest)
            if not again and seen.last_execution != execution:
                # after reading the state: the machine writes an archive's result before it releases the lock
                self._require_new(request, seen if decision is Decision.BUSY else replace(seen, owner=None))
            if not decision.is_start or seen.last_execution == execution:
                return decision, reason
            new = next_state(seen, request, self.settings, execution=execution, now=now)
            if self._rows.take(seen, new, now, ended_owner=ended_owner):
                return decision, reason
        raise GuardBusyError(f"the state of {self.settings.pipeline} changed {ATTEMPTS} times while it was read")

    def _require_new(self, request: RetrainRequest, state: GuardState) -> None:
        if request.candidate is None:
            return
        brought = self._rows.brought(request.candidate.sha256)
        approval = None if brought is None or not brought.package else self.approval(brought.package)
        require_new(request.candidate, state, brought, approval=approval)

    def _rest(self, now: datetime) -> tuple[Decision, str] | None:
        frozen = self.automation.frozen(now)
        if frozen is not None:
            return Decision.FROZEN, frozen
        paused = self.automation.rests(now)
        return None if paused is None else (Decision.PAUSED, paused)

    def _is_over(self, seen: GuardState, now: datetime) -> bool:
        """Return whether the owner of the lock has ended or was never started, so that its lock is ignored."""
        status = self._status(seen.owner or "")
        if status is not None:
            return status in _OVER
        return seen.last_started is not None and now.timestamp() - seen.last_started > UNSTARTED.total_seconds()

    def _status(self, execution: str) -> str | None:
        try:
            # metadata only: input and output are encrypted with a key that the guard may not use
            # https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
            described = self.stepfunctions.describe_execution(executionArn=execution, includedData="METADATA_ONLY")
            return described["status"]
        except self.stepfunctions.exceptions.ExecutionDoesNotExist:
            return None

    def _kept(
        self,
        decision: Decision,
        event_id: str,
        now: datetime,
        reason: str,
        execution: str | None = None,
        *,
        request: RetrainRequest | None = None,
        free: datetime | None = None,
        known: KnownCandidateError | None = None,
    ) -> GuardDecision:
        made = GuardDecision(
            decision=decision,
            event_id=event_id,
            at=_iso(now),
            reason=reason[:1000],
            execution=execution if known is None else known.execution,
            trigger=None if request is None else request.trigger,
            requested_by=None if request is None else request.requested_by,
            detail=None if request is None else request.detail,
            free_at=None if free is None else _iso(free),
            outcome=None if known is None else known.outcome,
            package=None if known is None else known.package,
        )
        self._rows.keep(made, event_id, now)
        return made


def _iso(at: datetime) -> str:
    return str(to_dict(at))
