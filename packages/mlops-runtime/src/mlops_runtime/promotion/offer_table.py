"""Table of a target: offered releases and their outcomes, models that were taken before, and the newest release."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UpdateItemInputTypeDef

OfferState = Literal["OFFERED", "REFUSED", "FAILED", "REGISTERED", "APPROVED"]
# states of offers that are retried
OPEN: tuple[OfferState, ...] = ("OFFERED", "FAILED")
_OFFER = "offer/"
_KEPT_OFFER = "kept/"
# earlier states that a new state does not replace
_KEPT: dict[str, tuple[str, ...]] = {
    "OFFERED": ("REGISTERED", "APPROVED"),
    "FAILED": ("REGISTERED", "APPROVED"),
    "REFUSED": ("REGISTERED", "APPROVED"),
    "REGISTERED": ("APPROVED",),
    "APPROVED": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A release that the source offered. Times are ISO 8601, UTC.

    ``attempts`` counts its executions, and ``reason`` is that of the last one. ``package`` is the local package and
    ``source_package`` the source's, if its record was accepted. ``may_pass`` marks a refused release that may be taken once a cause
    outside of it is fixed.
    """

    record_sha256: str
    record_uri: str
    offered_at: str
    changed_at: str
    state: OfferState = "OFFERED"
    attempts: int = 1
    reason: str = ""
    package: str = ""
    may_pass: bool = False
    source_package: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the offer is retried."""
        return self.state in OPEN or (self.state == "REFUSED" and self.may_pass)

    def is_overdue(self, now: datetime, max_wait: timedelta) -> bool:
        """Return whether it is still open after the registry's longest wait for a release."""
        return self.is_open and now - datetime.fromisoformat(self.offered_at) > max_wait


