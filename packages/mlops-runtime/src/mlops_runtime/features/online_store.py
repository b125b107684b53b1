"""The online store: the newest row of each entity, read in milliseconds, consistent with ``FeatureStoreClient.latest``."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.batch_checks import ArrowStream, read_batch
from mlops_runtime.features.column_type import ColumnType, FeatureType
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, RESERVED, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService, group_of
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.online_items import (
    EPOCH,
    EXPIRES,
    KEY,
    MICROSECOND,
    ORDER,
    ROW,
    ErasedMeanwhileError,
    Generation,
    Item,
    OnlineRows,
    OnlineStoreError,
    attribute,
    counts,
    expiry,
    generation_key,
    ingests_after,
    is_of,
    key_problem,
    mark_item,
    mark_key,
    mark_of,
    mark_order,
    microseconds,
    order_of,
    plain_value,
    whole_key,
)
from mlops_runtime.features.online_rows import DynamoRows, FileRows
from mlops_runtime.features.row_hashing import is_list, logical_type
from mlops_runtime.features.table_types import KeyTypeError, arrow_schema, arrow_type, typed_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_GENERATIONS = 8  # attempts when erasures end the generation during a publication
_FEW = 100  # rows up to which finding distinct keys in Python is faster than in Arrow
# integers with the same bytes, as items have them
_AS_INTEGERS = {"float": pa.int32(), "double": pa.int64(), "date": pa.int32(), "timestamp": pa.int64()}


def item_keys(group: FeatureGroup, entities: pa.Table) -> list[str]:
    """Return the item key of each row's entity.

    Raises:
        OnlineStoreError: If a column is missing, has another type or nulls, or a key exceeds DynamoDB's maximum length.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity, Feature
        >>> stock = FeatureGroup(
        ...     name="stock", entities=(Entity("store_id", "string", "store"), Entity("week", "date", "week")),
        ...     features=(Feature("on_hand", "long", "units on hand"),), owner="demand", description="stock")
        >>> item_keys(stock, pa.table({"store_id": ["a"], "week": pa.array([17167], pa.int32()).cast(pa.date32())}))
        ['stock_v1/["a",17167]']
    """
    keys = _whole_keys(group, zip(*map(_plain, _keys(group, entities)), strict=True))
    return [key for key in keys if key is not None]


def key_values(types: Mapping[str, FeatureType], entity: Mapping[str, str]) -> tuple[object, ...] | None:
    """Return the values of an entity in the form of item keys, in the order of the key, ``None`` for columns not given.

    Args:
        types: Type of each key column of a feature table, in order.
        entity: Strings by name of key column.

    Returns:
        The values; ``None`` if the table lacks a key column, or a string is not a value of its type.

    Example:
        >>> key_values({"store_id": "string", "week": "date"}, {"week": "2017-01-02"})
        (None, 17168)
    """
    if not entity or not set(entity) <= set(types):
        return None
    found: dict[str, object] = {}
    for name, text in entity.items():
        try:
            typed = pa.chunked_array([pa.array([text], pa.string()).cast(arrow_type(types[name]))])
        except pa.ArrowInvalid:
            return None
        found[name] = _plain(typed)[0]
    return tuple(found.get(name) for name in types)


def items(group: FeatureGroup, rows: pa.Table) -> Iterator[Item]:
    """Return the item of each row; rows have all of the group's columns.

    Raises:
        OnlineStoreError: As for ``item_keys``, of all columns.
    """
    kinds = {column.name: column.type for column in group.columns}
    missing = sorted(set(kinds) - set(rows.column_names))
    if missing:
        raise OnlineStoreError(
            f"group {group.name!r}: rows have no {', '.join(missing)}; pass complete rows, as latest returns"
        )
    wrong = [
        f"{field.name} is {rows.schema.field(field.name).type}, declared is {field.type}"
        for field in arrow_schema(group)
        if not _is_same(rows.schema.field(field.name).type, field.type)
    ]
    if wrong:
        raise OnlineStoreError(f"group {group.name!r}: " + "; ".join(wrong))
    keys = item_keys(group, rows)
    names = group.feature_names
    values = [[attribute(kinds[name], v) for v in _plain(rows[name])] for name in names]
    times = zip(_plain(rows[EVENT_TIME]), _plain(rows[CREATED_TIME]), rows[INGEST_ID].to_pylist(), strict=True)
    ttl = None if group.ttl is None else group.ttl // MICROSECOND
    for number, (key, (event, created, ingest)) in enumerate(zip(keys, times, strict=True)):
        item: Item = {
            KEY: {"S": key},
            ORDER: {"S": order_of(event, created, ingest)},
            EVENT_TIME: {"N": str(event)},
            CREATED_TIME: {"N": str(created)},
            INGEST_ID: {"S": ingest},
            ROW: {"M": {name: column[number] for name, column in zip(names, values, strict=True)}},
        }
        if ttl is not None:
            item[EXPIRES] = expiry(event, ttl)
        yield item


def rows_of(group: FeatureGroup, entities: pa.Table, found: Sequence[Item | None]) -> pa.Table:
    """Return rows of a group from the item of each entity: the given entities, with nulls where an item is missing."""
    schema = arrow_schema(group)
    columns: dict[str, pa.Array | pa.ChunkedArray] = dict(zip(group.entity_names, _keys(group, entities), strict=True))
    for column in group.columns:
        if column.name in columns:
            continue
        if column.name in RESERVED:
            cells: Sequence[Mapping[str, Any] | None] = [None if item is None else item[column.name] for item in found]
        else:
            cells = _feature(column.name, found)
        columns[column.name] = _array(column.type, [None if c is None else plain_value(column.type, c) for c in cells])
    fields = [pa.field(field.name, field.type) for field in schema]
    return pa.table([columns[field.name].cast(field.type) for field in fields], schema=pa.schema(fields))


def _feature(name: str, found: Sequence[Item | None]) -> list[Mapping[str, Any] | None]:
    """Return the attribute of each item; items written before a feature was declared lack it."""
    return [None if item is None else item[ROW]["M"].get(name) for item in found]


def _features(group: FeatureGroup, names: Sequence[str], found: Sequence[Item | None]) -> dict[str, pa.Array]:
    """Return features of items; features of one type share an array, because an array costs as much as fifty values."""
    of_type: defaultdict[FeatureType, list[str]] = defaultdict(list)
    for feature in group.features:
        if feature.name in names:
            of_type[feature.type].append(feature.name)
    columns: dict[str, pa.Array] = {}
    for kind, those in of_type.items():
        cells = (cell for name in those for cell in _feature(name, found))
        whole = _array(kind, [None if cell is None else plain_value(kind, cell) for cell in cells])
        columns |= {name: whole.slice(place * len(found), len(found)) for place, name in enumerate(those)}
    return columns


def _keys(group: FeatureGroup, rows: pa.Table, *, nulls: bool = False) -> list[pa.ChunkedArray]:
    """Return the key columns in the group's types; null keys are a problem unless ``nulls``."""
    problems, found = [], []
    for entity in group.entities:
        name, wanted = entity.name, arrow_type(entity.type)
        if name not in rows.column_names:
            problems.append(f"entity {name!r} is missing, there are {', '.join(rows.column_names) or 'no columns'}")
            continue
        try:
            found.append(typed_key(rows[name], wanted))
        except KeyTypeError as error:
            problems.append(f"entity {name!r} {error}")
        else:
            if found[-1].null_count and not nulls:
                problems.append(f"entity {name!r} has {found[-1].null_count} nulls")
    if problems:
        raise OnlineStoreError(f"group {group.name!r}: " + "; ".join(problems))
    return found


