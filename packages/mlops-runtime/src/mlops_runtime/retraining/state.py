"""The rows of one pipeline in the retraining table: its state, which events were decided, which labels were counted.

See: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.retraining import GuardDecision
from mlops_runtime.retraining.guard import GuardState

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT = timedelta(days=30)  # how long an event id is remembered; it is refused as stale long before

_NUMBERS = ("lock_until", "last_started", "day_count", "new_labels")
_TAKEN = ("owner", "lock_until", "last_started", "last_execution", "day", "day_count", "request")
_REFUSED = "ConditionalCheckFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTable:
    """The rows of one pipeline.

    Args:
        dynamodb: Client.
        table: Name of the retraining table.
        pipeline: The pipeline.
    """

    dynamodb: "DynamoDBClient"
    table: str
    pipeline: str

    def read(self) -> GuardState:
        """Return the state; one that nobody wrote yet is empty."""
        item = self._item("STATE")
        if item is None:
            return GuardState()
        present = [f.name for f in fields(GuardState) if f.name in item]
        values: dict[str, Any] = {
            name: int(item[name]["N"]) if name in _NUMBERS else item[name]["S"] for name in present
        }
        return GuardState(**values)

    def take(self, seen: GuardState, new: GuardState, now: datetime, *, gone: str | None = None) -> bool:
        """Write the new state if nobody started anything since ``seen`` and the lock is free; labels that came since then stay.

        Args:
            seen: The state that was decided on.
            new: The state in which an execution holds the lock.
            now: The time of the decision.
            gone: An owner that is known to run no more. Default: only time frees a lock.
        """
        values: dict[str, Any] = {
            ":now": {"N": str(int(now.timestamp()))},
            ":used": {"N": str(seen.new_labels)},
            ":none": {"N": "0"},
        }
        changes = ["new_labels = if_not_exists(new_labels, :none) - :used"]
        for name in _TAKEN:
            value = getattr(new, name)
            values[f":{name}"] = {"N": str(value)} if name in _NUMBERS else {"S": value}
            changes.append(f"#{name} = :{name}")
        unchanged = "attribute_not_exists(#last_execution)"
        if seen.last_execution is not None:
            unchanged, values[":seen"] = "#last_execution = :seen", {"S": seen.last_execution}
        free = "attribute_not_exists(#owner) OR #lock_until < :now"
        if gone is not None:
            free, values[":gone"] = f"{free} OR #owner = :gone", {"S": gone}
        return self._update(
            UpdateExpression="SET " + ", ".join(changes) + " REMOVE last_outcome",
            ConditionExpression=f"{unchanged} AND ({free})",
            ExpressionAttributeNames={f"#{name}": name for name in _TAKEN},
            ExpressionAttributeValues=values,
        )

    def release(self, owner: str) -> bool:
        """Release the lock of exactly one execution. Returns whether it held it."""
        return self._update(
            UpdateExpression="REMOVE #owner, lock_until",
            ConditionExpression="#owner = :me",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":me": {"S": owner}},
        )

    def count(self, event_id: str, labels: int, now: datetime) -> None:
        """Add the labels of one event to the state, once however often it comes: marker and sum are one write."""
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

    def decided(self, event_id: str) -> str | None:
        """Return what was decided on an event before."""
        item = self._item(f"EVENT#{event_id}")
        return None if item is None else str(item["decision"]["S"])

    def keep(self, decision: GuardDecision, event_id: str, now: datetime) -> None:
        """Keep a decision for as long as its event could come again."""
        texts = {name: {"S": value} for name, value in to_dict(decision).items()}
        self.dynamodb.put_item(
            TableName=self.table, Item={**self._key(f"EVENT#{event_id}"), **texts, "expires": _expires(now)}
        )

    def _update(self, **arguments: Any) -> bool:
        try:
            self.dynamodb.update_item(TableName=self.table, Key=self._key("STATE"), **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _item(self, item: str) -> dict[str, Any] | None:
        answer = self.dynamodb.get_item(TableName=self.table, Key=self._key(item), ConsistentRead=True)
        return answer.get("Item")

    def _key(self, item: str) -> dict[str, Any]:
        return {"pipeline": {"S": self.pipeline}, "item": {"S": item}}


def _expires(now: datetime) -> dict[str, str]:
    return {"N": str(int((now + KEPT).timestamp()))}
