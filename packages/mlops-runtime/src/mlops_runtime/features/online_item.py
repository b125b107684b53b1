"""One row of a feature group as a DynamoDB item, and back, without losing a bit.

The item's key is the table's name and the entity's values as JSON, ``stock_v1/["1"]``: which type stands where is the group's, so
two entities never share a key. Numbers of DynamoDB are decimals of 38 digits without NaN, infinities and negative zero, and with a
smaller range than a double; floats and doubles are therefore kept as their IEEE 754 bytes.

See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, INGEST_ID, RESERVED, FeatureGroup, FeatureType
from mlops_runtime.features.iceberg import arrow_schema

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
        >>> from mlops_runtime.features.group import Entity, Feature
        >>> stock = FeatureGroup(
        ...     name="stock", entities=(Entity("store_id", "string", "store"), Entity("week", "date", "week")),
        ...     features=(Feature("on_hand", "long", "units on hand"),), owner="demand", description="stock")
        >>> item_keys(stock, pa.table({"store_id": ["a"], "week": pa.array([17167], pa.int32()).cast(pa.date32())}))
        ['stock_v1/["a",17167]']
    """
    columns = [_plain(entities[name]) for name in _checked_names(group, entities)]
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
        ``None`` if the table has no such key column, or a text is no value of its type.

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
    ttl = None if group.ttl is None else int(group.ttl.total_seconds()) * _SECOND
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
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: entities[name] for name in group.entity_names}
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


def _checked_names(group: FeatureGroup, rows: pa.Table) -> tuple[str, ...]:
    problems = []
    for name in group.entity_names:
        wanted = arrow_schema(group).field(name).type
        if name not in rows.column_names:
            problems.append(f"entity {name!r} is absent, there are {', '.join(rows.column_names) or 'no columns'}")
        elif not _is_same(rows.schema.field(name).type, wanted):
            problems.append(f"entity {name!r} is {rows.schema.field(name).type}, declared is {wanted}")
        elif rows[name].null_count:
            problems.append(f"entity {name!r} has {rows[name].null_count} nulls")
    if problems:
        raise OnlineStoreError(f"group {group.name!r}: " + "; ".join(problems))
    return group.entity_names


def _is_same(given: pa.DataType, declared: pa.DataType) -> bool:
    """Tell whether values of a type are keys or features of another as they are: text never becomes a number."""
    if pa.types.is_string(declared):
        return bool(pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given))
    if pa.types.is_timestamp(declared):
        return bool(pa.types.is_timestamp(given) and given.tz is not None and given.unit != "ns")
    if pa.types.is_integer(declared):
        return bool(pa.types.is_signed_integer(given) and given.bit_width <= declared.bit_width)
    return bool(given == declared)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return values as Python's, times as microseconds since 1970, dates as days, floats as the integer of their bits."""
    kind = column.type
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
    return _NULL if value is None else _ATTRIBUTES[kind](value)


_ATTRIBUTES: dict[FeatureType, Callable[[Any], dict[str, Any]]] = {
    "boolean": lambda value: {"BOOL": value},
    "int": lambda value: {"N": str(value)},
    "long": lambda value: {"N": str(value)},
    "date": lambda value: {"N": str(value)},
    "timestamp": lambda value: {"N": str(value)},
    "string": lambda value: {"S": value},
    "float": lambda bits: {"B": struct.pack(">i", bits)},
    "double": lambda bits: {"B": struct.pack(">q", bits)},
}


def _value(kind: FeatureType, cell: Mapping[str, Any]) -> Any:
    """Return what ``_array`` takes; a column that was widened since reads what was written before."""
    if "NULL" in cell:
        return None
    if "B" not in cell:
        return next(iter(cell.values())) if kind in ("boolean", "string") else int(cell["N"])
    content = bytes(cell["B"])
    if kind == "double" and len(content) == 4:
        content = struct.pack(">d", struct.unpack(">f", content)[0])
    return struct.unpack(">i" if len(content) == 4 else ">q", content)[0]


def _array(kind: FeatureType, values: list[Any]) -> pa.Array:
    if kind == "double":
        return pa.array(values, pa.int64()).view(pa.float64())
    if kind == "float":
        return pa.array(values, pa.int32()).view(pa.float32())
    if kind == "date":
        return pa.array(values, pa.int32()).cast(pa.date32())
    if kind == "timestamp":
        return pa.array(values, pa.int64()).cast(pa.timestamp("us", "UTC"))
    return pa.array(values, {"boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "string": pa.string()}[kind])
