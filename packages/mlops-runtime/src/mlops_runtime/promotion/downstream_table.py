"""Row of a source with the models that its targets serve, and the champion as a live pointer. Every write is conditional."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json, from_dict
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.served_model import ServedState
from mlops_runtime.promotion.environment_link import downstream_chain
from mlops_runtime.refused_calls import CONDITION_FAILED, Tolerated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Downstream:
    """Known states of targets; ``seen`` is their JSON in the row, which conditions the next write."""

    states: tuple[ServedState, ...] = ()
    seen: str | None = None


class DownstreamTable:
    """The models that the targets of one group serve.

    Args:
        dynamodb: Client.
        table: Name of the unit's automation table.
        group: The package group.
    """

    def __init__(self, dynamodb: "DynamoDBClient", table: str, group: str) -> None:
        self._dynamodb, self._table, self._group = dynamodb, table, group

    def read(self) -> Downstream:
        """Return the known states."""
        answer = self._dynamodb.get_item(TableName=self._table, Key=self._key, ConsistentRead=True)
        text = answer.get("Item", {}).get("targets", {}).get("S")
        if text is None:
            return Downstream()
        return Downstream(states=tuple(from_dict(ServedState, each) for each in json.loads(text)), seen=text)

    def move(self, seen: str | None, states: Sequence[ServedState], champion: LivePointer | None) -> bool:
        """Replace the known states and the champion; False if another report was written in the meantime."""
        values: dict[str, AttributeValueTypeDef] = {":states": {"S": canonical_json(states).decode()}}
        condition = "attribute_not_exists(targets)"
        if seen is not None:
            condition, values[":seen"] = "targets = :seen", {"S": seen}
        change = "SET targets = :states"
        if champion is None:
            change += " REMOVE live"
        else:
            change, values[":live"] = f"{change}, live = :live", {"S": canonical_json(champion).decode()}
        with Tolerated(*CONDITION_FAILED):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=self._key,
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
            return True
        return False

    @property
    def _key(self) -> "dict[str, AttributeValueTypeDef]":
        return {"endpoint": {"S": downstream_chain(self._group)}}
