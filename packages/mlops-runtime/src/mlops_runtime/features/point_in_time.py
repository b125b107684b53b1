"""Point-in-time join: the newest value that counts at a time, for each entity row of a training set, or for each entity now.

It warns about groups without a match.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.batch_checks import ArrowStream, check_group, read_batch
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.join_plans import (
    Plan,
    PlanChoice,
    Semantics,
    Shape,
    Statistics,
    choose,
    positions_query,
    statistics_query,
)
from mlops_runtime.features.key_lookup import rows_of_keys
from mlops_runtime.features.row_hashing import is_list, logical_type
from mlops_runtime.features.source import RowSource, TableRows, numbered, read_group, take
from mlops_runtime.features.table_description import TableMeaning
from mlops_runtime.features.table_types import KeyTypeError, arrow_schema, typed_key, with_typed_keys
from mlops_runtime.features.training_set_files import ROW_ID
from mlops_runtime.features.training_set_request import Load

PLANNER = "point-in-time/2"

_MICROSECOND = timedelta(microseconds=1)

_NOW = "__now__"


class PlanError(ValueError):
    """The inputs of a point-in-time join do not fit together; the message lists every problem."""


class UnmatchedGroupWarning(UserWarning):
    """All features of a group are null in a training set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRows:
    """Rows of one feature table, and the columns to join."""

    name: str  # name of the group in messages
    entities: tuple[str, ...]  # the key columns
    columns: tuple[str, ...]  # selected features, in order
    ttl: timedelta | None  # time to live of a value after its event time; `None` without limit
    # the rows, with the three columns that every feature table has: in memory, or read in batches
    rows: pa.Table | RowSource
    ttl_inclusive: bool = True  # whether a value still counts exactly `ttl` after its event time. Default: `True`
    names: Mapping[str, str] | None = None  # names of the columns in the result. Default: their own names
    # columns of the entity rows that correspond to `entities`, in their order. Default: columns of the same names
    keys: tuple[str, ...] | None = None

    @property
    def key_columns(self) -> dict[str, str]:
        """The column of the entity rows by key column."""
        return dict(zip(self.entities, self.entities if self.keys is None else self.keys, strict=True))

    @property
    def source(self) -> RowSource:
        """The rows as a source that is read by columns."""
        return TableRows(self.rows) if isinstance(self.rows, pa.Table) else self.rows

    def output(self, column: str) -> str:
        """Return the name of a column in the result."""
        return column if self.names is None else self.names.get(column, column)


def point_in_time(
    rows: pa.Table,
    timestamp: str,
    groups: Sequence[GroupRows],
    *,
    semantics: Semantics = "known_at",
    plan: Plan | None = None,
) -> pa.Table:
    """Return ``rows`` with the features of each group as they counted at ``timestamp``.

    Every row is kept, including duplicates and rows without a value. Whole feature rows are picked: if a feature is null in a newer
    row, the result is null, not the older value. NaN stays NaN.

    Args:
        rows: Entity rows. Rows with a ``row_id`` are returned in its order; without one it is added, in the given order. A row with
            a null key has no value.
        timestamp: Name of their time column, with a time zone, in any unit.
        groups: The groups to join.
        semantics: Whether a value counts from the time it was known or from its event time.
        plan: Plan of the join. Default: the cheaper one, see ``explained``. The result is the same.

    Raises:
        PlanError: If columns are missing or clash, a key has another type or does not fit the table's, a row has no time, or row
            ids repeat.

    Example:
        >>> from datetime import UTC, datetime
        >>> day = lambda number: datetime(2017, 1, number, tzinfo=UTC)
        >>> rows = pa.table({"store_id": ["1", "1"], "at": [day(4), day(9)]})
        >>> late = pa.table({"store_id": ["1"], "event_time": [day(2)], "created_time": [day(5)], "ingest_id": ["a"], "units": [7]})
        >>> stock = GroupRows(name="stock", entities=("store_id",), columns=("units",), ttl=None, rows=late)
        >>> point_in_time(rows, "at", [stock])["units"].to_pylist()
        [None, 7]
        >>> point_in_time(rows, "at", [stock], semantics="event_time")["units"].to_pylist()
        [7, 7]
    """
    return joined(rows, timestamp, groups, semantics=semantics, plan=plan).rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Result of ``point_in_time``, and the number of entity rows that matched a row of each group, in the groups' order."""

    rows: pa.Table
    matched: tuple[int, ...]


