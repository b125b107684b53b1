"""Checks of a batch of rows, in Arrow, before anything is written."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.column_type import ColumnType
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, Feature, FeatureGroup
from mlops_runtime.features.row_hashing import comparable, in_order, is_list, same_as_before
from mlops_runtime.features.table_types import arrow_schema

Columns = dict[str, pa.ChunkedArray]

_SHOWN = 3  # values that a problem lists
_PANDAS_INDEX = "__index_level_"
_PLACE = "__place__"
_MAKES = {  # functions that convert other types to a table, by the type's name
    "LazyFrame": ".collect()",
    "dict": "pa.table(batch)",
    "list": "pa.Table.from_pylist(batch)",
    "Series": ".to_frame()",
}


class BatchError(ValueError):
    """A batch cannot be ingested; nothing was written. ``problems`` contains every problem, and the message lists them."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


@runtime_checkable
class ArrowStream(Protocol):
    """Any object that exports the Arrow C stream: pyarrow tables, pandas (from 2.2) and polars frames.

    See: https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule with the stream."""


def read_batch(batch: ArrowStream) -> pa.Table:
    """Return a batch as an Arrow table; a stream is read once.

    pandas has one missing value for both null and NaN and exports it as null; Arrow tables and polars frames distinguish them.

    Raises:
        BatchError: If the batch is not a table or frame, or has values that Arrow does not support.
    """
    if not isinstance(batch, ArrowStream):
        fix = _MAKES.get(type(batch).__name__)
        raise BatchError(
            f"a pyarrow table, pandas or polars frame is required, got {type(batch)!r}{f'; use {fix}' if fix else ''}"
        )
    try:
        rows = pa.table(batch)
    except (pa.ArrowException, TypeError, ValueError) as error:
        names = list(map(str, getattr(batch, "columns", ())))
        twice = [f"column {name!r} appears {names.count(name)} times" for name in _repeats(names)]
        if twice:
            raise BatchError(f"the batch cannot be read as an Arrow table: {'; '.join(twice)}; give it once") from error
        raise BatchError(f"the batch cannot be read as an Arrow table: {error}; give each column one type") from error
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type) and pa.types.is_string_view(field.type.value_type):
            rows = rows.set_column(place, field.name, _with_plain_texts(rows.column(place)))
    return rows


def check_group(group: FeatureGroup) -> None:
    """Check that the argument is a feature group.

    Raises:
        BatchError: If it is anything else, such as the group's name.
    """
    if not isinstance(group, FeatureGroup):
        raise BatchError(f"a FeatureGroup is required, got {group!r}; pass the declaration of the group")


