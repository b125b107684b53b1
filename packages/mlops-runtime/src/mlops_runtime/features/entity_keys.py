"""Conversion of key columns to a feature table's types, such as from integers of another width or pandas' floats."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.features.row_hashing import logical_type

_EXACT = 2.0**53  # beyond it, a double represents several integers


class KeyTypeError(ValueError):
    """A column cannot be a key of a table; the message has both types, the first wrong value and the fix."""


def typed_key(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a key column in a table's type, provided that no value changes; nulls stay.

    Args:
        column: Values of entity rows.
        kind: The type of the table's column.

    Raises:
        KeyTypeError: If the type cannot be converted, or a value does not fit.

    Example:
        >>> typed_key(pa.chunked_array([[7.0, None]]), pa.int32()).to_pylist()
        [7, None]
        >>> typed_key(pa.chunked_array([["7"]]), pa.int32())
        Traceback (most recent call last):
            ...
        mlops_runtime.features.entity_keys.KeyTypeError: is string in the entity rows and int32 in the table; give both one type
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

    Args:
        rows: The entity rows.
        kinds: The type of each key.

    Raises:
        KeyTypeError: As for ``typed_key``.
    """
    for name, kind in kinds.items():
        rows = rows.set_column(rows.column_names.index(name), name, typed_key(rows[name], kind))
    return rows