def joined(
    rows: pa.Table,
    timestamp: str,
    groups: Sequence[GroupRows],
    *,
    semantics: Semantics = "known_at",
    plan: Plan | None = None,
) -> Joined:
    """Return the rows of ``point_in_time`` and the number of matches of each group; arguments and errors are the same."""
    check(rows, timestamp, groups, semantics, plan)
    result = _ordered(rows)
    matched = []
    with _database() as connection:
        for group in groups:
            places = _places(result, timestamp, group, semantics=semantics, plan=plan, connection=connection)
            if len(places) != rows.num_rows:
                raise PlanError(f"{group.name}: the plan returned {len(places)} rows for {rows.num_rows} entity rows")
            for column, values in zip(group.columns, take(group.source, group.columns, places), strict=True):
                result = result.append_column(pa.field(group.output(column), values.type), values)
            matched.append(len(places) - places.null_count)
    return Joined(rows=result, matched=tuple(matched))


def explained(rows: pa.Table, timestamp: str, group: GroupRows) -> PlanChoice:
    """Return the plan for a group's rows, and why.

    Raises:
        PlanError: As for ``point_in_time``.
    """
    check(rows, timestamp, [group], "known_at", None)
    entity = _entity(_ordered(rows), timestamp, group)
    with _database() as connection, _registered(connection, entity, _feature(group, entity, is_total=False)):
        return _choice(connection, group, rows.num_rows)


def unmatched_groups(
    rows: pa.Table, timestamp: str, groups: Sequence[GroupRows], matched: Sequence[int], semantics: Semantics
) -> tuple[str, ...]:
    """Return a warning for each group that matched no entity row, with the cause and the fix.

    Example:
        >>> from datetime import UTC, datetime
        >>> day = lambda number: datetime(2017, 1, number, tzinfo=UTC)
        >>> rows = pa.table({"store_id": ["1"], "at": [day(4)]})
        >>> late = pa.table({"store_id": ["1"], "event_time": [day(2)], "created_time": [day(9)], "ingest_id": ["a"], "units": [7]})
        >>> stock = GroupRows(name="stock", entities=("store_id",), columns=("units",), ttl=None, rows=late)
        >>> print(unmatched_groups(rows, "at", [stock], [0], "known_at")[0].partition(";")[0])
        no entity row matched a row of group stock: 1 of 1 would by event time, but the feature rows became known later
    """
    if not rows.num_rows:
        return ()
    empty = [group for group, count in zip(groups, matched, strict=True) if not count]
    by_event = (
        joined(rows, timestamp, empty, semantics="event_time").matched if semantics == "known_at" else [0] * len(empty)
    )
    return tuple(_sentence(group, late, rows.num_rows) for group, late in zip(empty, by_event, strict=True))


def _ordered(rows: pa.Table) -> pa.Table:
    if ROW_ID not in rows.column_names:
        return rows.append_column(ROW_ID, pa.arange(0, rows.num_rows, 1))
    return rows.sort_by(ROW_ID)


def _places(
    rows: pa.Table, timestamp: str, group: GroupRows, *, semantics: Semantics, plan: Plan | None, connection: Any
) -> pa.ChunkedArray:
    """Return the position of each entity row's match in the group, or null."""
    entity, shape = _entity(rows, timestamp, group), _shape(group)
    with _registered(connection, entity, _feature(group, entity, is_total=False)):
        name = _choice(connection, group, rows.num_rows).plan if plan is None else plan
        found = connection.sql(positions_query(name, shape, semantics, is_total=False)).to_arrow_table()
    if pc.any(found["is_tied"]).as_py():
        with _registered(connection, entity, _feature(group, entity, is_total=True)):
            found = connection.sql(positions_query(name, shape, semantics, is_total=True)).to_arrow_table()
    return found["place"]


def _entity(rows: pa.Table, timestamp: str, group: GroupRows) -> pa.Table:
    """Return the entity rows in the form that the queries read."""
    # in UTC, where no local time is ambiguous
    floor = ceiling = rows[timestamp].cast(pa.timestamp(rows[timestamp].type.unit, "UTC"))
    if floor.type.unit == "ns":
        # values have microseconds: rounding down for their start and up for their end decides as the exact time would
        floor, ceiling = (round_to(floor, unit="microsecond") for round_to in (pc.floor_temporal, pc.ceil_temporal))
    kinds = group.source.schema
    keys = {
        f"k{i}": typed_key(rows[column], kinds.field(name).type)
        for i, (name, column) in enumerate(group.key_columns.items())
    }
    at, until = (moment.cast(pa.timestamp("us", "UTC")).cast(pa.int64()) for moment in (floor, ceiling))
    return pa.table({**keys, "at": at, "until": until, "number": pa.arange(0, rows.num_rows, 1)})


