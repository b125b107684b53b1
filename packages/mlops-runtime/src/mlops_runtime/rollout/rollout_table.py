"""The endpoint's row in the rollout table, or a unit's in its automation table. Every write is one conditional update."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import AuditRecord, AuditSeal, LivePointer, LockRow, Promoted, TakenBack
from mlops_runtime.contracts.unit_entries import PauseState

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UpdateItemInputTypeDef

_NUMBERS = ("audit_sequence", "lock_until")
_TEXTS = (
    "audit_head",
    "owner",
    "live",
    "audit_last",
    "desired",
    "pause",
    "served",
    "locked_at",
    "taken_back",
    "audit_seal",
    "promoted",
)


class RolloutTable:
    """One endpoint's row, or one unit's.

    Args:
        dynamodb: Client.
        table: Name of the table.
        endpoint: Name of the endpoint or unit, the row's key.
    """

    def __init__(self, dynamodb: "DynamoDBClient", table: str, endpoint: str) -> None:
        self._dynamodb, self._table, self.endpoint = dynamodb, table, endpoint

    def read(self) -> LockRow:
        """Return the row as of now; a row that is not there yet is an empty one."""
        answer = self._dynamodb.get_item(TableName=self._table, Key=self._key, ConsistentRead=True)
        item = answer.get("Item", {})
        values: dict[str, Any] = {name: int(item[name]["N"]) for name in _NUMBERS if name in item}
        values |= {name: item[name]["S"] for name in _TEXTS if name in item}
        return LockRow(endpoint=self.endpoint, **values)

    def move_head(
        self,
        seen: LockRow,
        record: AuditRecord,
        digest: str,
        live: LivePointer | None = None,
        owner: str | None = None,
        *,
        seal: AuditSeal | None = None,
        pause: PauseState | None = None,
        taken_back: Sequence[TakenBack] | None = None,
        promoted: Sequence[Promoted] | None = None,
    ) -> bool:
        """Append a record to the chain, and move live pointer or pause with it, if the row is unchanged since ``seen``.

        Args:
            seen: The row that the record follows.
            record: The record; ``digest`` is its hash.
            digest: Content hash of the record.
            live: The live pointer from now on; None removes it. Only written together with ``owner``.
            owner: Execution that must hold the lock for the live pointer to move. Default None: the pointer stays.
            seal: The record's seal. Default: it has none, which ``verify`` finds.
            pause: Whether the unit's automation is paused from now on. Default None: unchanged.
            taken_back: The rollouts that were rolled back, from now on. Default None: unchanged.
            promoted: Where promotions are recorded, from now on. Default None: that stays.

        Returns:
            False if the head or the lock moved meanwhile: read again and decide again.
        """
        values: dict[str, AttributeValueTypeDef] = {
            ":head": {"S": digest},
            ":sequence": {"N": str(record.sequence)},
            ":last": {"S": canonical_json(record).decode()},
            ":seen": {"S": seen.audit_head},
        }
        change = "SET audit_head = :head, audit_sequence = :sequence, audit_last = :last"
        condition = (
            "audit_head = :seen" if seen.audit_sequence else "attribute_not_exists(audit_head) OR audit_head = :seen"
        )
        names: dict[str, str] = {}
        removed = [] if seal is not None else ["audit_seal"]
        if seal is not None:
            change += ", audit_seal = :seal"
            values[":seal"] = {"S": canonical_json(seal).decode()}
        if pause is not None:
            change += ", pause = :pause"
            values[":pause"] = {"S": canonical_json(pause).decode()}
        if taken_back is not None:
            change += ", taken_back = :taken_back"
            values[":taken_back"] = {"S": canonical_json(taken_back).decode()}
        if promoted is not None:
            change += ", promoted = :promoted"
            values[":promoted"] = {"S": canonical_json(promoted).decode()}
        if owner is not None:
            condition, names = f"({condition}) AND #owner = :owner", {"#owner": "owner"}
            values[":owner"] = {"S": owner}
            if live is None:
                removed.append("live")
            else:
                change += ", live = :live, served = if_not_exists(served, :at)"
                values |= {":live": {"S": canonical_json(live).decode()}, ":at": {"S": record.at}}
        change += f" REMOVE {', '.join(removed)}" if removed else ""
        return self._update(change, values, condition, names)

    def set_desired(self, uri: str) -> None:
        """Store the URI of the spec that the stack asks for."""
        self._update("SET desired = :uri", {":uri": {"S": uri}})

    def release(self, owner: str) -> bool:
        """Take the lock from an execution; False if it does not hold it."""
        return self._update(
            "REMOVE #owner, lock_until, locked_at", {":owner": {"S": owner}}, "#owner = :owner", {"#owner": "owner"}
        )

    def hand_over(self, owner: str, heir: str) -> bool:
        """Pass the lock from one execution to another atomically; False if the first does not hold it."""
        return self._update(
            "SET #owner = :heir", {":owner": {"S": owner}, ":heir": {"S": heir}}, "#owner = :owner", {"#owner": "owner"}
        )

    def unlock(self) -> None:
        """Take the lock from its holder, before all executions are stopped."""
        self._update("REMOVE #owner, lock_until, locked_at", {}, names={"#owner": "owner"})

    def forget(self) -> None:
        """Remove lock, live pointer and desired spec, after the endpoint is gone; the audit chain stays."""
        gone = "#owner, lock_until, locked_at, live, desired, served, taken_back, promoted"
        self._update(f"REMOVE {gone}", {}, names={"#owner": "owner"})

    @property
    def _key(self) -> "dict[str, AttributeValueTypeDef]":
        return {"endpoint": {"S": self.endpoint}}

    def _update(
        self,
        change: str,
        values: "Mapping[str, AttributeValueTypeDef]",
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> bool:
        request: UpdateItemInputTypeDef = {"TableName": self._table, "Key": self._key, "UpdateExpression": change}
        if values:
            request["ExpressionAttributeValues"] = values
        if condition is not None:
            request["ConditionExpression"] = condition
        if names:
            request["ExpressionAttributeNames"] = names
        try:
            self._dynamodb.update_item(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True
