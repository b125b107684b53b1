"""Files that need more memory than they declare, and files that do not."""

import io
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.parquet_size import Bounds, ParquetFormError, ParquetSizeError, read_bounded

BOUNDS = Bounds(rows=10_000, bytes=4_000_000, decoded=4_000_000)
TABLE = pa.table(
    {
        "text": ["x", None, "yy"] * 100,
        "category": pa.array(["p", "q", "p"] * 100).dictionary_encode(),
        "float": [1.5, None, 2] * 100,
        "half": pa.array([1.5, None, 2] * 100, pa.float16()),
        "time": [datetime(2017, 1, 2, 3, tzinfo=UTC)] * 300,
        "day": [date(2017, 1, 2), None, None] * 100,
        "flag": [True, None, False] * 100,
        "bytes": [b"a", None, b"c"] * 100,
        "fixed": pa.array([b"abcd", None, b"efgh"] * 100, pa.binary(4)),
        "decimal": [Decimal("1.5"), None, Decimal(2)] * 100,
        "null": pa.nulls(300),
        "large": pa.array(["a", "b", None] * 100, pa.large_string()),
        "view": pa.array(["a", "b", None] * 100, pa.string_view()),
        "list": pa.array([[1, None], None, []] * 100),
        "vector": pa.array([[1.5, 2], None, [3, 4]] * 100, pa.list_(pa.float32(), 2)),
        "texts": pa.array([["x", None, "yy"], None, []] * 100),
        "many": pa.array([["x"], None, ["yy"]] * 100, pa.large_list(pa.large_string())),
    }
)


DELTA = {"use_dictionary": False, "column_encoding": {"c": "DELTA_BYTE_ARRAY"}}


def _parquet(table: pa.Table, **form: object) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **form)
    return target.getvalue()


def _read(content: bytes, bounds: Bounds = BOUNDS, **which: int) -> pa.Table:
    return read_bounded(pa.BufferReader(content), bounds, **which)


def _repeated(value: str | bytes, count: int) -> pa.Table:
    """Return a column that stores one value and references it in each row."""
    return pa.table({"c": pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([value]))})


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"data_page_version": "2.0"},
        {"use_dictionary": False},
        {"compression": "zstd", "row_group_size": 7},
        {"compression": "none", "data_page_size": 10},
        {"store_schema": False},
        {"write_page_index": True, "write_page_checksum": True},
        {
            "use_dictionary": ["category"],
            "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY", "float": "BYTE_STREAM_SPLIT"},
        },
    ],
    ids=str,
)
def test_what_writers_write_is_read_as_it_is(form: dict[str, object]) -> None:
    """It has the columns, types and values that pyarrow reads."""
    content = _parquet(TABLE, **form)

    rows = _read(content)

    plain = pq.ParquetFile(io.BytesIO(content)).read()
    assert rows.schema == plain.schema
    assert rows.equals(plain)


def test_one_row_group_is_read() -> None:
    """As a Spark task does; the limits apply to the row group."""
    content = _parquet(TABLE, row_group_size=100)

    assert _read(content, Bounds(rows=100, bytes=100_000, decoded=100_000), row_group=1).equals(TABLE.slice(100, 100))
    with pytest.raises(ParquetSizeError, match="it has 300 rows and"):
        _read(content, Bounds(rows=100, bytes=100_000, decoded=100_000))


@pytest.mark.parametrize(
    "form",
    [{}, {"row_group_size": 100}, {"data_page_version": "2.0", "compression": "zstd"}],
    ids=str,
)
@pytest.mark.parametrize("value", ["x" * 50_000, b"x" * 50_000], ids=["string", "binary"])
def test_a_dictionary_is_not_multiplied(form: dict[str, object], value: str | bytes) -> None:
    """Footer and pages declare 50 kB; the rows would need 50 MB."""
    content = _parquet(_repeated(value, 1000), **form)
    footer = pq.ParquetFile(io.BytesIO(content)).metadata
    assert sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups)) < BOUNDS.bytes
    before = pa.total_allocated_bytes()
    peak = pa.default_memory_pool().max_memory() or 0

    with pytest.raises(
        ParquetSizeError,
        match=r"it has at least \d+ bytes decoded, the limit is 4000000",
    ):
        _read(content)

    assert pa.total_allocated_bytes() - before < BOUNDS.bytes
    assert (pa.default_memory_pool().max_memory() or 0) - peak < 3 * BOUNDS.bytes


def test_values_of_one_length_are_counted() -> None:
    """The schema has their length."""
    table = pa.table({"c": pa.array([b"x" * 5000] * 1000, pa.binary(5000))})

    with pytest.raises(ParquetSizeError, match="it has at least 5000000 bytes decoded"):
        _read(_parquet(table))


