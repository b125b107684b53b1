"""A batch of rows, checked in Arrow before anything is written."""

from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.iceberg import arrow_schema


class BatchError(ValueError):
    """A batch cannot be ingested; nothing was written. The message lists every problem."""


@runtime_checkable
class ArrowStream(Protocol):
    """Whatever exports the Arrow C stream: pyarrow tables, pandas (from 2.2) and polars frames.

    See: https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule with the stream."""


def checked(group: FeatureGroup, batch: ArrowStream, now: datetime) -> pa.Table:
    """Return the batch with the group's columns and types, without its ingest id.

    ``created_time`` may be left out: it is ``now``. Types may differ where no value changes: a narrower number, a time in another
    unit or zone, a dictionary of strings. NaN is a missing value.

    Raises:
        BatchError: If columns are missing or unknown, types differ, a required value is missing, ``created_time`` is later than
            ``now``, or two rows have the same entities and times.
    """
    if not isinstance(batch, ArrowStream):
        raise BatchError(f"{group.table_name}: a pyarrow table, pandas or polars frame is needed, got {type(batch)!r}")
    rows = pa.table(batch)
    if CREATED_TIME not in rows.column_names:
        rows = rows.append_column(
            CREATED_TIME, pa.array([now.astimezone(UTC)] * rows.num_rows, pa.timestamp("us", "UTC"))
        )
    problems = _column_problems(group, rows)
    columns: dict[str, pa.ChunkedArray] = {}
    schema = pa.schema([field for field in arrow_schema(group) if field.name != INGEST_ID])
    for field in schema:
        if field.name in rows.column_names:
            try:
                columns[field.name] = _cast(rows[field.name], field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError) as error:
                problems.append(f"column {field.name!r} must be {field.type}: {error}")
                continue
            missing = columns[field.name].null_count
            if missing and not field.nullable:
                problems.append(f"column {field.name!r} is required and has no value in {missing} rows")
    if not problems:
        problems += _row_problems(group, columns, now)
    if problems:
        raise BatchError(f"batch for {group.table_name}: " + "; ".join(problems))
    return pa.table(columns, schema=schema)


def _column_problems(group: FeatureGroup, rows: pa.Table) -> list[str]:
    names = [column.name for column in group.columns if column.name != INGEST_ID]
    problems = [f"column {name!r} is missing" for name in names if name not in rows.column_names]
    for name in rows.column_names:
        if name == INGEST_ID:
            problems.append(f"column {INGEST_ID!r} is given by the store; leave it out")
        elif name not in names:
            problems.append(f"column {name!r} is not declared, allowed are {', '.join(names)}")
    return problems if rows.num_rows else [*problems, "it has no rows"]


def _row_problems(group: FeatureGroup, columns: dict[str, pa.ChunkedArray], now: datetime) -> list[str]:
    problems = []
    early = pc.sum(pc.greater(columns[CREATED_TIME], pa.scalar(now, columns[CREATED_TIME].type))).as_py()
    if early:
        problems.append(
            f"created_time is later than now ({now.isoformat()}) in {early} rows; nothing is known before it is"
        )
    key = [*group.entity_names, EVENT_TIME, CREATED_TIME]
    keys = pa.table({name: columns[name] for name in key})
    twice = keys.num_rows - keys.group_by(key).aggregate([]).num_rows
    if twice:
        problems.append(f"{twice} rows repeat {', '.join(key)} of another; which one counts would be chance")
    return problems


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    found = column.type
    if pa.types.is_dictionary(found):
        column, found = column.cast(found.value_type), found.value_type
    if pa.types.is_floating(found):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, found), column)
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(found) and found.tz is None:
        raise TypeError(f"got {found} without a time zone; say which, for example UTC")
    known = not pa.types.is_null(found)
    if known and _family(kind) != _family(found) and not (pa.types.is_floating(kind) and pa.types.is_integer(found)):
        raise TypeError(f"got {found}")
    return column.cast(kind)


def _family(kind: pa.DataType) -> str:
    """Return the name of the types between which a cast changes no value, or is an error."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    families = {
        "time": pa.types.is_timestamp,
        "date": pa.types.is_date,
        "boolean": pa.types.is_boolean,
        "integer": pa.types.is_integer,
        "float": pa.types.is_floating,
    }
    return next((name for name, holds in families.items() if holds(kind)), str(kind))
