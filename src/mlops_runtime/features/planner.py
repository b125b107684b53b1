"""The point-in-time plan: for each entity row, the newest value that was known at its time.

A value is available from ``greatest(event_time, created_time)``. Of the values available at a row's time the one with the latest
``(event_time, created_time, ingest_id)`` counts; if it is older than the group's time to live, the row has none.

The frontier plan finds it without joining every row with its whole history: in order of availability only rows that raise the
running maximum of the event time can ever be the answer; of those, the last at each moment. What is left is one as-of join. For
equal event times the order of availability is the order of ``created_time``, so the maximum of the event time alone is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, INGEST_ID

PLANNER = "frontier/1"
ROW_ID = "row_id"

_MICROSECOND = timedelta(microseconds=1)


class PlanError(ValueError):
    """The inputs of a point-in-time plan do not fit together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRows:
    """Rows of one feature table and what is wanted of them.

    Args:
        name: The group, for messages.
        entities: The key's columns.
        columns: Features wanted, in order.
        ttl: How long after its event time a value counts, the last microsecond included. ``None``: without limit.
        rows: The rows, with the three columns that every feature table has.
    """

    name: str
    entities: tuple[str, ...]
    columns: tuple[str, ...]
    ttl: timedelta | None
    rows: pa.Table


def point_in_time(rows: pa.Table, timestamp: str, groups: Sequence[GroupRows]) -> pa.Table:
    """Return ``rows`` in their order with a ``row_id`` and the features of each group as known at ``timestamp``.

    Every row is kept, also duplicates and rows without a value. Whole rows are picked: a newer row in which a feature is null
    gives null, not the older value.

    Args:
        rows: Entity rows.
        timestamp: Name of their time column, in UTC.
        groups: What to add.

    Raises:
        PlanError: If columns are missing, clash or differ in type, or a row has no time.

    Example:
        >>> from datetime import UTC, datetime
        >>> day = lambda number: datetime(2017, 1, number, tzinfo=UTC)
        >>> rows = pa.table({"store_id": ["1", "1"], "at": [day(4), day(9)]})
        >>> late = pa.table({"store_id": ["1"], "event_time": [day(2)], "created_time": [day(5)], "ingest_id": ["a"], "units": [7]})
        >>> stock = GroupRows(name="stock", entities=("store_id",), columns=("units",), ttl=None, rows=late)
        >>> point_in_time(rows, "at", [stock])["units"].to_pylist()
        [None, 7]
    """
    _check(rows, timestamp, groups)
    result = rows.append_column(ROW_ID, pa.array(range(rows.num_rows), pa.int64()))
    for group in groups:
        positions = _positions(result, timestamp, group)
        if len(positions) != rows.num_rows:
            raise PlanError(f"{group.name}: the plan returned {len(positions)} rows for {rows.num_rows} entity rows")
        for column in group.columns:
            result = result.append_column(
                pa.field(column, group.rows.schema.field(column).type), group.rows[column].take(positions)
            )
    return result


def _positions(rows: pa.Table, timestamp: str, group: GroupRows) -> pa.ChunkedArray:
    """Return for each entity row the position of its row in the group, or null."""
    keys = [f"k{i}" for i in range(len(group.entities))]
    left = {key: rows[name] for key, name in zip(keys, group.entities, strict=True)}
    right = {key: group.rows[name] for key, name in zip(keys, group.entities, strict=True)}
    values = {f"v{i}": group.rows[name] for i, name in enumerate(group.columns)}
    by = ", ".join(keys)
    # values come last in the order: rows that other writers gave one ingest id still have one winner
    order = ", ".join(["available", "event", "created", "ingest", *values])
    fresh = "true" if group.ttl is None else f"entity.at - event <= {group.ttl // _MICROSECOND}"
    match = " and ".join(f"entity.{key} = frontier.{key}" for key in keys)
    # every name in the text is made here: k0, v0 and so on, never a name of a column
    query = f"""
        with known as (select *, greatest(event, created) as available from feature),
        running as (
            select *, max(event) over (partition by {by} order by {order} rows unbounded preceding) as newest from known
        ),
        rising as (select * from running where event = newest),
        frontier as (
            select * from rising
            qualify lead(available) over (partition by {by} order by {order}) is distinct from available
        )
        select case when {fresh} then frontier.place end as place
        from entity asof left join frontier on {match} and entity.at >= frontier.available
        order by entity.number
        """  # noqa: S608
    with duckdb.connect() as connection:
        connection.register("entity", pa.table({**left, "at": microseconds(rows[timestamp]), "number": rows[ROW_ID]}))
        connection.register(
            "feature",
            pa.table(
                {
                    **right,
                    **values,
                    "event": microseconds(group.rows[EVENT_TIME]),
                    "created": microseconds(group.rows[CREATED_TIME]),
                    "ingest": group.rows[INGEST_ID],
                    "place": pa.array(range(group.rows.num_rows), pa.int64()),
                }
            ),
        )
        return connection.sql(query).to_arrow_table()["place"]


def microseconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times in UTC as whole microseconds since 1970."""
    return times.cast(pa.timestamp("us", "UTC")).cast(pa.int64())


def _check(rows: pa.Table, timestamp: str, groups: Sequence[GroupRows]) -> None:
    problems = [f"entity rows have no column {timestamp!r}"] if timestamp not in rows.column_names else []
    if not problems and pc.any(pc.is_null(rows[timestamp])).as_py():
        problems.append(f"{rows[timestamp].null_count} entity rows have no {timestamp!r}")
    taken = dict.fromkeys([*rows.column_names, ROW_ID], "the entity rows")
    for group in groups:
        needed = (*group.entities, *group.columns, EVENT_TIME, CREATED_TIME, INGEST_ID)
        absent = [name for name in needed if name not in group.rows.column_names]
        if absent:
            problems.append(f"{group.name} has no column {', '.join(map(repr, absent))}")
            continue
        for name in group.entities:
            if name not in rows.column_names:
                problems.append(f"entity rows have no column {name!r}, which is a key of {group.name}")
            elif rows.schema.field(name).type != group.rows.schema.field(name).type:
                problems.append(
                    f"key {name!r} is {rows.schema.field(name).type} in the entity rows and "
                    f"{group.rows.schema.field(name).type} in {group.name}; give both one type"
                )
        for name in group.columns:
            if name in taken:
                problems.append(f"column {name!r} of {group.name} clashes with {taken[name]}; leave one of them out")
            taken[name] = group.name
    if problems:
        raise PlanError("; ".join(problems))