def _repeats(names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _with_plain_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the categories of a polars frame with plain strings, which Arrow functions support."""
    parts = [pa.DictionaryArray.from_arrays(part.indices, part.dictionary.cast(pa.string())) for part in column.chunks]
    return pa.chunked_array(parts, pa.dictionary(column.type.index_type, pa.string()))


def checked(group: FeatureGroup, batch: ArrowStream, now: datetime) -> pa.Table:
    """Return the batch with the group's columns and types, without its ingest id.

    Rows are returned in the table's order: by entities, event time and created time. Of rows that are equal in every column, one is
    returned, so the result may have fewer rows than the batch. ``created_time`` is optional, with ``now`` as its default, and may
    be before the event time. Nullable features are optional, with null as their default, so that producers need not change when a
    feature is added.

    Types may differ where no value changes: an integer of another width whose values all fit, integers for floats, a time in
    another unit or zone, a dictionary or view of strings, integers and decimals of another scale for decimals, lists of any layout.
    A double for a ``float`` is rounded to it. Keys are then compared by the declared type: strings by their bytes, integers as
    integers. Nulls satisfy constraints; NaN stays NaN and satisfies none.

    Args:
        group: The rows' group.
        batch: A pyarrow table, pandas or polars frame, as ``read_batch`` reads it.
        now: The store's clock.

    Raises:
        BatchError: If the batch is empty; a column is missing, unknown or of another type; a required value is null; a constraint
            is violated; a time has no zone, does not exist in the group's, or is finer than a microsecond; an event time is later
            than ``now`` plus the group's lead, or a created time later than ``now``; two rows with the same entities and times
            differ.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity
        >>> stock = FeatureGroup(
        ...     name="stock",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("on_hand", "long", "units on hand", minimum=0),),
        ...     owner="demand",
        ...     description="stock",
        ... )
        >>> day = datetime(2017, 1, 2, tzinfo=UTC)
        >>> batch = pa.table({"store_id": ["1", "1"], "event_time": [day, day], "on_hand": [7, 7]})
        >>> checked(stock, batch, day).num_rows
        1
    """
    rows = read_batch(batch)
    problems = list(_name_problems(group, rows))
    columns: Columns = {}
    schema = pa.schema([field for field in arrow_schema(group) if field.name != INGEST_ID])
    for field in schema:
        if rows.column_names.count(field.name) != 1:
            if field.name == CREATED_TIME and field.name not in rows.column_names:
                columns[field.name] = _repeated(pa.scalar(now.astimezone(UTC), field.type), rows.num_rows)
            elif field.nullable and field.name not in rows.column_names:
                columns[field.name] = _repeated(pa.scalar(None, field.type), rows.num_rows)
            continue
        try:
            column = _cast(group, rows[field.name], field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
            problems.append(f"column {field.name!r} must be {field.type}: {' '.join(str(error).split())}")
            continue
        if column.null_count and not field.nullable:
            problems.append(f"column {field.name!r} is required and has no value in {column.null_count} rows")
        columns[field.name] = column
    problems += _time_problems(group, columns, now)
    for feature in group.features:
        if feature.name in columns:
            problems += _constraint_problems(feature, columns[feature.name])
    kept = None
    if set(columns) == set(schema.names):
        # one chunk each: every Arrow function that takes rows would otherwise combine the chunks again
        given = pa.table(columns).combine_chunks()
        ordered = in_order(given, [*group.entity_names, EVENT_TIME, CREATED_TIME])
        columns = {name: ordered[name] for name in columns}
        kept, found = _kept(group, columns)
        problems += found
    if problems:
        raise BatchError(f"batch for {group.table_name}: " + "; ".join(problems), problems)
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    return table if kept is None else table.filter(kept)


def _name_problems(group: FeatureGroup, rows: pa.Table) -> Iterable[str]:
    names = [column.name for column in group.columns if column.name != INGEST_ID]
    for column in group.columns:
        if column.required and column.name not in (*rows.column_names, CREATED_TIME, INGEST_ID):
            yield f"column {column.name!r} is missing"
    for name in _repeats(rows.column_names):
        yield f"column {name!r} appears {rows.column_names.count(name)} times; give it once"
    for name in dict.fromkeys(rows.column_names):
        if name == INGEST_ID:
            yield f"column {INGEST_ID!r} is set by the store; omit it"
        elif name.startswith(_PANDAS_INDEX):
            yield f"column {name!r} is the frame's index; drop it with reset_index(drop=True), or name it as a column"
        elif name not in names:
            yield f"column {name!r} is not declared, allowed are {', '.join(names)}"
    if not rows.num_rows:
        yield "it has no rows"


def _time_problems(group: FeatureGroup, columns: Columns, now: datetime) -> Iterable[str]:
    limits = {
        EVENT_TIME: (now + group.lead, "now" if not group.lead else "now and the group's lead", "declare lead="),
        CREATED_TIME: (now, "now", "a row cannot be known before that time"),
    }
    for name, (limit, meaning, fix) in limits.items():
        column = columns.get(name)
        if column is None:
            continue
        late = pc.greater(column, pa.scalar(limit.astimezone(UTC), column.type))
        if pc.any(late).as_py():
            yield f"{name} is later than {meaning} ({limit.isoformat()}) in {_found(column, late)}; {fix}"


def _constraint_problems(feature: Feature, column: pa.ChunkedArray) -> Iterable[str]:
    rules: dict[str, Callable[[], pa.ChunkedArray]] = {}
    kind = column.type
    floating = pa.types.is_floating(kind)

    def scalar(value: Any) -> pa.Scalar:
        if pa.types.is_decimal(kind):
            return pa.scalar(Decimal(value), kind)
        return pa.scalar(float(value) if floating else value, kind)

    def listed() -> pa.ChunkedArray:
        values = pa.array([scalar(value).as_py() for value in feature.allowed or ()], kind)
        # is_in distinguishes -0.0 from 0.0
        return pc.is_in(pc.add(column, scalar(0)) if floating else column, value_set=values)

    if feature.minimum is not None:
        rules[f"below minimum {_text(feature.minimum)}"] = lambda: pc.greater_equal(column, scalar(feature.minimum))
    if feature.maximum is not None:
        rules[f"above maximum {_text(feature.maximum)}"] = lambda: pc.less_equal(column, scalar(feature.maximum))
    if feature.allowed is not None:
        rules[f"not among {', '.join(map(_text, feature.allowed))}"] = listed
    if feature.pattern is not None:
        rules[f"not like {feature.pattern!r}"] = lambda: pc.match_substring_regex(column, rf"\A(?:{feature.pattern})\z")
    for words, holds in rules.items():
        try:
            broken = pc.and_(pc.invert(holds()), pc.is_valid(column))
        except pa.ArrowInvalid as error:  # RE2 rejects a pattern that the declaration's check accepted
            yield f"feature {feature.name!r} cannot be checked for values {words}: {error}"
            continue
        if pc.any(broken).as_py():
            yield f"feature {feature.name!r} is {words} in {_found(column, broken)}"


def _kept(group: FeatureGroup, columns: Columns) -> tuple[pa.ChunkedArray | None, list[str]]:
    """Return the mask of sorted rows to keep, ``None`` for all, and the problems of rows with equal entities and times."""
    key = [*group.entity_names, EVENT_TIME, CREATED_TIME]
    same = same_as_before(pa.table(columns), key)
    if not pc.any(same).as_py():
        return None, []
    count = len(columns[EVENT_TIME])
    places = pc.cumulative_sum(pa.repeat(pa.scalar(1), count), start=-1)
    rows = pa.table({**{name: comparable(column) for name, column in columns.items()}, _PLACE: places})
    end = pa.array([False])
    shared = rows.filter(pc.or_(pa.concat_arrays([end, same]), pa.concat_arrays([same, end])))
    distinct = shared.group_by(list(columns), use_threads=False).aggregate([(_PLACE, "min")])
    first = f"{_PLACE}_min"
    keys = distinct.group_by(key, use_threads=False).aggregate([([], "count_all"), (first, "min")])
    torn = keys.filter(pc.greater(keys["count_all"], 1)).sort_by(f"{first}_min")
    if torn.num_rows:
        more = pc.sum(torn["count_all"]).as_py() - torn.num_rows
        example = ", ".join(f"{name}={_shown(torn[name])[0]}" for name in key)
        return None, [
            f"{more} rows repeat {', '.join(key)} of another with other values, first {example}; "
            "give each row its own created_time, so that it is defined which one counts"
        ]
    again = pc.is_in(places, value_set=shared[_PLACE].combine_chunks())
    return pc.or_(pc.invert(again), pc.is_in(places, value_set=distinct[first].combine_chunks())), []


def _cast(group: FeatureGroup, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    found = column.type
    if pa.types.is_dictionary(found):
        column, found = column.cast(found.value_type), found.value_type
    known = not pa.types.is_null(found)
    numbers = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if known and _family(kind) != _family(found) and not (numbers and pa.types.is_integer(found)):
        raise TypeError(f"got {found}; {_fix(kind, found)}")
    if known and is_list(kind):
        return _cast_lists(group, column, kind)
    if known and pa.types.is_decimal(kind):
        return _cast_decimals(column, kind)
    if known and pa.types.is_timestamp(kind):
        return _cast_times(group, column).cast(kind)
    cast = column.cast(kind)
    if pa.types.is_float32(kind) and pa.types.is_float64(found):
        lost = pc.and_(pc.is_inf(cast), pc.is_finite(column))
        if pc.any(lost).as_py():
            raise ValueError(f"beyond its range in {_found(column, lost)}; declare double")
    return cast


def _cast_decimals(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(20, 0))  # fits all 64-bit integers
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        declared = ColumnType.of(f"decimal({kind.precision},{kind.scale})")
        others = [value for value in column.to_pylist() if value is not None and not declared.holds(value)]
        raise ValueError(
            f"at most {kind.precision - kind.scale} digits before the point and {kind.scale} after it, got others in "
            f"{len(others)} rows, first {', '.join(map(str, others[:_SHOWN]))}; round them, or declare more digits"
        ) from None


def _cast_lists(group: FeatureGroup, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return lists with elements of the declared type and, for vectors, of the declared length."""
    given = pa.concat_arrays([chunk.cast(pa.list_(column.type.value_type)) for chunk in column.chunks])
    held = _cast(group, pa.chunked_array([given.flatten()]), kind.value_type).combine_chunks()
    counts = pc.list_value_length(given)
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        other = pc.fill_null(pc.not_equal(counts, size), False)
        if pc.any(other).as_py():
            found = ", ".join(str(count) for count in pc.unique(counts.filter(other)).slice(0, _SHOWN).to_pylist())
            raise ValueError(f"must have {size} numbers in each row, got {found} in {pc.sum(other).as_py()} rows")
        if held.null_count:
            raise ValueError(f"{held.null_count} numbers are null; give each vector completely, or as null")
    ends = pc.cumulative_sum(pc.fill_null(counts, 0)).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    missing = pc.is_null(given) if given.null_count else None
    lists = pa.ListArray.from_arrays(offsets, held, type=pa.list_(kind.value_field), mask=missing)
    return pa.chunked_array([lists.cast(kind)])