def test_elements_of_lists_are_counted() -> None:
    """Covers a million elements in a hundred rows, strings in a dictionary, and null vectors, which take as much memory."""
    numbers = pa.table({"c": [[0] * 10_000] * 100})
    texts = pa.table({"c": pa.array([["x" * 5000] * 100] * 10)})
    missing = pa.table({"c": pa.nulls(10_000, pa.list_(pa.float32(), 1000))})

    for table, size in ((numbers, 8_000_400), (texts, 5_004_040), (missing, 40_000_000)):
        with pytest.raises(ParquetSizeError, match=f"it has at least {size} bytes decoded"):
            _read(_parquet(table))


def test_many_columns_of_few_bytes_are_counted() -> None:
    """Each row takes its width in each column, however well the pages are compressed."""
    table = pa.table({f"c{i}": pa.array([0] * 5000, pa.int64()) for i in range(101)})

    with pytest.raises(ParquetSizeError, match="it has at least 4040000 bytes decoded"):
        _read(_parquet(table))


@pytest.mark.parametrize(
    ("table", "form", "problem"),
    [
        (_repeated("x" * 100, 3), DELTA, "column 'c' is encoded as DELTA_BYTE_ARRAY"),
        (pa.table({"c": [[[1, 2]], [[3]]]}), {}, "column 'c' is nested; use a column of plain values, or of lists of plain"),
        (pa.table({"c": [[{"a": 1}]]}), {}, "column 'c' is nested"),
        (pa.table({"c": [{"a": 1}]}), {}, "column 'c' is nested"),
        (pa.table({"c": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}), {}, "column 'c' is nested"),
    ],
    ids=["delta", "list of lists", "list of structs", "struct", "map"],
)  # fmt: skip
def test_fails_on_what_cannot_be_known_before(table: pa.Table, form: dict[str, object], problem: str) -> None:
    """The error names the column."""
    with pytest.raises(ParquetFormError, match=problem):
        _read(_parquet(table, **form))


def _varint(number: int) -> bytes:
    number *= 2  # zigzag encoding
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _header(decompressed: int, compressed: int, values: int) -> bytes:
    """Return the header of a plain data page: type, both sizes, value count, three encodings, no statistics."""
    own = b"\x15" + _varint(values) + b"\x15\x00\x15\x06\x15\x06\x1c\x00\x00"
    return b"\x15\x00\x15" + _varint(decompressed) + b"\x15" + _varint(compressed) + b"\x2c" + own + b"\x00"


PLAIN = _parquet(
    pa.table({"c": pa.array([7] * 100, pa.int64())}), compression="none", use_dictionary=False, write_statistics=False
)
HEADER = PLAIN[4:26]


def test_the_header_that_the_next_test_changes_is_the_writers() -> None:
    """It has the sizes of 100 values of 8 bytes with their levels."""
    assert _header(807, 807, 100) == HEADER


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        (lambda: _header(1 << 30, 804, 100), ParquetSizeError, "at least 1073741824 bytes decompressed"),
        (lambda: _header(807, 804, 1 << 30), ParquetFormError, "pages of 1073741824 values for 100"),
        (lambda: _header(807, 1 << 20, 100), ParquetFormError, "a page exceeds its column"),
        (lambda: _header(807, 807, 50), ParquetFormError, "the header of a page cannot be read"),
        (lambda: b"\x0b" * 40, ParquetFormError, "the header of a page cannot be read"),
        (lambda: b"\x19\xf9" * 20, ParquetFormError, "the header of a page cannot be read"),
    ],
)
def test_fails_on_pages_that_differ_from_the_footer(
    change: Callable[[], bytes], error: type[Exception], problem: str
) -> None:
    """Arrow allocates the size in a page's header, whatever the footer declares."""
    footer = len(PLAIN) - 8 - struct.unpack("<I", PLAIN[-8:-4])[0]
    pages = PLAIN[:4] + change() + PLAIN[4 + len(HEADER) : footer]
    content = pages.ljust(footer, b"\0")[:footer] + PLAIN[footer:]

    with pytest.raises(error, match=problem):
        _read(content)


@given(st.integers(4, len(PLAIN) - 9), st.integers(0, 255))
def test_a_flipped_byte_is_an_error_or_few_rows(place: int, byte: int) -> None:
    """Any file is either rejected with a message or small."""
    content = PLAIN[:place] + bytes([byte]) + PLAIN[place + 1 :]

    try:
        rows = _read(content)
    except (ParquetSizeError, ParquetFormError, pa.ArrowException, OSError):
        return
    assert rows.num_rows <= BOUNDS.rows
    assert rows.nbytes <= BOUNDS.bytes
