"""A content hash of rows that does not depend on their order, on file layout, or on the version of a library.

Each row becomes one text in a canonical, typed form; the hash is over the sum of the rows' SHA-256 values, so that it counts
duplicates, and over names, types and number of rows. Floats enter by their bits, with -0.0 as 0.0 and NaN as null.
"""

import hashlib

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.contracts import canonical_json

VERSION = "h1"


class UnhashableColumnError(ValueError):
    """A column has a type without a canonical form."""


def content_hash(table: pa.Table) -> str:
    """Return ``h1:<SHA-256>`` of the rows, whatever their order and the order of the columns.

    Raises:
        UnhashableColumnError: If a column is neither boolean, integer, float, string, date nor timestamp.

    Example:
        >>> import pyarrow as pa
        >>> one = pa.table({"a": [1, 2], "b": ["x", None]})
        >>> content_hash(one) == content_hash(one.take([1, 0]).select(["b", "a"]))
        True
        >>> content_hash(one) == content_hash(one.slice(0, 1))
        False
    """
    names = sorted(table.column_names)
    canonical = pa.table({str(i): _canonical(name, table[name]) for i, name in enumerate(names)})
    cells = [f"coalesce(strlen(\"{i}\"::varchar) || ':' || \"{i}\"::varchar, '-')" for i in range(len(names))]
    # columns are called 0, 1 and so on here: no name of a column enters the text
    query = (
        f"with digests as (select sha256({' || '.join(cells)}) as digest from canonical) "  # noqa: S608
        "select coalesce(sum(('0x' || digest[1:16])::ubigint), 0)::varchar, "
        "coalesce(sum(('0x' || digest[17:32])::ubigint), 0)::varchar from digests"
    )
    with duckdb.connect() as connection:
        connection.register("canonical", canonical)
        high, low = connection.execute(query).fetchall()[0]
    content = {
        "columns": {name: str(_logical(table.schema.field(name).type)) for name in names},
        "rows": table.num_rows,
        "sum": [high, low],
    }
    return f"{VERSION}:{hashlib.sha256(canonical_json(content)).hexdigest()}"


def _logical(kind: pa.DataType) -> pa.DataType:
    """Return the type without what only the memory layout says: dictionaries and string views are strings."""
    if pa.types.is_dictionary(kind):
        return _logical(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _canonical(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = _logical(column.type)
    column = column.cast(kind)
    if pa.types.is_floating(kind):
        bits = pa.int64() if kind == pa.float64() else pa.int32()
        plain = kind if kind in (pa.float64(), pa.float32()) else pa.float32()
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column).cast(plain)
        positive_zero = pc.if_else(pc.equal(column, 0.0), pa.scalar(0.0, plain), column)
        return pa.chunked_array([chunk.view(bits) for chunk in positive_zero.chunks], type=bits)
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp(kind.unit)).cast(pa.int64()) if kind.tz is None else column.cast(pa.int64())
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_string(kind):
        return column
    raise UnhashableColumnError(
        f"column {name!r} has type {kind}; boolean, integer, float, string, date and timestamp have a canonical form"
    )