def _is_same(given: pa.DataType, declared: pa.DataType) -> bool:
    """Return whether a column can be used for a declared type without conversion, such as from string to number."""
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
    """Return Python values: times as microseconds since 1970, dates as days, floats as their bits; lists of these."""
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


def _array(kind: FeatureType, values: list[Any]) -> pa.Array:
    column_type = ColumnType.of(kind)
    if column_type.element:
        ends = accumulate((0 if value is None else len(value) for value in values), initial=0)
        held = _array(column_type.element, [each for value in values if value is not None for each in value])
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), held, mask=missing).cast(arrow_type(kind))
    integers = _AS_INTEGERS.get(kind)
    return pa.array(values, arrow_type(kind) if integers is None else integers).view(arrow_type(kind))


class Latest(Protocol):
    """The feature store that ``refresh`` reads: a ``FeatureStoreClient``."""

    def latest(self, group: FeatureGroup) -> pa.Table:
        """Return the newest row of each entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Result of a publication: rows written, rows not newer than the stored ones, and rows that are not visible yet.

    ``visible_from`` is the earliest time at which one of the latter can be published.
    """

    written: int
    kept: int
    not_visible: int = 0
    visible_from: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFeatures:
    """Result of reading several groups.

    Attributes:
        rows: The entity rows with their features, named ``group__feature`` as in training sets; null without a value that counts.
        missing: Positions of the rows without a value that counts, by feature table: the key does not exist or is null, or its row
            is older than the time to live or not visible yet. Tables without such rows are omitted.
    """

    rows: pa.Table
    missing: Mapping[str, tuple[int, ...]]


