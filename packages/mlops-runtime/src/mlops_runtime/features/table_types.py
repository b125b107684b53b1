"""Conversion between declared types and those of Iceberg and Arrow."""

from collections.abc import Mapping

import pyarrow as pa
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


def iceberg_type(declared: FeatureType, element_id: int | None = None) -> IcebergType:
    """Return the Iceberg type of a declared one.

    Args:
        declared: The declared type.
        element_id: Id of the elements of a list or vector, from the lock file.

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
    """Return the declared types of a table's columns.

    Args:
        schema: Schema of the table.
        properties: Properties of the table, which mark its vectors.
    """
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
