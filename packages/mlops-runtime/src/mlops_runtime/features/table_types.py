"""Conversion between declared types and those of Iceberg and Arrow, and of key columns to a table's types.

A key column may have integers of another width, or pandas' floats.
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from mlops_runtime.features.column_type import ColumnType, FeatureType
from mlops_runtime.features.feature_group import VECTOR, FeatureGroup
from mlops_runtime.features.row_hashing import logical_type

_ICEBERG: dict[str, PrimitiveType] = {
    "boolean": BooleanType(),
    "int": IntegerType(),
    "long": LongType(),
    "float": FloatType(),
    "double": DoubleType(),
    "string": StringType(),
    "date": DateType(),
    "timestamp": TimestamptzType(),
    "binary": BinaryType(),
}
_ARROW: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "binary": pa.binary(),
}
_ARROW_NAMES = {kind: name for name, kind in _ARROW.items()}
_EXACT = 2.0**53  # beyond it, a double represents several integers


class KeyTypeError(ValueError):
    """A column cannot be a key of a table; the message has both types, the first wrong value and the fix."""


def iceberg_type(declared: FeatureType, element_id: int | None = None) -> IcebergType:
    """Return the Iceberg type of a declared one; a list or vector takes the id of its elements from the lock file.

    Example:
        >>> str(iceberg_type("decimal(9,2)")), str(iceberg_type("vector(64)", 7))
        ('decimal(9, 2)', 'list<float>')
    """
    kind = ColumnType.of(declared)
    if kind.base == "decimal":
        return DecimalType(kind.precision, kind.scale)
    if kind.element:
        return ListType(
            element_id=0 if element_id is None else element_id,
            element_type=_ICEBERG[kind.element],
            element_required=False,
        )
    return _ICEBERG[declared]


def arrow_type(declared: FeatureType) -> pa.DataType:
    """Return the Arrow type of a declared one, in rows of a group and of a training set.

    Example:
        >>> str(arrow_type("vector(3)")), str(arrow_type("decimal(9,2)"))
        ('fixed_size_list<element: float>[3]', 'decimal128(9, 2)')
    """
    kind = ColumnType.of(declared)
    if kind.base == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    if not kind.element:
        return _ARROW[declared]
    element = pa.field("element", _ARROW[kind.element])
    return pa.list_(element, kind.length) if kind.base == "vector" else pa.list_(element)


def arrow_schema(group: FeatureGroup) -> pa.Schema:
    """Return the Arrow schema of a group's rows, in the order of its columns."""
    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=not c.required) for c in group.columns])


def read_schema(schema: Schema, properties: Mapping[str, str]) -> pa.Schema:
    """Return the Arrow schema in which a table's columns are read; arguments as for ``declared_types``."""
    declared = declared_types(schema, properties)
    return pa.schema(
        [pa.field(field.name, arrow_type(declared[field.name]), nullable=not field.required) for field in schema.fields]
    )


def declared_types(schema: Schema, properties: Mapping[str, str]) -> dict[str, FeatureType]:
    """Return the declared types of a table's columns."""
    return {
        field.name: _of_iceberg(field.field_type, properties.get(f"{VECTOR}{field.name}")) for field in schema.fields
    }


def _of_iceberg(kind: IcebergType, length: str | None) -> FeatureType:
    if isinstance(kind, DecimalType):
        return f"decimal({kind.precision},{kind.scale})"
    if isinstance(kind, ListType):
        return f"list<{_of_iceberg(kind.element_type, None)}>" if length is None else f"vector({length})"
    return next((name for name, plain in _ICEBERG.items() if plain == kind), str(kind))


def is_of_type(kind: IcebergType, declared: FeatureType) -> bool:
    """Return whether a table's column has a declared type, regardless of element ids."""
    element_id = kind.element_id if isinstance(kind, ListType) else None
    return kind == iceberg_type(declared, element_id)


def arrow_types(schema: pa.Schema) -> dict[str, FeatureType]:
    """Return the declared types of columns that have one; fixed-size lists of 32-bit floats are vectors."""
    found = {field.name: _of_arrow(field.type) for field in schema}
    return {name: kind for name, kind in found.items() if kind is not None}


def _of_arrow(kind: pa.DataType) -> FeatureType | None:
    if pa.types.is_decimal128(kind) and 0 <= kind.scale <= kind.precision:
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32():
        return f"vector({kind.list_size})"
    if pa.types.is_list(kind) and kind.value_type in _ARROW_NAMES and kind.value_type != pa.binary():
        return f"list<{_ARROW_NAMES[kind.value_type]}>"
    return _ARROW_NAMES.get(kind)


def typed_key(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a key column of entity rows in the type of the table's column, provided that no value changes; nulls stay.

    Raises:
        KeyTypeError: If the type cannot be converted, or a value does not fit.

    Example:
        >>> typed_key(pa.chunked_array([[7.0, None]]), pa.int32()).to_pylist()
        [7, None]
        >>> typed_key(pa.chunked_array([["7"]]), pa.int32())
        Traceback (most recent call last):
            ...
        mlops_runtime.features.table_types.KeyTypeError: is string in the entity rows and int32 in the table; give both one type
    """
    if not len(column):  # the types of a frame without rows are arbitrary
        return pa.chunked_array([], kind)
    given, wanted = logical_type(column.type), logical_type(kind)
    number = pa.types.is_integer(wanted) and (pa.types.is_integer(given) or pa.types.is_floating(given))
    time = pa.types.is_timestamp(wanted) and pa.types.is_timestamp(given) and given.tz is not None
    date = pa.types.is_date(wanted) and pa.types.is_date(given)
    if not (given == wanted or number or time or date or pa.types.is_null(given)):
        raise KeyTypeError(f"is {given} in the entity rows and {wanted} in the table; give both one type")
    if pa.types.is_floating(given):
        far = pc.fill_null(pc.greater(pc.abs(column), _EXACT), False)
        if pc.any(far).as_py():
            raise KeyTypeError(
                f"is {given}, where {column.filter(far)[0].as_py()!r} represents several integers; give it as int64"
            )
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, given), column)  # NaN is pandas' missing value
    try:
        return column.cast(given).cast(wanted)
    except pa.ArrowInvalid as error:
        raise KeyTypeError(f"does not fit {wanted} of the table: {error}") from error


def with_typed_keys(rows: pa.Table, kinds: Mapping[str, pa.DataType]) -> pa.Table:
    """Return entity rows with keys in the tables' types, so that equal keys give equal files with any library.

    Raises:
        KeyTypeError: As for ``typed_key``.
    """
    for name, kind in kinds.items():
        rows = rows.set_column(rows.column_names.index(name), name, typed_key(rows[name], kind))
    return rows
