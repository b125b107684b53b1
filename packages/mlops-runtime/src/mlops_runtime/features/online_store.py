"""The newest row of each entity in DynamoDB, read in milliseconds, with the same answer as ``FeatureStoreClient.latest``."""

import json
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.features.batch_checks import ArrowStream, read_batch
from mlops_runtime.features.column_type import ColumnType, FeatureType
from mlops_runtime.features.entity_keys import KeyTypeError, typed_key
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, RESERVED, FeatureGroup
from mlops_runtime.features.row_hashing import is_list, logical_type
from mlops_runtime.features.table_types import arrow_schema, arrow_type

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
KEY, ORDER, ROW, EXPIRES = "entity", "version", "row", "expires"
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAXIMUM_KEY_BYTES = 2048
_SECOND = 1_000_000  # in microseconds
_NULL = {"NULL": True}
_KEY_TYPES = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
_LOWEST = 1 << 63  # makes 64-bit times count from zero, so that digits sort as they do

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html: and at most 16 MB, the rest is unprocessed
_KEYS_A_READ = 100
_ATTEMPTS = 8
_FIRST_WAIT = 0.05  # seconds, doubled each time
_WRITERS = 8
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OnlineStoreError(ValueError):
    """Rows, keys or the online table are not as needed; the message lists every problem."""


def item_keys(group: FeatureGroup, entities: pa.Table) -> list[str]:
    """Return the key of each row's entity.

    Args:
        group: The group.
        entities: Rows with the group's entities, in their types.

    Raises:
        OnlineStoreError: If a column is absent, has another type or nulls, or a key is longer than DynamoDB takes.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity, Feature
        >>> stock = FeatureGroup(
        ...     name="stock", entities=(Entity("store_id", "string", "store"), Entity("week", "date", "week")),
        ...     features=(Feature("on_hand", "long", "units on hand"),), owner="demand", description="stock")
        >>> item_keys(stock, pa.table({"store_id": ["a"], "week": pa.array([17167], pa.int32()).cast(pa.date32())}))
        ['stock_v1/["a",17167]']
    """
    columns = [_plain(column) for column in _keys(group, entities)]
    keys = [whole_key(group.table_name, values) for values in zip(*columns, strict=True)]
    too_long = [key for key in keys if len(key.encode()) > MAXIMUM_KEY_BYTES]
    if too_long:
        raise OnlineStoreError(
            f"group {group.name!r}: {len(too_long)} keys have more than {MAXIMUM_KEY_BYTES} bytes, one is {too_long[0][:80]!r}..."
        )
    return keys


def key_values(types: Mapping[str, FeatureType], entity: Mapping[str, str]) -> tuple[object, ...] | None:
    """Return the values of an entity as item keys hold them, in the order of the key, ``None`` for those not given.

    Args:
        types: Type of each key column of a feature table, in order.
        entity: Texts by name of key column.

    Returns:
        ``None`` if the table has no such key column, or a string is not a value of its type.

    Example:
        >>> key_values({"store_id": "string", "week": "date"}, {"week": "2017-01-02"})
        (None, 17168)
    """
    if not entity or not set(entity) <= set(types):
        return None
    found: dict[str, object] = {}
    for name, text in entity.items():
        try:
            typed = pa.chunked_array([pa.array([text], pa.string()).cast(_KEY_TYPES[types[name]])])
        except pa.ArrowInvalid:
            return None
        found[name] = _plain(typed)[0]
    return tuple(found.get(name) for name in types)


def whole_key(table: str, values: Sequence[object]) -> str:
    """Return the key of an item of a feature table from all values of its key."""
    return f"{table}/{json.dumps(values, ensure_ascii=False, separators=(',', ':'))}"


def is_of(key: str, values: Sequence[object]) -> bool:
    """Return whether an item's key has the values, wherever one is given."""
    parts = json.loads(key.partition("/")[2])
    return len(parts) == len(values) and all(v is None or v == part for v, part in zip(values, parts, strict=True))


