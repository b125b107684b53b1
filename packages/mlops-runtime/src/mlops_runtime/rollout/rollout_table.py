"""Row of an endpoint in the rollout table, or of a unit in its automation table. Every write is one conditional update.

The row also has sequence and hash of the newest promotion of each container. It only locates the record; the facts are read from
the record with that hash.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import canonical_json, content_hash, from_dict, from_json
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    AuditSeal,
    LivePointer,
    LockRow,
    Outcome,
    Promoted,
    ServingSpec,
    TakenBack,
)
from mlops_runtime.contracts.unit_entries import PauseState
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated

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
KEPT = 50  # containers in a row, newest promotion last; a rollback can go no further back


class RolloutTable:
    """The row of an endpoint or a unit."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, endpoint: str) -> None:
        self._dynamodb, self._table, self.endpoint = dynamodb, table, endpoint

    def read(self) -> LockRow:
        """Return the current row; an empty one if it does not exist yet."""
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
        """Append a record to the chain, and update the row's other attributes with it, if the head is unchanged since ``seen``.

        Args:
            seen: The row that the record follows.
            digest: Content hash of the record.
            live: The new live pointer; None removes it. Only written together with ``owner``.
            owner: Execution that must hold the lock for the live pointer to move. Default None: the pointer is unchanged.
            seal: The record's seal. Default: none, which the verification of seals reports.
            pause: The new pause of the unit's automation. Default None: unchanged.
            taken_back: The new list of rollouts that were rolled back. Default None: unchanged.
            promoted: The new locations of promotion records. Default None: unchanged.

        Returns:
            False if the head or the lock changed in the meantime: read the row and decide again.
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
        others = {"audit_seal": seal, "pause": pause, "taken_back": taken_back, "promoted": promoted}
        for name, other in others.items():
            if other is not None:
                change += f", {name} = :{name}"
                values[f":{name}"] = {"S": canonical_json(other).decode()}
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
        """Store the URI of the stack's spec."""
        self._update("SET desired = :uri", {":uri": {"S": uri}})

    def release(self, owner: str) -> bool:
        """Release an execution's lock; False if it does not hold the lock."""
        return self._update(
            "REMOVE #owner, lock_until, locked_at", {":owner": {"S": owner}}, "#owner = :owner", {"#owner": "owner"}
        )

    def hand_over(self, owner: str, heir: str) -> bool:
        """Pass the lock from one execution to another atomically; False if the first does not hold the lock."""
        return self._update(
            "SET #owner = :heir", {":owner": {"S": owner}, ":heir": {"S": heir}}, "#owner = :owner", {"#owner": "owner"}
        )

    def unlock(self) -> None:
        """Release the lock of any holder, before all executions are stopped."""
        self._update("REMOVE #owner, lock_until, locked_at", {}, names={"#owner": "owner"})

    def forget(self) -> None:
        """Remove lock, live pointer, desired spec and history after the endpoint was deleted; the audit chain stays."""
        cleared = "#owner, lock_until, locked_at, live, desired, served, taken_back, promoted"
        self._update(f"REMOVE {cleared}", {}, names={"#owner": "owner"})

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
        with Tolerated(*CONDITION_FAILED):
            self._dynamodb.update_item(**request)
            return True
        return False


def promoted(row: LockRow) -> tuple[Promoted, ...]:
    """Return the locations of promotion records, the newest of each container, oldest first.

    Example:
        >>> promoted(LockRow(endpoint="demand-forecast"))
        ()
    """
    return tuple(from_dict(Promoted, each) for each in json.loads(row.promoted or "[]"))


def next_promoted(row: LockRow, record: AuditRecord) -> tuple[Promoted, ...] | None:
    """Return the promotions of a row with that of a record added; None if the record is not a promotion."""
    if record.outcome is not Outcome.PROMOTED or record.container_sha256 is None:
        return None
    new = Promoted(container_sha256=record.container_sha256, sequence=record.sequence, sha256=content_hash(record))
    return (*(e for e in promoted(row) if e.container_sha256 != new.container_sha256), new)[-KEPT:]


def promotion(
    row: LockRow, container_sha256: str, read: Callable[[int, str], AuditRecord | None]
) -> AuditRecord | None:
    """Return the newest record of the promotion of a container; None without one.

    Args:
        row: The endpoint's row.
        container_sha256: Hash of the package's container, regardless of the package version.
        read: Returns the record of a sequence and a hash; None if no record has that hash.
    """
    place = next((each for each in promoted(row) if each.container_sha256 == container_sha256), None)
    record = None if place is None else _at(row, place) or read(place.sequence, place.sha256)
    if record is None or record.outcome is not Outcome.PROMOTED or record.container_sha256 != container_sha256:
        return None
    return record if record.endpoint == row.endpoint else None


def _at(row: LockRow, place: Promoted) -> AuditRecord | None:
    """Return the record from the row, since the newest record's object may not be written yet."""
    if row.audit_last is None or row.audit_head != place.sha256:
        return None
    record = from_json(AuditRecord, row.audit_last)
    return record if content_hash(record) == place.sha256 else None


def golden_sha256(spec: ServingSpec) -> str | None:
    """Return the hash of a spec's golden set with its limits; None without one."""
    return None if spec.rollout.golden is None else content_hash(spec.rollout.golden)