def _fix(kind: pa.DataType, found: pa.DataType) -> str:
    """Return advice on how to convert values of another type family."""
    family = _family(kind)
    if family == "integer" and pa.types.is_floating(found):
        return "convert them to integers, in pandas astype('Int64'), which supports missing values"
    fixes = {
        "integer": "convert them to integers",
        "float": "convert them to numbers",
        "string": "convert them to strings, in pandas astype('string')",
        "boolean": "convert them to booleans by a comparison",
        "time": "parse them to timestamps with a time zone, in pandas to_datetime(column, utc=True)",
        "date": "cast them to dates, Arrow's date32, in pandas column.dt.date",
        "decimal": f"convert them to decimal.Decimal, rounded to {getattr(kind, 'scale', 0)} digits after the point",
        "binary": "convert them to bytes, strings by encode()",
        "list": "give each row a list, or null",
    }
    return fixes[family]


def _cast_times(group: FeatureGroup, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.tz is None:
        if group.time_zone is None:
            raise TypeError(f"got {column.type} without a time zone; set one, for example UTC, or declare time_zone=")
        column = in_zone(column, group.time_zone)
    if column.type.unit == "ns":
        column = column.cast(pa.timestamp("ns", "UTC"))  # Arrow rounds by local time, where a time may be ambiguous
        whole = pc.floor_temporal(column, unit="microsecond")
        finer = pc.not_equal(whole, column)
        if group.finer_times == "refuse" and pc.any(finer).as_py():
            raise ValueError(
                f"finer than a microsecond in {_found(column, finer)}; round it, or declare finer_times='truncate'"
            )
        return whole
    return column


def in_zone(column: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    """Return times without a zone as local times of a zone.

    Raises:
        ValueError: If a local time is ambiguous or does not exist.

    Example:
        >>> noon = pa.chunked_array([pa.array([datetime(2017, 1, 1, 12)], pa.timestamp("us"))])
        >>> in_zone(noon, "America/New_York").cast(pa.timestamp("us", "UTC"))[0].as_py().hour
        17
    """
    try:
        return pc.assume_timezone(column, zone)
    except pa.ArrowInvalid:
        first = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
        last = pc.assume_timezone(column, zone, ambiguous="latest", nonexistent="latest")
        unclear = pc.not_equal(first, last)
        raise ValueError(
            f"ambiguous or nonexistent local time of {zone} in {_found(column, unclear)}; give it in UTC"
        ) from None


def _repeated(value: pa.Scalar, count: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.repeat(value, count)])


def _found(column: pa.ChunkedArray, mask: pa.ChunkedArray) -> str:
    count = pc.sum(mask).as_py()
    return f"{count} rows, first {', '.join(_shown(column.filter(mask)))}"


def _shown(column: pa.ChunkedArray) -> list[str]:
    first = column.slice(0, _SHOWN)
    if pa.types.is_timestamp(first.type):
        return [
            str(text) for text in first.cast(pa.string()).to_pylist()
        ]  # Arrow supports years that datetime does not
    return [_text(value) for value in first.to_pylist()]


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else repr(value)


def _family(kind: pa.DataType) -> str:
    """Return the name of a type's family; casts within a family keep every value, or fail."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    families = {
        "time": pa.types.is_timestamp,
        "date": pa.types.is_date,
        "boolean": pa.types.is_boolean,
        "integer": pa.types.is_integer,
        "float": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "list": is_list,
        "binary": _is_binary,
    }
    return next((name for name, holds in families.items() if holds(kind)), str(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
