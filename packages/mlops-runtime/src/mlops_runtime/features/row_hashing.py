"""Content hash of rows, independent of their order, of the file layout, and of library versions."""

import hashlib
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.contracts import canonical_json

VERSION = "h3"
BLOCK = 1 << 20  # rows that are hashed together, so that tasks of other engines can hash blocks separately

_SAMPLE = 1000  # rows
_ROOM = 1 << 62
_NAN = {pa.float64(): 0x7FF8000000000000, pa.float32(): 0x7FC00000}


def indices(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """Return the sort order of rows by columns, ascending; nulls are last, equal rows keep their order.

    Sorting a million rows by a string and two times takes a third of Arrow's time for the strings alone.

    Example:
        >>> indices(pa.table({"k": ["b", "a", None], "n": [1, 2, 3]}), ["k", "n"]).to_pylist()
        [1, 0, 2]
    """
    return _order(_packed([_ranks(rows[name]) for name in names]))


def in_order(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return rows sorted by columns, in the order of ``indices``; rows that are already sorted are returned unchanged.

    Example:
        >>> in_order(pa.table({"k": ["b", "a", "c"]}), ["k"])["k"].to_pylist()
        ['a', 'b', 'c']
    """
    packed = _packed([_ranks(rows[name]) for name in names])
    # most unsorted batches are detected in a sample
    if _is_ascending([column.slice(0, _SAMPLE) for column in packed]) and _is_ascending(packed):
        return rows
    return rows.take(_order(packed))


def _packed(columns: Sequence[pa.Array]) -> list[pa.Array]:
    """Return fewer columns with the same order: integers and times that fit into 62 bits together are combined."""
    found: list[pa.Array] = []
    room = 0  # number of distinct values of the last column, 0 if it cannot be combined
    for column in columns:
        kind = column.type
        is_whole = pa.types.is_integer(kind) or pa.types.is_timestamp(kind)
        if not is_whole or pa.types.is_uint64(kind) or column.null_count or not len(column):
            found.append(column)
            room = 0
            continue
        numbers = column.cast(pa.int64())
        lowest, highest = pc.min_max(numbers).as_py().values()
        values = highest - lowest + 1
        if values >= _ROOM:
            found.append(numbers)
            room = 0
            continue
        numbers = pc.subtract(numbers, lowest)
        if room and room * values < _ROOM:
            found[-1] = pc.add(pc.multiply(found[-1], values), numbers)
            room *= values
        else:
            found.append(numbers)
            room = values
    return found


def _order(columns: Sequence[pa.Array]) -> pa.Array:
    """Return the sort order of rows: by the first column, and rows with equal values by the others."""
    first = columns[0]
    if len(columns) > 1 and (first.null_count or not pa.types.is_integer(first.type)):
        return _order_of_all(columns)
    order = pc.sort_indices(first)
    if len(columns) == 1 or not len(order):
        return order
    same, end = pc.equal(first.take(order[1:]), first.take(order[:-1])), pa.array([False])
    tied = pc.or_(pa.concat_arrays([end, same]), pa.concat_arrays([same, end]))
    rows = order.filter(tied)
    return pc.replace_with_mask(order, tied, rows.take(_order_of_all([column.take(rows) for column in columns])))


def _order_of_all(columns: Sequence[pa.Array]) -> pa.Array:
    table = pa.table({str(i): column for i, column in enumerate(columns)})
    return pc.sort_indices(table, [(name, "ascending") for name in table.column_names])


def _is_ascending(columns: Sequence[pa.Array]) -> bool:
    """Return whether rows are in ascending order; false for rows with a null."""
    count = max(len(columns[0]) - 1, 0)
    holds = pa.repeat(pa.scalar(True), count)
    for column in reversed(columns):
        before, after = column.slice(0, count), column.slice(1)
        holds = pc.or_(pc.less(before, after), pc.and_(pc.equal(before, after), holds))
    return bool(pc.all(pc.fill_null(holds, False)).as_py())


def same_as_before(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """Return for each row but the first whether it equals the previous row; null equals nothing.

    Example:
        >>> same_as_before(pa.table({"k": ["a", "a", "b"]}), ["k"]).to_pylist()
        [True, False]
    """
    same = pa.repeat(pa.scalar(True), max(rows.num_rows - 1, 0))
    for name in names:
        column = rows[name].combine_chunks()
        same = pc.and_(same, pc.fill_null(pc.equal(column.slice(1), column.slice(0, len(same))), False))
    return same


def _ranks(column: pa.ChunkedArray) -> pa.Array:
    """Return integers that sort like the values."""
    array = column.combine_chunks()
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    encoded = array.dictionary_encode()
    ranks = pc.sort_indices(pc.sort_indices(encoded.dictionary)).cast(pa.int32())
    return ranks.take(encoded.indices)


class UnhashableColumnError(ValueError):
    """A column has a type without a canonical form."""


def content_hash(table: pa.Table, first: Sequence[str] = (), *, is_sorted: bool = False, block: int = BLOCK) -> str:
    """Return ``h3:<SHA-256>`` of the rows, independent of the order of rows and columns.

    It is the SHA-256 of a header and of the digests of blocks of sorted rows, see ``block_digest`` and ``hash_of_blocks``.

    Args:
        table: The rows.
        first: Columns to sort by before all others; part of the hash, so compare only hashes made with the same ones. Columns that
            are nearly unique are faster. Default: all columns by name.
        is_sorted: Whether the rows are already in ascending and unique order of ``first``. Default: they are sorted here.
        block: Number of rows of a block; part of the hash.

    Raises:
        UnhashableColumnError: If a column's type is not boolean, integer, float, decimal, string, binary, date, timestamp, or a
            list of these except decimals and binary.

    Example:
        >>> import pyarrow as pa
        >>> one = pa.table({"a": [1, 2], "b": ["x", None]})
        >>> content_hash(one) == content_hash(one.take([1, 0]).select(["b", "a"]))
        True
        >>> content_hash(one) == content_hash(one.slice(0, 1))
        False
    """
    names = _names(table.schema, first)
    canonical = pa.table({name: _canonical(name, table[name]) for name in names})
    order = None if is_sorted or not names else indices(canonical, names)
    digests = []
    for start in range(0, table.num_rows, block):
        # one block at a time: a sorted copy of all rows would double the memory
        part = canonical.slice(start, block) if order is None else canonical.take(order.slice(start, block))
        digests.append(_digest(part))
    return hash_of_blocks(table.schema, table.num_rows, digests, first, block=block)


def block_digest(rows: pa.Table, first: Sequence[str] = ()) -> bytes:
    """Return the digest of the rows of one block, in sorted order; arguments and errors as for ``content_hash``.

    Raises:
        UnhashableColumnError: As for ``content_hash``.

    Example:
        >>> rows = pa.table({"n": [1, 2, 3]})
        >>> digests = [block_digest(rows.slice(start, 2), ["n"]) for start in (0, 2)]
        >>> hash_of_blocks(rows.schema, 3, digests, ["n"], block=2) == content_hash(rows, ["n"], block=2)
        True
    """
    return _digest(pa.table({name: _canonical(name, rows[name]) for name in _names(rows.schema, first)}))


def hash_of_blocks(
    schema: pa.Schema, rows: int, digests: Iterable[bytes], first: Sequence[str] = (), *, block: int = BLOCK
) -> str:
    """Return the content hash of rows whose blocks have these digests, in order; every block but the last has ``block`` rows."""
    head = {
        "columns": [[name, _type_name(logical_type(schema.field(name).type))] for name in _names(schema, first)],
        "rows": rows,
        "block": block,
    }
    digest = hashlib.sha256(canonical_json(head))
    for each in digests:
        digest.update(each)
    return f"{VERSION}:{digest.hexdigest()}"


def _names(schema: pa.Schema, first: Sequence[str]) -> list[str]:
    return [*first, *sorted(set(schema.names) - set(first))]


def _digest(canonical: pa.Table) -> bytes:
    digest = hashlib.sha256()
    for column in canonical.columns:
        for part in _bytes(column):
            digest.update(part)
    return digest.digest()


def logical_type(kind: pa.DataType) -> pa.DataType:
    """Return the type without differences of memory layout: dictionaries and string views are strings, vectors are lists."""
    if pa.types.is_dictionary(kind):
        return logical_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if is_list(kind):
        return pa.list_(pa.field("element", logical_type(kind.value_type)))
    return kind


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is a list; list views are not supported, because Arrow's cast of them loses null elements."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values that Arrow compares, sorts and groups canonically: floats with one zero and one NaN, lists as bytes.

    Arrow cannot compare, sort or group lists.

    Example:
        >>> one, other = pa.array([[1.0, -0.0], None]), pa.array([[1.0, 0.0], None])
        >>> comparable(pa.chunked_array([one])).equals(comparable(pa.chunked_array([other])))
        True
    """
    if is_list(column.type):
        return _canonical("", column)
    if not pa.types.is_floating(column.type):
        return column
    one_zero = pc.add(column, pa.scalar(0.0, column.type))
    return pc.if_else(pc.is_nan(one_zero), pa.scalar(float("nan"), column.type), one_zero)


def _type_name(kind: pa.DataType) -> str:
    return f"list<{_type_name(kind.value_type)}>" if pa.types.is_list(kind) else str(kind)


def _canonical(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as 64-bit integers, decimals, strings or bytes; nulls stay."""
    kind = logical_type(column.type)
    if pa.types.is_string(kind):
        return column.cast(pa.large_string())
    if pa.types.is_binary(kind):
        return column.cast(pa.large_binary())
    if pa.types.is_list(kind):
        return _list_bytes(name, column.cast(kind))
    column = column.cast(kind)
    if pa.types.is_floating(kind):
        plain = kind if kind in _NAN else pa.float32()
        column = column.cast(plain)
        column = pc.if_else(pc.equal(column, 0.0), pa.scalar(0.0, plain), column)
        bits = pa.int64() if plain == pa.float64() else pa.int32()
        found = pa.chunked_array([chunk.view(bits) for chunk in column.chunks], type=bits)
        return pc.if_else(pc.is_nan(column), pa.scalar(_NAN[plain], bits), found).cast(pa.int64())
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp(kind.unit)).cast(pa.int64())
    if pa.types.is_date32(kind):
        return column.cast(pa.int32()).cast(pa.int64())
    if pa.types.is_uint64(kind):
        return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], type=pa.int64())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_decimal128(kind):
        return column
    raise UnhashableColumnError(
        f"column {name!r} has type {kind}; boolean, integer, float, decimal, string, binary, date, timestamp and lists of plain "
        "values have a canonical form"
    )


def _list_bytes(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return each list as bytes: 0 for a null element, else 1 and the element's 8 bytes, or its length and its string."""
    lists = pa.concat_arrays(
        [chunk.cast(pa.large_list(column.type.value_type)) for chunk in column.chunks]
        or [pa.array([], pa.large_list(column.type.value_type))]
    )
    held = _canonical(name, pa.chunked_array([lists.flatten()])).combine_chunks()
    if pa.types.is_integer(held.type):
        parts = [_fixed(held)]
    elif pa.types.is_large_string(held.type):
        parts = [_fixed(pc.binary_length(held)), held.cast(pa.large_binary())]
    else:
        raise UnhashableColumnError(
            f"column {name!r} has type {column.type}; lists of {held.type} have no canonical form"
        )
    missing, there, nothing = (pa.scalar(content, pa.large_binary()) for content in (b"\0", b"\1", b""))
    elements = pc.fill_null(pc.binary_join_element_wise(there, *parts, nothing), missing)
    counts = pc.fill_null(pc.list_value_length(lists), 0)
    ends = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(counts)])
    joined = pc.binary_join(pa.LargeListArray.from_arrays(ends, elements), nothing)
    return pa.chunked_array([pc.if_else(pc.is_null(lists), pa.scalar(None, pa.large_binary()), joined)])


def _fixed(numbers: pa.Array) -> pa.Array:
    """Return integers as 8 bytes each."""
    return numbers.view(pa.binary(8)).cast(pa.large_binary())


def _bytes(column: pa.ChunkedArray) -> list[bytes | memoryview]:
    """Return the null flags, a byte each, and the values: integers in 8 bytes, strings after all lengths."""
    if column.num_chunks == 0:
        return []
    array = column.combine_chunks()
    missing = _buffer(pc.cast(pc.is_null(array), pa.uint8()), 1)
    if pa.types.is_integer(array.type):
        return [missing, _buffer(pc.fill_null(array, 0), 8)]
    if pa.types.is_decimal(array.type):
        return [missing, _buffer(pc.fill_null(array, pa.scalar(0).cast(pa.decimal128(38, 0)).cast(array.type)), 16)]
    text = pc.fill_null(array, pa.scalar("" if pa.types.is_large_string(array.type) else b"", array.type))
    offsets = pa.Array.from_buffers(pa.int64(), len(text) + 1, [None, text.buffers()[1]], offset=text.offset)
    content = text.buffers()[2]
    values = b"" if content is None else memoryview(content)[offsets[0].as_py() : offsets[-1].as_py()]
    return [missing, _buffer(pc.binary_length(text), 8), values]


def _buffer(array: pa.Array, width: int) -> memoryview:
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
