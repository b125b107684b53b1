"""Bounded reading of Parquet from untrusted writers: the required memory is known before decoding.

A footer has the decompressed size of a row group's pages, but not the size of its values: a dictionary page stores a value once,
and a million rows that reference it take a few bytes. A footer may also be forged. This module therefore reads the header of every
page first, so that neither decompression nor decoding allocates more than allowed. It then reads strings as dictionaries, which do
not repeat values, and sums the lengths of the values before expanding them. Lists of plain values are read in the same way, per
element.

See: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.features.row_hashing import is_list

_MAXIMUM_PAGES = 100_000  # per file or row group; writers create pages of about 1 MiB or 20,000 rows
_MAXIMUM_HEADER = 1 << 20
_MAXIMUM_FIELDS = 1000
_MAXIMUM_DEPTH = 8
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
_OF_DECIMALS = 32
_OF_OFFSETS = 4
_DELTA_LENGTH, _DELTA = 6, 7  # encodings
# numbers of fields and types in parquet.thrift
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADERS = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}
_ENCODINGS = {_DATA_PAGE: 2, _DATA_PAGE_V2: 4}
# types of Thrift's compact protocol
_TRUE, _FALSE, _BYTE, _INT16, _INT32, _INT64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class ParquetSizeError(ValueError):
    """The rows exceed a limit; the message has the sizes."""


class ParquetFormError(ValueError):
    """The file is broken, or its size cannot be known before it is decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of decoding."""

    rows: int  # maximum number of rows
    bytes: int  # maximum bytes of the decompressed pages
    decoded: int  # maximum bytes of the decoded values


def read_bounded(source: pa.NativeFile, bounds: Bounds, *, row_group: int | None = None) -> pa.Table:
    """Return the rows of a file, or of the row group of a number, if they are within the limits.

    Raises:
        ParquetSizeError: If a limit is exceeded; nothing was decoded.
        ParquetFormError: If a column is nested, its strings are encoded as DELTA_BYTE_ARRAY, or the headers of its pages do not
            match the footer.
        pyarrow.ArrowException: If the file is not Parquet. For a broken footer Arrow also raises OSError.
    """
    plain = pq.ParquetFile(source)
    footer = plain.metadata
    groups = range(footer.num_row_groups) if row_group is None else range(row_group, row_group + 1)
    rows = sum(abs(footer.row_group(group).num_rows) for group in groups)
    decompressed = sum(footer.row_group(group).total_byte_size for group in groups)
    if rows > bounds.rows or decompressed > bounds.bytes:
        raise ParquetSizeError(
            f"it has {rows} rows and {decompressed} bytes decompressed, the limits are {bounds.rows} rows and "
            f"{bounds.bytes} bytes"
        )
    _check_columns(footer.schema, plain.schema_arrow)
    fixed = sum(_fixed(footer, plain.schema_arrow, group) for group in groups)
    _check_decoded(fixed, bounds)
    left = _Left(bounds)
    coded = [_check_pages(source, footer.schema, footer.row_group(group), left) for group in groups]

    parts, decoded = [plain.schema_arrow.empty_table()], fixed
    for group, places in zip(groups, coded, strict=True):
        names = [footer.schema.column(place).path for place in places]
        file = pq.ParquetFile(source, metadata=footer, read_dictionary=names)
        for field in map(file.schema_arrow.field, places):
            if not pa.types.is_dictionary(_held(field.type)):
                raise ParquetFormError(
                    f"column {field.name!r} is {field.type}, which Arrow does not read as a dictionary; write it as a string"
                )
        part = file.read_row_group(group)
        decoded += sum(_plain_bytes(part.column(place)) for place in places)
        _check_decoded(decoded, bounds)
        parts.append(_plain(part, plain.schema_arrow))
    return pa.concat_tables(parts)


def _check_decoded(size: int, bounds: Bounds) -> None:
    if size > bounds.decoded:
        raise ParquetSizeError(f"it has at least {size} bytes decoded, the limit is {bounds.decoded}")


def _check_columns(schema: pq.ParquetSchema, kinds: pa.Schema) -> None:
    for field in kinds:
        if pa.types.is_nested(_held(field.type)):
            raise ParquetFormError(
                f"column {field.name!r} is nested; use a column of plain values, or of lists of plain values"
            )
    for column in map(schema.column, range(len(schema))):
        if column.physical_type == "BYTE_ARRAY" and column.logical_type.type == "DECIMAL":
            raise ParquetFormError(
                f"column {column.path!r} stores decimals as strings; write them as FIXED_LEN_BYTE_ARRAY"
            )


def _fixed(footer: pq.FileMetaData, kinds: pa.Schema, number: int) -> int:
    """Return the decoded bytes of a row group's values, without those of strings, plus the offsets of lists."""
    group, size = footer.row_group(number), 0
    for place, field in enumerate(kinds):
        values = group.num_rows
        if pa.types.is_fixed_size_list(field.type):
            values *= field.type.list_size  # a null needs the same memory
        elif is_list(field.type):
            values = group.column(place).num_values
            size += _OF_OFFSETS * abs(group.num_rows)
        size += abs(values) * _width(footer.schema.column(place))
    return size