class OfferTable:
    """The offers of one group.

    Args:
        dynamodb: Client.
        table: Name of the table; its key is ``endpoint``, like that of the audit chain's row.
    """

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb, self.table = dynamodb, table

    def offer(self, uri: str, sha256: str, at: str) -> Offer:
        """Store an offer unless it exists, and return the stored one."""
        new = Offer(record_sha256=sha256, record_uri=uri, offered_at=at, changed_at=at)
        with Tolerated(*CONDITION_FAILED):
            self._dynamodb.put_item(
                TableName=self.table,
                Item={"endpoint": {"S": _OFFER + sha256}, **_item(new)},
                ConditionExpression="attribute_not_exists(endpoint)",
            )
            return new
        return self.read(sha256) or new

    def read(self, sha256: str) -> Offer | None:
        """Return an offer; None if it is unknown."""
        answer = self._dynamodb.get_item(TableName=self.table, Key=_key(_OFFER + sha256), ConsistentRead=True)
        return _offer(answer["Item"]) if "Item" in answer else None

    def offers(self) -> Iterator[Offer]:
        """Yield every offer."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self.table,
            ConsistentRead=True,
            FilterExpression="begins_with(endpoint, :offer)",
            ExpressionAttributeValues={":offer": {"S": _OFFER}},
        )
        for page in pages:
            yield from map(_offer, page["Items"])

    def again(self, offer: Offer, at: str) -> bool:
        """Count one more attempt, without changing the last decision; False if another check already counted it."""
        return self._update(
            _OFFER + offer.record_sha256,
            "SET attempts = :next, changed_at = :at",
            "attempts = :seen",
            {":next": {"N": str(offer.attempts + 1)}, ":seen": {"N": str(offer.attempts)}, ":at": {"S": at}},
        )

    def decide(
        self,
        sha256: str,
        *,
        state: OfferState,
        reason: str,
        package: str,
        may_pass: bool,
        at: str,
        source_package: str = "",
    ) -> None:
        """Store the outcome of an offer; a registered offer cannot become refused, and an approved one does not change."""
        kept = _KEPT[state]
        values: dict[str, AttributeValueTypeDef] = {
            ":state": {"S": state},
            ":reason": {"S": reason[:2000]},
            ":package": {"S": package},
            ":may": {"BOOL": may_pass},
            ":at": {"S": at},
            **{f":kept{number}": {"S": each} for number, each in enumerate(kept)},
        }
        known = ""
        if source_package:  # a later attempt without a record must not remove it
            known, values[":source"] = ", source_package = :source", {"S": source_package}
        unlike = f" AND NOT #s IN ({', '.join(f':kept{number}' for number in range(len(kept)))})" if kept else ""
        self._update(
            _OFFER + sha256,
            "SET #s = :state, reason = :reason, package = :package, may_pass = :may, changed_at = :at" + known,
            "attribute_exists(endpoint)" + unlike,
            values,
            names={"#s": "state"},
        )

    def registered(self, sha256: str, package: str) -> None:
        """Store the package of an offer, so that a later attempt registers no second one."""
        self._update(
            _OFFER + sha256, "SET package = :package", "attribute_exists(endpoint)", {":package": {"S": package}}
        )

    def keep(self, sha256: str, binding: str) -> None:
        """Store the binding under which an offer is about to be registered, before its package exists.

        It has a row of its own, so that an execution without an offer does not create an incomplete one.

        Args:
            sha256: Hash of the release record.
            binding: Binding of the package.
        """
        self._dynamodb.update_item(
            TableName=self.table,
            Key=_key(_KEPT_OFFER + sha256),
            UpdateExpression="ADD bindings :binding",
            ExpressionAttributeValues={":binding": {"SS": [binding]}},
        )

    def kept(self, sha256: str) -> frozenset[str]:
        """Return the bindings under which an offer may have been registered; empty before the first attempt stored its objects."""
        item = self._dynamodb.get_item(TableName=self.table, Key=_key(_KEPT_OFFER + sha256), ConsistentRead=True)
        return frozenset(item["Item"]["bindings"]["SS"]) if "Item" in item else frozenset()

    def newest(self) -> tuple[str, str] | None:
        """Return time and record hash of the newest taken release; None before the first."""
        item = self._dynamodb.get_item(TableName=self.table, Key=_key("newest"), ConsistentRead=True).get("Item")
        return None if item is None else (item["released_at"]["S"], item["record_sha256"]["S"])

    def take(self, *, released_at: str, sha256: str) -> bool:
        """Make a release the newest one; False if a newer one was taken in the meantime.

        Args:
            released_at: When it was released, in one format for all releases, so that strings sort like times.
            sha256: Hash of its record.
        """
        return self._update(
            "newest",
            "SET released_at = :at, record_sha256 = :sha",
            "attribute_not_exists(endpoint) OR released_at < :at OR record_sha256 = :sha",
            {":at": {"S": released_at}, ":sha": {"S": sha256}},
        )

    def first_release(self, model_sha256: str, sha256: str) -> str:
        """Return the hash of the first record that brought a model here: this record, if it is the first."""
        key = f"model/{model_sha256}"
        self._update(key, "SET record_sha256 = :sha", "attribute_not_exists(endpoint)", {":sha": {"S": sha256}})
        answer = self._dynamodb.get_item(TableName=self.table, Key=_key(key), ConsistentRead=True)
        return answer["Item"]["record_sha256"]["S"]

    def _update(
        self,
        key: str,
        update: str,
        condition: str,
        values: "dict[str, AttributeValueTypeDef]",
        names: Mapping[str, str] | None = None,
    ) -> bool:
        request: UpdateItemInputTypeDef = {
            "TableName": self.table,
            "Key": _key(key),
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
        }
        if names is not None:
            request["ExpressionAttributeNames"] = names
        with Tolerated(*CONDITION_FAILED):
            self._dynamodb.update_item(**request)
            return True
        return False


def _key(value: str) -> "dict[str, AttributeValueTypeDef]":
    return {"endpoint": {"S": value}}


def _item(offer: Offer) -> "dict[str, AttributeValueTypeDef]":
    item: dict[str, AttributeValueTypeDef] = {}
    for each in fields(offer):
        value = getattr(offer, each.name)
        item[each.name] = (
            {"BOOL": value}
            if isinstance(value, bool)
            else {"N": str(value)}
            if isinstance(value, int)
            else {"S": value}
        )
    return item


def _offer(item: "dict[str, AttributeValueTypeDef]") -> Offer:
    values = {name: next(iter(value.values())) for name, value in item.items() if name != "endpoint"}
    return Offer(**{**values, "attempts": int(str(values["attempts"]))})  # type: ignore[arg-type]
