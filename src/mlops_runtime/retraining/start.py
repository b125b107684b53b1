"""Adapter of ``guard``: reads the alarm again, takes the lock, starts the machine, keeps the decision.

Every step may be the last before a crash. The lock names the execution before it exists, and the execution's name follows from the
event, so that the next delivery of the same message goes on where this one stopped.
"""

import json
import logging
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.retraining import Decision, GuardDecision, RetrainRequest
from mlops_runtime.messages import Message
from mlops_runtime.retraining.guard import (
    GuardSettings,
    GuardState,
    RefusedEventError,
    alarm_of,
    decide,
    execution_name,
    next_state,
    request_from,
)
from mlops_runtime.rollout.gather import alarm_states
from mlops_runtime.rollout.machine import execution_arn

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)

KEPT = timedelta(days=30)  # how long an event id is remembered; it is refused as stale long before
ATTEMPTS = 5

_NUMBERS = ("lock_until", "last_started", "day_count")


class GuardBusyError(Exception):
    """Others kept changing the state; the message stays in the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainGuard:
    """The guard of one pipeline.

    Args:
        dynamodb: Client.
        cloudwatch: Client.
        stepfunctions: Client.
        table: Name of the retraining table.
        settings: What the pipeline allows.
    """

    dynamodb: "DynamoDBClient"
    cloudwatch: "CloudWatchClient"
    stepfunctions: "SFNClient"
    table: str
    settings: GuardSettings

    def handle(self, message: Message) -> GuardDecision:
        """Decide on one message, start the machine if it may, keep and log the decision.

        Raises:
            GuardBusyError: If others kept changing the state.
        """
        decision = self._decision(message)
        logger.info(json.dumps(to_dict(decision) | {"pipeline": self.settings.pipeline}))
        return decision

    def _decision(self, message: Message) -> GuardDecision:
        now, pipeline = message.sent, self.settings.pipeline
        try:
            request = request_from(message.body, settings=self.settings, now=now)
        except RefusedEventError as refused:
            # under the message's id: a forged event must not use up the id of a real one
            return self._kept(refused.decision, f"message:{message.id}", now, str(refused))
        if (earlier := self._item(f"EVENT#{request.event_id}")) is not None:
            reason = f"decided before: {earlier['decision']['S']}"
            return GuardDecision(decision=Decision.DUPLICATE, event_id=request.event_id, at=_iso(now), reason=reason)
        alarm = alarm_of(request)
        if alarm is not None and (state := alarm_states(self.cloudwatch, [alarm]).get(alarm)) != "ALARM":
            return self._kept(Decision.NOT_CONFIRMED, request.event_id, now, f"alarm {alarm} is {state} now")
        name = execution_name(pipeline, request)
        arn = execution_arn(self.settings.machine_arn, name)
        decision, reason = self._lock(request, arn, now)
        if decision is not Decision.STARTED:
            return self._kept(decision, request.event_id, now, reason)
        try:
            self.stepfunctions.start_execution(
                stateMachineArn=self.settings.machine_arn, name=name, input=canonical_json(request).decode()
            )
        except self.stepfunctions.exceptions.ExecutionAlreadyExists:
            logger.info("execution %s is already there", name)
        return self._kept(decision, request.event_id, now, reason, arn)

    def _lock(self, request: RetrainRequest, execution: str, now: datetime) -> tuple[Decision, str]:
        for _ in range(ATTEMPTS):
            seen = self._state()
            decision, reason = decide(seen, request, self.settings, execution=execution, now=now)
            if decision is not Decision.STARTED or seen.last_execution == execution:
                return decision, reason
            if self._take(seen, next_state(seen, self.settings, execution=execution, now=now), now):
                return decision, reason
        raise GuardBusyError(f"the state of {self.settings.pipeline} changed {ATTEMPTS} times while it was read")

    def _state(self) -> GuardState:
        item = self._item("STATE")
        if item is None:
            return GuardState()
        present = [f.name for f in fields(GuardState) if f.name in item]
        values: dict[str, Any] = {
            name: int(item[name]["N"]) if name in _NUMBERS else item[name]["S"] for name in present
        }
        return GuardState(**values)

    def _take(self, seen: GuardState, new: GuardState, now: datetime) -> bool:
        """Write the new state if nobody started anything since ``seen`` and the lock is free."""
        values: dict[str, Any] = {":now": {"N": str(int(now.timestamp()))}}
        names = {"#owner": "owner", "#day": "day"}
        changes = []
        for entry in fields(GuardState):
            value = getattr(new, entry.name)
            values[f":{entry.name}"] = {"N": str(value)} if entry.name in _NUMBERS else {"S": value}
            changes.append(f"{'#' if '#' + entry.name in names else ''}{entry.name} = :{entry.name}")
        unchanged = "attribute_not_exists(last_execution)"
        if seen.last_execution is not None:
            unchanged, values[":seen"] = "last_execution = :seen", {"S": seen.last_execution}
        try:
            self.dynamodb.update_item(
                TableName=self.table,
                Key=self._key("STATE"),
                UpdateExpression="SET " + ", ".join(changes),
                ConditionExpression=f"{unchanged} AND (attribute_not_exists(#owner) OR lock_until < :now)",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _kept(
        self, decision: Decision, event_id: str, now: datetime, reason: str, execution: str | None = None
    ) -> GuardDecision:
        made = GuardDecision(
            decision=decision, event_id=event_id, at=_iso(now), reason=reason[:1000], execution=execution
        )
        texts = {name: {"S": value} for name, value in to_dict(made).items()}
        expires = {"N": str(int((now + KEPT).timestamp()))}
        self.dynamodb.put_item(
            TableName=self.table, Item={**self._key(f"EVENT#{event_id}"), **texts, "expires": expires}
        )
        return made

    def _item(self, item: str) -> dict[str, Any] | None:
        answer = self.dynamodb.get_item(TableName=self.table, Key=self._key(item), ConsistentRead=True)
        return answer.get("Item")

    def _key(self, item: str) -> dict[str, Any]:
        return {"pipeline": {"S": self.settings.pipeline}, "item": {"S": item}}


def _iso(at: datetime) -> str:
    return str(to_dict(at))