def items(group: FeatureGroup, rows: pa.Table) -> Iterator[Item]:
    """Return the item of each row.

    Args:
        group: The group.
        rows: Rows with all of the group's columns.

    Raises:
        OnlineStoreError: As for ``item_keys``, of all columns.
    """
    kinds = {column.name: column.type for column in group.columns}
    missing = sorted(set(kinds) - set(rows.column_names))
    if missing:
        raise OnlineStoreError(
            f"group {group.name!r}: rows have no {', '.join(missing)}; give whole rows, as latest returns"
        )
    wrong = [
        f"{field.name} is {rows.schema.field(field.name).type}, declared is {field.type}"
        for field in arrow_schema(group)
        if not _is_same(rows.schema.field(field.name).type, field.type)
    ]
    if wrong:
        raise OnlineStoreError(f"group {group.name!r}: " + "; ".join(wrong))
    keys = item_keys(group, rows)
    values = [[_attribute(kinds[name], v) for v in _plain(rows[name])] for name in group.feature_names]
    times = zip(_plain(rows[EVENT_TIME]), _plain(rows[CREATED_TIME]), rows[INGEST_ID].to_pylist(), strict=True)
    ttl = None if group.ttl is None else group.ttl // _MICROSECOND
    for number, (key, (event, created, ingest)) in enumerate(zip(keys, times, strict=True)):
        item: Item = {
            KEY: {"S": key},
            ORDER: {"S": _order(event, created, ingest)},
            EVENT_TIME: {"N": str(event)},
            CREATED_TIME: {"N": str(created)},
            INGEST_ID: {"S": ingest},
            ROW: {"M": {name: column[number] for name, column in zip(group.feature_names, values, strict=True)}},
        }
        if ttl is not None:
            # the second after the last one in which it counts; reads decide exactly
            item[EXPIRES] = {"N": str((event + ttl) // _SECOND + 1)}
        yield item


def rows_of(group: FeatureGroup, entities: pa.Table, found: Sequence[Item | None]) -> pa.Table:
    """Return rows of a group from their items: the entities given, and nulls where there is no item.

    Args:
        group: The group.
        entities: Rows with the group's entities.
        found: The item of each, or ``None``.
    """
    schema = arrow_schema(group)
    columns: dict[str, pa.Array | pa.ChunkedArray] = dict(zip(group.entity_names, _keys(group, entities), strict=True))
    for column in group.columns:
        if column.name in columns:
            continue
        if column.name in RESERVED:
            cells = [None if item is None else item[column.name] for item in found]
        else:
            # a feature that was declared after the item was written is null
            cells = [None if item is None else item[ROW]["M"].get(column.name) for item in found]
        columns[column.name] = _array(column.type, [None if c is None else _value(column.type, c) for c in cells])
    fields = [pa.field(field.name, field.type) for field in schema]
    return pa.table([columns[field.name].cast(field.type) for field in fields], schema=pa.schema(fields))


def _keys(group: FeatureGroup, rows: pa.Table) -> list[pa.ChunkedArray]:
    problems, found = [], []
    for name in group.entity_names:
        wanted = arrow_schema(group).field(name).type
        if name not in rows.column_names:
            problems.append(f"entity {name!r} is absent, there are {', '.join(rows.column_names) or 'no columns'}")
            continue
        try:
            found.append(typed_key(rows[name], wanted))
        except KeyTypeError as error:
            problems.append(f"entity {name!r} {error}")
        else:
            if found[-1].null_count:
                problems.append(f"entity {name!r} has {found[-1].null_count} nulls")
    if problems:
        raise OnlineStoreError(f"group {group.name!r}: " + "; ".join(problems))
    return found


def _is_same(given: pa.DataType, declared: pa.DataType) -> bool:
    """Tell whether values of a type are keys or features of another as they are: text never becomes a number."""
    if pa.types.is_string(declared):
        return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given))
    if pa.types.is_timestamp(declared):
        return bool(pa.types.is_timestamp(given) and given.tz is not None and given.unit != "ns")
    if pa.types.is_integer(declared):
        return bool(pa.types.is_signed_integer(given) and given.bit_width <= declared.bit_width)
    if pa.types.is_fixed_size_list(declared):
        return bool(given == declared)
    return bool(logical_type(given) == logical_type(declared))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return values as Python's, times as microseconds since 1970, dates as days, floats as their bits; lists of these."""
    kind = column.type
    if is_list(kind):
        lists = [(chunk, iter(_plain(pa.chunked_array([chunk.flatten()])))) for chunk in column.chunks]
        return [
            None if count is None else list(islice(held, count))
            for chunk, held in lists
            for count in pc.list_value_length(chunk).to_pylist()
        ]
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    elif pa.types.is_date(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_float64(kind):
        column = pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
    elif pa.types.is_float32(kind):
        column = pa.chunked_array([chunk.view(pa.int32()) for chunk in column.chunks], pa.int32())
    return list(column.to_pylist())


def _order(event: int, created: int, ingest: str) -> str:
    """Return a text that sorts, by its bytes, as (event time, created time, ingest id) do."""
    return f"{event + _LOWEST:020d}/{created + _LOWEST:020d}/{ingest}"


def _attribute(kind: FeatureType, value: Any) -> Mapping[str, Any]:
    if value is None:
        return _NULL
    said = ColumnType.of(kind)
    if said.base == "list":
        return {"L": [_attribute(said.element, each) for each in value]}
    if said.base == "vector":
        return {"B": struct.pack(f">{said.length}i", *value)}
    return _ATTRIBUTES[said.base](value)


_ATTRIBUTES: dict[str, Callable[[Any], dict[str, object]]] = {
    "boolean": lambda value: {"BOOL": value},
    "int": lambda value: {"N": str(value)},
    "long": lambda value: {"N": str(value)},
    "date": lambda value: {"N": str(value)},
    "timestamp": lambda value: {"N": str(value)},
    "string": lambda value: {"S": value},
    "binary": lambda value: {"B": value},
    "decimal": lambda value: {"N": str(value)},
    "float": lambda bits: {"B": struct.pack(">i", bits)},
    "double": lambda bits: {"B": struct.pack(">q", bits)},
}


def _value(kind: FeatureType, cell: Mapping[str, Any]) -> Any:
    """Return what ``_array`` takes; a column that was widened since reads what was written before."""
    if "NULL" in cell:
        return None
    said = ColumnType.of(kind)
    if said.base == "list":
        return [_value(said.element, each) for each in cell["L"]]
    if said.base == "vector":
        return list(struct.unpack(f">{said.length}i", bytes(cell["B"])))
    if said.base == "binary":
        return bytes(cell["B"])
    if said.base == "decimal":
        return Decimal(cell["N"])
    if "B" not in cell:
        return next(iter(cell.values())) if kind in ("boolean", "string") else int(cell["N"])
    content = bytes(cell["B"])
    if kind == "double" and len(content) == 4:
        content = struct.pack(">d", struct.unpack(">f", content)[0])
    return struct.unpack(">i" if len(content) == 4 else ">q", content)[0]


def _array(kind: FeatureType, values: list[Any]) -> pa.Array:
    said = ColumnType.of(kind)
    if said.element:
        ends = accumulate((0 if value is None else len(value) for value in values), initial=0)
        held = _array(said.element, [each for value in values if value is not None for each in value])
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), held, mask=missing).cast(arrow_type(kind))
    if said.base in ("decimal", "binary"):
        return pa.array(values, arrow_type(kind))
    if kind == "double":
        return pa.array(values, pa.int64()).view(pa.float64())
    if kind == "float":
        return pa.array(values, pa.int32()).view(pa.float32())
    if kind == "date":
        return pa.array(values, pa.int32()).cast(pa.date32())
    if kind == "timestamp":
        return pa.array(values, pa.int64()).cast(pa.timestamp("us", "UTC"))
    return pa.array(values, {"boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "string": pa.string()}[kind])


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
            consistent: Whether to use consistent reads, at twice the price. Default: new rows may take about a second to appear.

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