class OnlineStore:
    """Publishes and reads the newest row of each entity, in DynamoDB or, with ``local``, in a file.

    Args:
        client: A boto3 client of DynamoDB.
        table: Name of the table, with the string partition key ``entity``; ``FeatureStore(online=True)`` defines one.
        sleep: Waits before unprocessed keys are retried. Default: ``time.sleep``.

    Example:
        >>> online = OnlineStore(boto3.client("dynamodb"), table="demand-online")  # doctest: +SKIP
        >>> online.refresh(stock, store, now=now).written  # doctest: +SKIP
        1
        >>> online.get(stock, pa.table({"store_id": ["1", "2"]}), now=now)["on_hand"].to_pylist()  # doctest: +SKIP
        [7, None]
    """

    def __init__(self, client: "DynamoDBClient", *, table: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._rows: OnlineRows = DynamoRows(client, table, sleep)

    @classmethod
    def local(cls, path: Path | str) -> "OnlineStore":
        """Return a store in a SQLite file, without AWS; ``FeatureStoreClient.local`` has ``online.db``.

        Args:
            path: The file, created if missing.

        Raises:
            OnlineStoreError: If the file cannot be opened or is not a SQLite file.
        """
        store = cls.__new__(cls)
        store._rows = FileRows(Path(path))
        return store

    def generation(self, table: str) -> Generation:
        """Return the generation of a feature table; read it before the table's rows, and pass it to ``publish``."""
        key = generation_key(table)
        return Generation.of(table, self._rows.read([key], consistent=True).get(key))

    def end_generation(self, tables: Iterable[str]) -> None:
        """Reject all rows that were read before this call; an erasure calls it after it rewrote the tables."""
        for table in tables:
            self._rows.replace({KEY: {"S": generation_key(table)}, ORDER: {"S": uuid4().hex}})

    def publish(
        self, group: FeatureGroup, rows: ArrowStream, *, now: datetime, generation: Generation | None = None
    ) -> Published:
        """Write the newest visible row of each entity, unless the table has the same or a newer one.

        BatchWriteItem does not support conditions, so rows are written by concurrent PutItem requests or, with ``generation``, in
        transactions.

        Args:
            group: The rows' group.
            rows: Complete rows with their ingest ids, in any order, as ``latest`` or a scan of the table returns.
            now: The time that decides which rows are visible.
            generation: Result of ``generation`` from before the rows were read: nothing is written once an erasure has rewritten
                the table. Default: rows are written even after an erasure.

        Raises:
            OnlineStoreError: If rows do not match the group, or DynamoDB rejects one; the others stay, and publishing again
                continues from there.
            ErasedMeanwhileError: If the generation has ended: read the rows again.
        """
        instant = microseconds(now)
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
        written = self._rows.put(list(newest.values()), generation) if newest else 0
        return Published(
            written=written,
            kept=len(newest) - written,
            not_visible=len(early),
            visible_from=EPOCH + min(early) * MICROSECOND if early else None,
        )

    def refresh(self, group: FeatureGroup, store: Latest, *, now: datetime) -> Published:
        """Publish the result of the feature store's ``latest``, which reads the whole table.

        Args:
            store: The feature store.
            now: The current time.

        Raises:
            OnlineStoreError: As for ``publish``; ErasedMeanwhileError, if erasures occurred during every attempt.
        """
        for _ in range(_GENERATIONS):
            generation = self.generation(group.table_name)
            try:
                return self.publish(group, store.latest(group), now=now, generation=generation)
            except ErasedMeanwhileError as error:
                ended = error
        raise ended

    def get(self, group: FeatureGroup, entities: ArrowStream, *, now: datetime, consistent: bool = False) -> pa.Table:
        """Return the row of each entity, in the given order, as ``latest(group, entities)`` does.

        The table has only the newest row of an entity and not its history: ``now`` must not be before the last publication.

        Args:
            entities: Keys to look up; a key may be repeated.
            now: The current time; rows older than the group's time to live, or not visible yet, count as missing.
            consistent: Whether to use strongly consistent reads, at twice the price. Default: ``False``; new rows may take about a
                second to appear.

        Returns:
            A table with the group's columns; those of entities without a row are null.

        Raises:
            OnlineStoreError: If keys are missing, null or of another type, or DynamoDB leaves keys unprocessed.
        """
        entities_table, instant = read_batch(entities), microseconds(now)
        keys = item_keys(group, entities_table)
        found = self._rows.read(list(dict.fromkeys(keys)), consistent=consistent)
        return rows_of(group, entities_table, _counting(group, map(found.get, keys), instant))

    def read(
        self,
        features: FeatureService | Sequence[FeatureGroup],
        entities: ArrowStream,
        *,
        now: datetime,
        consistent: bool = False,
    ) -> ServedFeatures:
        """Read several groups for entity rows: distinct keys, a hundred per request, in concurrent requests.

        Each group's newest row is used independently of other groups, as in training.

        Args:
            features: A feature service, or groups of which all features are read.
            entities: Rows with the keys of all groups, as for ``training_set``; a key may be null or repeated.
            now: As for ``get``.
            consistent: As for ``get``.

        Raises:
            OnlineStoreError: If keys are missing or of another type, columns clash, or DynamoDB leaves keys unprocessed.
        """
        service = features if isinstance(features, FeatureService) else FeatureService(name="read", features=features)
        entities_table, instant, joins = read_batch(entities), microseconds(now), service.joins
        names = (f"{join.name or group_of(join).name}__{name}" for join in joins for name in join.wanted)
        clash = [name for name in names if name in entities_table.column_names]
        if clash:
            raise OnlineStoreError(f"entity rows have {', '.join(clash)}, which would be read; omit these columns")
        places = [(join, group_of(join), *_distinct(group_of(join), _keyed(join, entities_table))) for join in joins]
        keys = dict.fromkeys(key for _, _, found, _ in places for key in found if key is not None)
        there = self._rows.read(list(keys), consistent=consistent) if keys else {}
        missing: dict[str, tuple[int, ...]] = {}
        columns: dict[str, pa.Array | pa.ChunkedArray] = dict(
            zip(entities_table.column_names, entities_table.columns, strict=True)
        )
        for join, group, found, indices in places:
            served = _counting(group, (None if key is None else there.get(key) for key in found), instant)
            held = _features(group, join.wanted, served)
            for name in join.wanted:
                # if every row has its own key, keys are in the order of the rows
                same = len(found) == entities_table.num_rows
                columns[f"{join.name or group.name}__{name}"] = held[name] if same else held[name].take(indices)
            if None in served:
                absent = pa.array([item is None for item in served], pa.bool_()).take(indices)
                missing[join.name or group.table_name] = tuple(pc.indices_nonzero(absent).to_pylist())
        return ServedFeatures(rows=pa.table(columns), missing=missing)

    def forget(self, group: FeatureGroup, entities: ArrowStream) -> int:
        """Delete entities, as after ``erase``; publishing a row of an entity writes it again.

        Args:
            entities: Keys of the entities.

        Returns:
            The number of deleted items.

        Raises:
            OnlineStoreError: If keys are invalid, or DynamoDB fails to delete an item.
        """
        self.end_generation([group.table_name])
        deleted = sum(map(self._rows.delete, dict.fromkeys(item_keys(group, read_batch(entities)))))
        self._rows.settle()
        return deleted

    def forget_entity(
        self,
        entity: Mapping[str, str],
        tables: Mapping[str, Mapping[str, FeatureType]],
        *,
        until: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        """Delete an entity from every feature table whose key has its columns, without a declaration, as after ``erase``.

        Rows that publishers read before this call are rejected. If a key has further columns, all items with these values are
        deleted, for which the keys of the whole online table are scanned once.

        Args:
            entity: Strings by name of key column.
            tables: Types of the key columns in order, by name of feature table.
            until: Sequence number of the commit that erased the rows, by name of feature table: rows ingested later stay. Default:
                all rows are deleted.

        Returns:
            Number of deleted items by feature table, if any.

        Raises:
            OnlineStoreError: If DynamoDB fails to delete or scan.
        """
        wanted = {name: values for name, types in tables.items() if (values := key_values(types, entity)) is not None}
        self.end_generation(wanted)
        keys = [whole_key(name, values) for name, values in wanted.items() if None not in values]
        parts = {name: values for name, values in wanted.items() if None in values}
        if parts:
            found = ((key, parts.get(key.partition("/")[0])) for key in self._rows.all_keys())
            keys += [key for key, values in found if values is not None and is_of(key, values)]
        later = {name: ingests_after(sequence) for name, sequence in (until or {}).items()}
        tables_of = [(key, key.partition("/")[0]) for key in keys]
        deleted = Counter(name for key, name in tables_of if self._rows.delete(key, before=later.get(name)))
        # a publisher may have skipped a later row because of an erased item: end the generation so that it cannot move the mark,
        # and lower a mark that was moved already
        self.end_generation(wanted)
        for name in wanted.keys() & (until or {}).keys():
            self._rows.lower(mark_key(name), mark_order((until or {})[name]))
        self._rows.settle()
        return dict(sorted(deleted.items()))

    def published(self, table: str, uuid: str) -> int:
        """Return the sequence number up to which all rows of a feature table are published; 0 without any."""
        key = mark_key(table)
        return mark_of(self._rows.read([key], consistent=True).get(key), uuid)

    def mark_published(self, table: str, uuid: str, sequence: int, *, generation: Generation | None = None) -> None:
        """Record the sequence number up to which all rows of a feature table are published, unless a later one is recorded.

        Raises:
            ErasedMeanwhileError: If the generation has ended.
        """
        mark = mark_item(table, uuid, sequence)
        key = mark[KEY]["S"]
        before = self._rows.read([key], consistent=True).get(key)
        if before is not None and before[INGEST_ID] != mark[INGEST_ID]:
            self._rows.delete(key, order=before[ORDER]["S"])  # of an earlier table of the same name
        self._rows.put([mark], generation)


def _counting(group: FeatureGroup, found: Iterable[Item | None], instant: int) -> list[Item | None]:
    """Return the items that count at a time, and ``None`` for the others."""
    ttl = None if group.ttl is None else group.ttl // MICROSECOND
    return [None if item is None or not counts(item, instant, ttl, group.ttl_bound) else item for item in found]


def _keyed(join: GroupJoin, entities: pa.Table) -> pa.Table:
    """Return rows with the key columns named as in the group."""
    if not join.on:
        return entities
    columns = {entity.name: join.on.get(entity.name, entity.name) for entity in group_of(join).entities}
    absent = [column for column in columns.values() if column not in entities.column_names]
    if absent:
        raise OnlineStoreError(
            f"entity rows have no column {', '.join(map(repr, absent))}, keys of {join.name or join.table}"
        )
    return pa.table({name: entities[column] for name, column in columns.items()})


def _distinct(group: FeatureGroup, entities: pa.Table) -> tuple[list[str | None], pa.Array]:
    """Return the distinct item keys, ``None`` for keys with a null, and the index of each row's key."""
    columns = _keys(group, entities, nulls=True)
    if entities.num_rows <= _FEW:
        given = list(zip(*map(_plain, columns), strict=True))
        places = {values: place for place, values in enumerate(dict.fromkeys(given))}
        return _whole_keys(group, places), pa.array([places[values] for values in given], pa.int32())
    coded = _coded(columns[0])
    for column in columns[1:]:
        further = _coded(column)
        pair = pc.add(pc.multiply(coded.indices.cast(pa.int64()), len(further.dictionary)), further.indices)
        coded = pair.dictionary_encode()
    # the first row of each key
    first = pc.index_in(pa.arange(0, len(coded.dictionary), 1), value_set=coded.indices.cast(pa.int64()))
    plain = [_plain(column.take(first)) for column in columns]
    return _whole_keys(group, zip(*plain, strict=True)), coded.indices


def _whole_keys(group: FeatureGroup, entities: Iterable[tuple[Any, ...]]) -> list[str | None]:
    """Return the item key of each entity, ``None`` for an entity with a null."""
    keys = [None if None in values else whole_key(group.table_name, values) for values in entities]
    problem = key_problem([key for key in keys if key is not None])
    if problem is not None:
        raise OnlineStoreError(f"group {group.name!r}: {problem}")
    return keys


def _coded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