def _held(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if is_list(kind) else kind


def _width(column: pq.ColumnSchema) -> int:
    if column.logical_type.type == "DECIMAL":
        return _OF_DECIMALS
    return _WIDTHS.get(column.physical_type) or max(column.length, 1)


def _plain_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes of a dictionary's values after expansion to each row or element."""
    parts = [part.flatten() if is_list(part.type) else part for part in column.chunks]
    sizes = (pc.sum(pc.binary_length(part.dictionary).cast(pa.int64()).take(part.indices)) for part in parts)
    return sum(size.as_py() or 0 for size in sizes)


def _plain(part: pa.Table, schema: pa.Schema) -> pa.Table:
    for place, field in enumerate(schema):
        column = part.column(place)
        if column.type != field.type:
            chunks = [_without_dictionary(chunk).cast(field.type) for chunk in column.chunks]
            part = part.set_column(place, field, pa.chunked_array(chunks, field.type))
    return part


def _without_dictionary(array: pa.Array) -> pa.Array:
    """Return strings, or lists of them, without dictionary encoding."""
    if not is_list(array.type):
        return array.cast(array.type.value_type)
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    missing = pc.is_null(array) if array.null_count else None
    return pa.ListArray.from_arrays(offsets, _without_dictionary(array.flatten()), mask=missing)


class _Left:
    """The remaining limits while pages are counted."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds, self._decompressed, self._pages = bounds, 0, 0

    def chunk(self, size: int) -> int:
        if not 0 <= size <= self._bounds.bytes:
            raise ParquetSizeError(f"it has {size} bytes in a column, the limit is {self._bounds.bytes}")
        return size

    def take(self, decompressed: int) -> None:
        self._decompressed, self._pages = self._decompressed + decompressed, self._pages + 1
        if self._decompressed > self._bounds.bytes:
            raise ParquetSizeError(
                f"it has at least {self._decompressed} bytes decompressed, the limit is {self._bounds.bytes}"
            )
        if self._pages > _MAXIMUM_PAGES:
            raise ParquetSizeError(f"it has more than {_MAXIMUM_PAGES} pages")


def _check_pages(source: pa.NativeFile, schema: pq.ParquetSchema, group: pq.RowGroupMetaData, left: _Left) -> list[int]:
    """Read the header of each page at Arrow's offsets; return the indexes of string columns that a dictionary may expand."""
    coded = []
    for place in range(group.num_columns):
        column = group.column(place)
        if column.file_path:
            raise ParquetFormError(f"column {column.path_in_schema!r} is in another file; write it in this one")
        repeats = schema.column(place).max_repetition_level > 0
        agrees = column.num_values >= group.num_rows if repeats else column.num_values == group.num_rows
        if not agrees or group.num_rows < 0:
            raise _disagreement(column, f"{column.num_values} values in {group.num_rows} rows")
        encodings = _encodings(column, source.read_at(left.chunk(column.total_compressed_size), _start(column)), left)
        if column.physical_type != "BYTE_ARRAY" or encodings == {_DELTA_LENGTH}:
            continue
        name = f"column {column.path_in_schema!r}"
        if _DELTA in encodings:
            raise ParquetFormError(
                f"{name} is encoded as DELTA_BYTE_ARRAY, whose size is unknown before it is decoded; "
                "write it plain, by a dictionary or as DELTA_LENGTH_BYTE_ARRAY"
            )
        if _DELTA_LENGTH in encodings:
            raise ParquetFormError(
                f"{name} mixes a dictionary and DELTA_LENGTH_BYTE_ARRAY in a row group; write one of them"
            )
        coded.append(place)
    return coded


def _encodings(column: pq.ColumnChunkMetaData, chunk: bytes, left: _Left) -> set[int]:
    """Count the pages of a column; return the encodings of its values."""
    seen = end = 0
    found = set[int]()
    while seen < column.num_values:
        page = _page(column, chunk, end)
        left.take(page.decompressed)
        seen, end = seen + page.values, page.end
        found |= set() if page.encoding is None else {page.encoding}
    if seen > column.num_values:
        raise _disagreement(column, f"pages of {seen} values for {column.num_values}")
    return found


def _start(column: pq.ColumnChunkMetaData) -> int:
    # https://github.com/apache/arrow/blob/main/cpp/src/parquet/file_reader.cc, ComputeColumnChunkRange
    first: int = column.data_page_offset
    return min(first, column.dictionary_page_offset or first)


def _disagreement(column: pq.ColumnChunkMetaData, found: str) -> ParquetFormError:
    return ParquetFormError(
        f"pages of column {column.path_in_schema!r} do not match the footer: {found}; write the file again"
    )


@dataclass(frozen=True, slots=True)
class _Page:
    decompressed: int
    values: int
    encoding: int | None
    end: int


def _page(column: pq.ColumnChunkMetaData, chunk: bytes, place: int) -> _Page:
    reader = _Header(chunk[place : place + _MAXIMUM_HEADER])
    try:
        header = reader.struct()
        kind, decompressed, compressed = (_whole(header, number) for number in (1, 2, 3))
        own = _struct(header, _HEADERS[kind]) if kind in _HEADERS else {}
        values = _whole(own, 1) if kind in (_DATA_PAGE, _DATA_PAGE_V2) else 0
        encoding = _whole(own, _ENCODINGS[kind]) if kind in _ENCODINGS else None
    except (IndexError, KeyError, TypeError):
        raise _disagreement(column, "the header of a page cannot be read") from None
    end = place + reader.place + compressed
    if end > len(chunk):
        raise _disagreement(column, "a page exceeds its column")
    return _Page(decompressed, values, encoding, end)


def _struct(header: Mapping[int, object], number: int) -> Mapping[int, object]:
    found = header[number]
    if not isinstance(found, Mapping):
        raise TypeError
    return found


def _whole(header: Mapping[int, object], number: int) -> int:
    found = header[number]
    if not isinstance(found, int) or not 0 <= found < 1 << 31:
        raise TypeError
    return found


class _Header:
    """Reader of a structure in Thrift's compact protocol: returns numbers and structures, skips other fields.

    See: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """

    def __init__(self, content: bytes) -> None:
        self.place, self._content, self._fields = 0, content, 0

    def struct(self, depth: int = 0) -> dict[int, object]:
        found: dict[int, object] = {}
        number = 0
        while (head := self._byte()) & 0x0F:
            number = number + (head >> 4) if head >> 4 else self._number()
            found[number] = self._value(head & 0x0F, depth)
        return found

    def _value(self, kind: int, depth: int, *, in_list: bool = False) -> object:
        self._fields += 1
        if self._fields > _MAXIMUM_FIELDS or depth > _MAXIMUM_DEPTH:
            raise IndexError
        if kind in (_INT16, _INT32, _INT64):
            return self._number()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            head = self._byte()
            for _ in range(self._varint() if head >> 4 == 0x0F else head >> 4):
                self._value(head & 0x0F, depth + 1, in_list=True)
        elif kind == _BINARY:
            self._skip(self._varint())
        elif kind in (_BYTE, _DOUBLE):
            self._skip(8 if kind == _DOUBLE else 1)
        elif kind in (_TRUE, _FALSE):
            self._skip(in_list)  # the value of a field is in its type
        else:
            raise IndexError  # Parquet's structures have no maps
        return None

    def _byte(self) -> int:
        self.place += 1
        return self._content[self.place - 1]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        found = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
        raise IndexError

    def _number(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)