def _feature(group: GroupRows, entity: pa.Table, *, is_total: bool) -> pa.Table:
    """Return the feature rows in the form that the queries read, without those that no entity row can match."""
    columns = {f"k{i}": name for i, name in enumerate(group.entities)} | {
        name: name for name in (EVENT_TIME, CREATED_TIME)
    }
    if is_total:
        columns |= {INGEST_ID: INGEST_ID} | {f"v{i}": name for i, name in enumerate(_ranked(group))}
    reader = group.source.read(list(columns.values()))
    schema = pa.schema([(name, logical_type(field.type)) for name, field in zip(columns, reader.schema, strict=True)])
    batches = (batch.rename_columns(schema.names).cast(schema) for batch in reader)
    placed = numbered(pa.RecordBatchReader.from_batches(schema, batches))
    first, last = pc.min(entity["until"]).as_py(), pc.max(entity["at"]).as_py()
    oldest = None if first is None or group.ttl is None else first - group.ttl // _MICROSECOND
    return pa.Table.from_batches([_between(batch, oldest, last) for batch in placed], placed.schema)


def _ranked(group: GroupRows) -> list[str]:
    """Return the columns whose values break ties within a batch, without lists and bytes, which engines order differently."""
    kinds = {name: group.source.schema.field(name).type for name in group.columns}
    return [name for name, kind in kinds.items() if not is_list(kind) and logical_type(kind) != pa.binary()]


def _between(batch: pa.RecordBatch, oldest: int | None, newest: int | None) -> pa.RecordBatch:
    times = batch[EVENT_TIME].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    found = pc.min_max(times).as_py()
    for bound, outside, keep in (("min", oldest, pc.greater_equal), ("max", newest, pc.less_equal)):
        if found[bound] is not None and outside is not None and not keep(found[bound], outside).as_py():
            kept = keep(times, outside)
            batch, times = batch.filter(kept), times.filter(kept)
    return batch


def _database() -> Any:
    import duckdb  # noqa: PLC0415 - jobs of other engines lack it

    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
    return connection


@contextmanager
def _registered(connection: Any, entity: pa.Table, feature: pa.Table) -> Iterator[None]:
    """Register both tables for queries, and release their memory afterwards for the next group."""
    tables = {"entity": entity, "feature": feature}
    for name, table in tables.items():
        connection.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            connection.unregister(name)


def _shape(group: GroupRows) -> Shape:
    return Shape(
        keys=len(group.entities),
        values=len(_ranked(group)),
        ttl=None if group.ttl is None else group.ttl // _MICROSECOND,
        ttl_inclusive=group.ttl_inclusive,
    )


def _choice(connection: Any, group: GroupRows, entity_rows: int) -> PlanChoice:
    shape = _shape(group)
    rows, keys, span = connection.sql(statistics_query(shape)).fetchall()[0]
    return choose(Statistics(entity_rows=entity_rows, rows=rows, keys=keys, span=span), shape)


def _sentence(group: GroupRows, late: int, count: int) -> str:
    begin = f"no entity row matched a row of group {group.name}"
    if late:
        return (
            f"{begin}: {late} of {count} would by event time, but the feature rows became known later; "
            "load history by backfill, with the time at which each row could first be known (created_time), "
            "or use semantics='event_time'"
        )
    keys = ", ".join(group.key_columns.values())
    alive = "" if group.ttl is None else f", or are older than its time to live of {group.ttl}"
    return f"{begin}: its rows have other values of {keys}, begin after the requested times{alive}; compare both"


def check(
    rows: pa.Table, timestamp: str, groups: Sequence[GroupRows], semantics: Semantics, plan: Plan | None = None
) -> None:
    """Check the inputs of ``point_in_time``, which does so itself; no row of a group is read.

    Raises:
        PlanError: As for ``point_in_time``.
    """
    problems = []
    if semantics not in ("known_at", "event_time"):
        problems.append(f"semantics must be known_at or event_time, got {semantics!r}")
    if plan not in (None, "frontier", "fan_out"):
        problems.append(f"plan must be frontier or fan_out, got {plan!r}; omit it for the cheaper one")
    problems += [*_time_problems(rows, timestamp), *_row_id_problems(rows)]
    taken = dict.fromkeys([*rows.column_names, ROW_ID], "the entity rows")
    for group in groups:
        problems += _group_problems(rows, group)
        for name in map(group.output, group.columns):
            if name in taken:
                problems.append(f"column {name!r} of {group.name} clashes with {taken[name]}; omit one of them")
            taken[name] = group.name
    if problems:
        raise PlanError("; ".join(problems))


