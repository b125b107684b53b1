"""The newest row of each entity in DynamoDB, for reads in milliseconds: the same answer as ``FeatureStoreClient.latest``.

Only rows that are visible when they are published are written; one that is not yet (its event time lies ahead) is left, and the
answer says from when it can be published. What is there gives way only to a row that is newer in (event time, created time, ingest
id), whoever writes it and in whatever order. Time to live is decided when a row is read; DynamoDB deletes what is over, later.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.features.batch import ArrowStream, read_batch
from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, FeatureGroup, FeatureType
from mlops_runtime.features.online_item import (
    KEY,
    ORDER,
    Item,
    OnlineStoreError,
    is_of,
    item_keys,
    items,
    key_values,
    rows_of,
    whole_key,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html: and at most 16 MB, the rest is unprocessed
_KEYS_A_READ = 100
_ATTEMPTS = 8
_FIRST_WAIT = 0.05  # seconds, doubled each time
_WRITERS = 8
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Latest(Protocol):
    """What ``refresh`` reads: a ``FeatureStoreClient``."""

    def latest(self, group: FeatureGroup) -> pa.Table:
        """Return the newest row of each entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publication did: rows written, rows that were no newer than what is there, rows that are not visible yet.

    ``visible_from`` is when the first of these can be published.
    """

    written: int
    kept: int
    not_visible: int = 0
    visible_from: datetime | None = None


class OnlineStore:
    """Publishes and reads the newest row of each entity.

    Args:
        client: A boto3 client of DynamoDB.
        table: Name of the table, whose partition key is the text ``entity``; ``FeatureStore(online=True)`` defines one.
        sleep: Waits before unprocessed keys are asked for again. Default: the machine's.

    Example:
        >>> online = OnlineStore(boto3.client("dynamodb"), table="demand-online")  # doctest: +SKIP
        >>> online.refresh(stock, store, now=now).written  # doctest: +SKIP
        1
        >>> online.get(stock, pa.table({"store_id": ["1", "2"]}), now=now)["on_hand"].to_pylist()  # doctest: +SKIP
        [7, None]
    """

    def __init__(self, client: "DynamoDBClient", *, table: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._client, self._table, self._sleep = client, table, sleep

    def publish(self, group: FeatureGroup, rows: ArrowStream, *, now: datetime) -> Published:
        """Write the newest visible row of each entity, unless the table has it or a newer one.

        A write that carries a condition cannot be part of a BatchWriteItem, so rows are put one by one, several at once.

        Args:
            group: What the rows are.
            rows: Whole rows with their ingest ids, in any order, as ``latest`` or a scan of the table returns.
            now: The time at which rows are visible or not.

        Raises:
            OnlineStoreError: If rows are not the group's, or DynamoDB does not take one; the others stay, and publishing again
                goes on from there.
        """
        instant = _microseconds(now)
        newest: dict[str, Item] = {}
        early: list[int] = []
        for item in items(group, read_batch(rows)):
            visible = max(int(item[EVENT_TIME]["N"]), int(item[CREATED_TIME]["N"]))
            if visible > instant:
                early.append(visible)
                continue
            before = newest.get(item[KEY]["S"])
            if before is None or before[ORDER]["S"].encode() < item[ORDER]["S"].encode():
                newest[item[KEY]["S"]] = item
        with ThreadPoolExecutor(_WRITERS) as pool:
            written = sum(pool.map(self._put, newest.values()))
        return Published(
            written=written,
            kept=len(newest) - written,
            not_visible=len(early),
            visible_from=_EPOCH + min(early) * _MICROSECOND if early else None,
        )

    def refresh(self, group: FeatureGroup, store: Latest, *, now: datetime) -> Published:
        """Publish what the feature store's ``latest`` returns; it reads the whole table.

        Args:
            group: The group.
            store: The feature store.
            now: The time.

        Raises:
            OnlineStoreError: As for ``publish``.
        """
        return self.publish(group, store.latest(group), now=now)

    def get(self, group: FeatureGroup, entities: ArrowStream, *, now: datetime, consistent: bool = False) -> pa.Table:
        """Return the row of each entity, in the order given, as ``latest(group, entities)`` does.

        The table holds one row an entity and cannot say what counted earlier: ``now`` is not before the last publication.

        Args:
            group: The group.
            entities: Keys to look up; the same key may be there more than once.
            now: The time: rows older than the group's time to live, or not visible yet, count as absent.
            consistent: Whether what was just written must be seen, at twice the price. Default: it may take a moment.

        Returns:
            A table with the group's columns; those of entities without a row are null.

        Raises:
            OnlineStoreError: If keys are absent, null or of another type, or DynamoDB does not answer for some.
        """
        asked, instant = read_batch(entities), _microseconds(now)
        keys = item_keys(group, asked)
        found = self._read(list(dict.fromkeys(keys)), consistent=consistent)
        served = [item if item is not None and _counts(group, item, instant) else None for item in map(found.get, keys)]
        return rows_of(group, asked, served)

    def forget(self, group: FeatureGroup, entities: ArrowStream) -> int:
        """Delete entities, as after ``erase``; publishing a row of one writes it again.

        Args:
            group: The group.
            entities: Their keys.

        Returns:
            How many had an item.

        Raises:
            OnlineStoreError: If keys are not as needed, or DynamoDB does not delete one.
        """
        return sum(map(self._delete, dict.fromkeys(item_keys(group, read_batch(entities)))))

    def forget_entity(
        self, entity: Mapping[str, str], tables: Mapping[str, Mapping[str, FeatureType]]
    ) -> dict[str, int]:
        """Delete an entity from every feature table whose key has its columns, without a declaration, as after ``erase``.

        Where a key has further columns, all items with these values go: the online table is then read once, keys alone.

        Args:
            entity: Texts by name of key column.
            tables: By name of a feature table, the types of its key columns, in order.

        Returns:
            How many items went, by feature table, where there were any.

        Raises:
            OnlineStoreError: If DynamoDB does not delete or scan.
        """
        wanted = {name: values for name, types in tables.items() if (values := key_values(types, entity)) is not None}
        keys = [whole_key(name, values) for name, values in wanted.items() if None not in values]
        parts = {name: values for name, values in wanted.items() if None in values}
        if parts:
            found = ((key, parts.get(key.partition("/")[0])) for key in self._keys())
            keys += [key for key, values in found if values is not None and is_of(key, values)]
        gone = Counter(key.partition("/")[0] for key in keys if self._delete(key))
        return dict(sorted(gone.items()))

    def _delete(self, key: str) -> bool:
        with self._said("DeleteItem"):
            answer = self._client.delete_item(TableName=self._table, Key={KEY: {"S": key}}, ReturnValues="ALL_OLD")
        return "Attributes" in answer

    def _keys(self) -> Iterator[str]:
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ProjectionExpression="#key",
            ExpressionAttributeNames={"#key": KEY},
            ConsistentRead=True,
        )
        with self._said("Scan"):
            for page in pages:
                yield from (item[KEY]["S"] for item in page["Items"])

    def _put(self, item: Item) -> bool:
        with self._said("PutItem"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(#order) OR #order < :order",
                    ExpressionAttributeNames={"#order": ORDER},
                    ExpressionAttributeValues={":order": item[ORDER]},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _read(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for part in _parts(keys, _KEYS_A_READ):
            left: Any = {self._table: {"Keys": [{KEY: {"S": key}} for key in part], "ConsistentRead": consistent}}
            for attempt in range(_ATTEMPTS):
                if attempt:
                    self._sleep(_FIRST_WAIT * 2 ** (attempt - 1))
                with self._said("BatchGetItem"):
                    answer = self._client.batch_get_item(RequestItems=left)
                found |= {item[KEY]["S"]: item for item in answer["Responses"].get(self._table, [])}
                left = answer.get("UnprocessedKeys")
                if not left:
                    break
            else:
                count = len(left[self._table]["Keys"])
                raise OnlineStoreError(
                    f"table {self._table} did not answer for {count} keys after {_ATTEMPTS} attempts; ask for fewer, or later"
                )
        return found

    @contextmanager
    def _said(self, operation: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise OnlineStoreError(f"{operation} of table {self._table} failed: {error}") from error


def _counts(group: FeatureGroup, item: Item, instant: int) -> bool:
    event, created = int(item[EVENT_TIME]["N"]), int(item[CREATED_TIME]["N"])
    if max(event, created) > instant:
        return False
    if group.ttl is None:
        return True
    age, ttl = instant - event, group.ttl // _MICROSECOND
    return age <= ttl if group.ttl_bound == "inclusive" else age < ttl


def _microseconds(at: datetime) -> int:
    if at.tzinfo is None:
        raise OnlineStoreError(f"now must have a time zone, got {at!r}")
    return (at - _EPOCH) // _MICROSECOND


def _parts(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