def _time_problems(rows: pa.Table, timestamp: str) -> list[str]:
    if timestamp not in rows.column_names:
        return [f"entity rows have no column {timestamp!r}"]
    found = rows[timestamp]
    if not pa.types.is_timestamp(found.type) or found.type.tz is None:
        return [
            f"{timestamp!r} of the entity rows must be a timestamp with a time zone, got {found.type}; set the zone"
        ]
    return [f"{found.null_count} entity rows have no {timestamp!r}"] if found.null_count else []


def _row_id_problems(rows: pa.Table) -> list[str]:
    if ROW_ID not in rows.column_names:
        return []
    ids = rows[ROW_ID]
    if ids.type != pa.int64():
        return [f"{ROW_ID!r} of the entity rows must be int64, got {ids.type}; cast it, or omit it"]
    different = pc.count_distinct(ids, mode="only_valid").as_py()
    if different == rows.num_rows:
        return []
    return [
        f"{ROW_ID!r} has {different} different values in {rows.num_rows} entity rows; make them unique, or omit the column"
    ]


def _group_problems(rows: pa.Table, group: GroupRows) -> list[str]:
    needed = (*group.entities, *group.columns, EVENT_TIME, CREATED_TIME, INGEST_ID)
    absent = [name for name in needed if name not in group.source.schema.names]
    if absent:
        return [f"{group.name} has no column {', '.join(map(repr, absent))}"]
    problems = []
    if group.ttl is not None and (group.ttl < timedelta(0) or not (group.ttl or group.ttl_inclusive)):
        problems.append(
            f"ttl of {group.name} must not be negative, and must be positive if it is exclusive, got {group.ttl!r}"
        )
    for name in (EVENT_TIME, CREATED_TIME):
        kind = group.source.schema.field(name).type
        if not pa.types.is_timestamp(kind) or kind.tz is None:
            problems.append(f"{name!r} of {group.name} must be a timestamp with a time zone, got {kind}")
    for name, column in group.key_columns.items():
        if column not in rows.column_names:
            label = "a key" if name == column else f"the key {name!r}"
            problems.append(f"entity rows have no column {column!r}, which is {label} of {group.name}")
            continue
        try:
            typed_key(rows[column], group.source.schema.field(name).type)
        except KeyTypeError as error:
            label = repr(name) if name == column else f"{name!r} (column {column!r})"
            problems.append(f"key {label} of {group.name} {error}")
    return problems


def latest(load: Load, group: FeatureGroup, entities: ArrowStream | None, *, now: datetime) -> pa.Table:
    """Return the newest row of each entity that is visible now and within its table's time to live.

    Args:
        load: Loads a table by name.
        entities: Keys to look up, in the order of the result; ``None`` for all that have a row.
        now: The current time.

    Raises:
        BatchError: If ``group`` is not a group, or the keys are not a table or frame.
        PlanError: If a key is missing or of another type.
    """
    check_group(group)
    table = load(group.table_name)
    # the deployed table's time to live, as for training sets; a declaration may be ahead of it
    meaning = TableMeaning.of(group.table_name, table.properties)
    ttl = meaning.ttl
    keys, schema = list(group.entity_names), arrow_schema(group)
    bounds: dict[str, Any] = {
        "created_by": now,
        "event_by": now,
        "since": None if ttl is None else now - ttl,
    }
    whole = GroupRows(
        name=group.name,
        entities=group.entity_names,
        columns=(EVENT_TIME, CREATED_TIME, INGEST_ID, *group.feature_names),
        ttl=ttl,
        rows=schema.empty_table(),
        ttl_inclusive=meaning.ttl_bound == "inclusive",
    )
    if entities is None:
        rows = read_group(table, group, **bounds)
        requested = rows.group_by(keys).aggregate([]).sort_by([(name, "ascending") for name in keys])
    else:
        given = read_batch(entities)
        requested = _at(given.select([name for name in keys if name in given.column_names]), now)
        check(requested, _NOW, [whole], "known_at")
        requested = with_typed_keys(requested.select(keys), {key: schema.field(key).type for key in keys})
        rows = rows_of_keys(table, group, requested, **bounds)
    found = point_in_time(_at(requested, now), _NOW, [replace(whole, rows=rows)]).drop_columns([_NOW, ROW_ID])
    if entities is None:
        found = found.filter(pc.is_valid(found[EVENT_TIME]))
    return found.select([column.name for column in group.columns])


def _at(rows: pa.Table, now: datetime) -> pa.Table:
    return rows.append_column(_NOW, pa.array([now] * rows.num_rows, pa.timestamp("us", "UTC")))
