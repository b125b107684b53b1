"""Row files: the supported formats, and all their problems reported together."""

import gzip
import json
import math
import os
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from mlops_runtime.features import row_files
from mlops_runtime.features.access_errors import SourceError
from mlops_runtime.features.row_files import RowFiles

DAY = datetime(2017, 1, 1, tzinfo=UTC)
TYPES = {
    "store_id": pa.string(),
    "event_time": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
    "price": pa.decimal128(9, 2),
    "note": pa.string(),
}

WRITERS = {
    "parquet": pq.write_table,
    "csv": pa_csv.write_csv,
    "jsonl": lambda rows, path: path.write_text("".join(f"{json.dumps(row)}\n" for row in rows.to_pylist())),
}


@pytest.fixture
def bucket(monkeypatch):
    """Return an in-process S3 bucket and its upload function."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="history")
        yield SimpleNamespace(s3=s3, put=lambda key, body: s3.put_object(Bucket="history", Key=key, Body=body))


def parquet(rows: pa.Table, **options) -> bytes:
    """Return a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, **options)
    return sink.getvalue().to_pybytes()


def rows_of(files: RowFiles, types=TYPES) -> list[dict]:
    """Return all rows."""
    return [row for file in files.files() for piece in files.pieces(file, types) for row in piece.to_pylist()]


def test_a_csv_has_the_declared_types(tmp_path):
    """Keys keep zeros, times their zone and microseconds; empty values are null, quoted ones and words are strings."""
    (tmp_path / "a.csv").write_text(
        'store_id,event_time,day,price,note\n007,2017-01-01T00:00:00Z,2017-01-02,1.50,"NA"\n'
        "8,2017-01-01 01:00:00.000001+01:00,,NA,NA\n"
        '9, 2017-01-01T00:00:00Z ,null,"2",\n'
    )
    assert rows_of(RowFiles(tmp_path)) == [
        {"store_id": "007", "event_time": DAY, "day": date(2017, 1, 2), "price": Decimal("1.50"), "note": "NA"},
        {"store_id": "8", "event_time": DAY.replace(microsecond=1), "day": None, "price": None, "note": "NA"},
        {"store_id": "9", "event_time": DAY, "day": None, "price": Decimal(2), "note": None},
    ]


def test_a_csv_has_nan_among_floats_and_nulls_of_numbers(tmp_path):
    """Also in undeclared columns, whose type the start of the file gives."""
    (tmp_path / "a.csv").write_text('a,b,c,d,e\nnan,nan,1,NA,\nNA,7,NA,"",\n')
    first, second = rows_of(RowFiles(tmp_path), {"a": pa.float64(), "b": pa.int64()})
    assert math.isnan(first.pop("a"))
    assert first == {"b": None, "c": 1, "d": None, "e": None}
    assert second == {"a": None, "b": 7, "c": None, "d": None, "e": None}


def test_a_csv_has_bytes_times_of_day_and_columns_that_are_there_twice(tmp_path):
    """Duplicate columns are rejected by name by the caller."""
    (tmp_path / "a.csv").write_bytes(b"raw,at,n,n\n\xff,12:30:00,1,2\n,,,\n")
    files = RowFiles(tmp_path)
    (piece,) = files.pieces(files.files()[0], {"raw": pa.binary()})
    assert piece.column_names == ["raw", "at", "n", "n"]
    assert piece.select([0, 1]).to_pylist() == [{"raw": b"\xff", "at": time(12, 30)}, {"raw": None, "at": None}]
    assert [piece.column(place).to_pylist() for place in (2, 3)] == [[1, None], [2, None]]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_times_of_text_files_are_as_in_a_frame(tmp_path, kind):
    """Covers times without a zone and with nanoseconds; undeclared ones keep their zone; a mixture is rejected."""
    types = {"a": pa.timestamp("us", "UTC"), "b": pa.timestamp("us", "UTC"), "f": pa.timestamp("us", "UTC")}
    folder = tmp_path / "f=2017-01-01 00:00:00"
    folder.mkdir()
    rows = pa.table({"a": ["2017-01-01"], "b": ["2017-01-01T00:00:00.000000001Z"], "c": ["2017-01-01T00:00:00Z"]})
    WRITERS[kind](rows, folder / f"a.{kind}")
    files = RowFiles(tmp_path)
    (piece,) = files.pieces(files.files()[0], types)
    assert {field.name: field.type for field in piece.schema} == {
        "a": pa.timestamp("us"),
        "b": pa.timestamp("ns", "UTC"),
        "c": pa.timestamp("us", "UTC"),
        "f": pa.timestamp("us"),
    }
    WRITERS[kind](pa.table({"a": ["2017-01-01", "2017-01-01T00:00:00Z"]}), folder / f"a.{kind}")
    with pytest.raises(
        SourceError, match=r"column 'a': .*'2017-01-01' .*; times must be ISO 8601, all with a zone or all w"
    ):
        list(files.pieces(files.files()[0], types))


def test_json_lines_have_the_declared_types(tmp_path):
    """Also lists, and a column that only some lines have."""
    lines = [
        {"store_id": "007", "event_time": "2017-01-01T00:00:00Z", "price": "1.50", "seen": [1, None]},
        {"store_id": "8", "event_time": "2017-01-01T01:00:00+01:00", "day": "2017-01-02"},
    ]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, lines)))
    kinds = {name: kind for name, kind in TYPES.items() if name != "note"} | {"seen": pa.list_(pa.float32())}
    assert rows_of(RowFiles(tmp_path), kinds) == [
        {"store_id": "007", "event_time": DAY, "day": None, "price": Decimal("1.50"), "seen": [1.0, None]},
        {"store_id": "8", "event_time": DAY, "day": date(2017, 1, 2), "price": None, "seen": None},
    ]


def test_json_lines_have_no_column_that_no_line_has(tmp_path, monkeypatch):
    """A column that is null in every line exists; one that starts late is in the pieces with a value."""
    (tmp_path / "a.jsonl").write_text('{"store_id": "7", "day": null}\n')
    assert rows_of(RowFiles(tmp_path)) == [{"store_id": "7", "day": None}]
    monkeypatch.setattr(row_files, "_SAMPLE", 64)
    monkeypatch.setattr(row_files, "_PIECE_BYTES", 64)
    (tmp_path / "a.jsonl").write_text('{"store_id": "7"}\n' * 4 + '{"store_id": "8", "note": "x"}\n')
    assert rows_of(RowFiles(tmp_path)) == [{"store_id": "7"}] * 4 + [{"store_id": "8", "note": "x"}]
    (tmp_path / "note=y").mkdir()
    (tmp_path / "a.jsonl").rename(tmp_path / "note=y" / "a.jsonl")
    with pytest.raises(
        SourceError, match="lines after its first 64 bytes have column 'note', which its folder name has"
    ):
        rows_of(RowFiles(tmp_path))


def test_files_are_read_in_order_and_hidden_ones_are_not(bucket):
    """As Athena and Spark write them; a prefix without a slash is a folder, not the start of a name."""
    for key, value in (("history/b.csv", 2), ("history/a.csv", 1), ("history/_old/c.csv", 3), ("history_of/d.csv", 4)):
        bucket.put(key, f"x\n{value}\n".encode())
    bucket.put("history/_SUCCESS", b"")
    bucket.put("history/", b"")
    for place in ("s3://history/history", "s3://history/history/"):
        assert rows_of(RowFiles(place, s3=bucket.s3), {}) == [{"x": 1}, {"x": 2}]
    one = RowFiles("s3://history/history/b.csv", s3=bucket.s3)
    assert (rows_of(one, {}), one.files()[0].uri) == ([{"x": 2}], "s3://history/history/b.csv")


def test_compressed_text_and_named_formats(bucket):
    """Files ending in gz are decompressed; a given format applies to all files, since Athena's have no extension."""
    bucket.put("a/x.csv.gz", gzip.compress(b"x\n1\n"))
    assert rows_of(RowFiles("s3://history/a/", s3=bucket.s3), {}) == [{"x": 1}]
    bucket.put("b/20170101_0001", parquet(pa.table({"x": [2]})))
    assert rows_of(RowFiles("s3://history/b/", format="parquet", s3=bucket.s3), {}) == [{"x": 2}]
    bucket.put("c/x", gzip.compress(b'{"x": 3}\n'))
    with pytest.raises(SourceError, match="the format of x is unknown; set format="):
        RowFiles("s3://history/c/", s3=bucket.s3).files()


def test_a_piece_is_cut_at_the_same_rows_each_time(bucket, monkeypatch):
    """For any row groups and blocks; the size is a power of two by the width of a row."""
    monkeypatch.setattr(row_files, "_PIECE_BYTES", 1 << 10)
    monkeypatch.setattr(row_files, "_READ_ROWS", 7)
    bucket.put("a.parquet", parquet(pa.table({"x": range(100)}), row_group_size=30, compression="none"))
    files = RowFiles("s3://history/a.parquet", s3=bucket.s3)
    (file,) = files.files()
    assert [piece.num_rows for piece in files.pieces(file, {})] == [64, 36]
    assert [row["x"] for row in rows_of(files, {})] == list(range(100))
    bucket.put("a.csv", b"x\n" + b"".join(b"%04d\n" % n for n in range(1000)))
    text = RowFiles("s3://history/a.csv", s3=bucket.s3)
    assert [piece.num_rows for piece in text.pieces(text.files()[0], {})] == [128] * 7 + [104]


def test_every_problem_of_every_file_is_named(bucket):
    """Covers other formats, columns and types; integers and floats are both numbers."""
    bucket.put("a/1.parquet", parquet(pa.table({"x": [1], "y": ["a"], "t": pa.array([0], pa.timestamp("us"))})))
    bucket.put("a/2.parquet", parquet(pa.table({"x": [1.5], "y": [2], "t": pa.array([0], pa.timestamp("ms", "UTC"))})))
    bucket.put("a/3.parquet", parquet(pa.table({"x": [1.5], "t": pa.array([0], pa.timestamp("ms", "UTC"))})))
    bucket.put("a/4.parquet", b"no Parquet")
    files = RowFiles("s3://history/a", s3=bucket.s3)
    with pytest.raises(SourceError) as caught:
        files.columns(files.files())
    assert len(caught.value.problems) == 4
    for part in (
        "column 'y' is missing, but other files have it (3.parquet)",
        "it is not parquet: ",
        "column 'y' is a string in 1.parquet, a number in 2.parquet",
        "column 't' is a time without a zone in 1.parquet, a time with a zone in 2.parquet, 3.parquet",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("place", "options", "problem"),
    [
        ("s3://nowhere/a", {}, "listing s3://nowhere/a: there is no bucket nowhere"),
        ("s3://history/none", {}, "there are no files of rows in s3://history/none; check the location"),
        (
            "s3://history/mixed",
            {},
            r"files have several formats: 1 csv \(a.csv\), 1 parquet \(b.parquet\); pass a narrower",
        ),
        ("s3://history/mixed", {"format": "orc"}, "format must be one of parquet, csv, jsonl, got 'orc'"),
        ("s3://history/mixed", {"s3": None}, "needs a boto3 client of S3: pass s3="),
        ("nowhere", {}, "there is no folder or file nowhere"),
        (7, {}, "place must be s3://bucket/prefix, a folder or a file, got 7"),
    ],
)
def test_places_without_rows_are_refused(bucket, place, options, problem):
    """The error names the problem of the location."""
    bucket.put("mixed/a.csv", b"x\n1\n")
    bucket.put("mixed/b.parquet", b"PAR1")
    with pytest.raises(SourceError, match=problem):
        RowFiles(place, **{"s3": bucket.s3, **options}).files()


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("a.csv", "store_id,day\n1,yesterday\n", "a.csv, row 1: column 'day': .*yesterday.*date32"),
        ("a.csv", "store_id,seen\n1,[]\n", r"CSV does not support lists \(columns seen\); write Parquet or JSON lines"),
        ("a.jsonl", '{"store_id": "1", "event_time": "at noon"}\n', "a.jsonl, row 1: column 'event_time': .*at noon"),
    ],
)
def test_a_value_of_another_type_is_named(tmp_path: Path, name, body, problem):
    """The error names the file."""
    (tmp_path / name).write_text(body)
    with pytest.raises(SourceError, match=problem):
        rows_of(RowFiles(tmp_path), {**TYPES, "seen": pa.list_(pa.int64())})


def test_the_row_of_a_value_of_another_type_is_named(tmp_path, monkeypatch):
    """Also beyond the first piece, and in undeclared columns, whose type the start of the CSV gives."""
    monkeypatch.setattr(row_files, "_SAMPLE", 64)
    monkeypatch.setattr(row_files, "_PIECE_ROWS", 16)
    (tmp_path / "a.csv").write_text("store_id,units\n" + "".join(f"{n},{n}\n" for n in range(40)) + "x,ten\n40,40\n")
    message = (
        r"a\.csv, row 41: column 'units': .*'ten'.*int64; it is not declared, and has the type of the first 64 bytes"
    )
    with pytest.raises(SourceError, match=message):
        rows_of(RowFiles(tmp_path), {"store_id": pa.string()})
    with pytest.raises(SourceError, match=r"a\.csv, row 41: column 'store_id': .*'x'.*int32$"):
        rows_of(RowFiles(tmp_path), {"store_id": pa.int32(), "units": pa.string()})


@pytest.mark.parametrize("types", [{"x": pa.float64()}, {}], ids=["declared", "seen"])
def test_a_number_that_no_float_holds_is_refused_by_row(tmp_path, types):
    """Only an explicit infinity is infinite."""
    (tmp_path / "a.csv").write_text("x\n1.5\ninf\n-Infinity\n1e308\n")
    assert [row["x"] for row in rows_of(RowFiles(tmp_path), types)] == [1.5, math.inf, -math.inf, 1e308]
    (tmp_path / "a.csv").write_text("x\n1.5\ninf\n-1e400\n")
    with pytest.raises(SourceError, match=r"a\.csv, row 3: column 'x': '-1e400' is beyond the range of double"):
        rows_of(RowFiles(tmp_path), types)


def test_the_row_of_json_lines_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Counted within the file, where Arrow counts from the start of a block."""
    monkeypatch.setattr(row_files, "_BLOCK", 64)
    monkeypatch.setattr(row_files, "_SAMPLE", 64)
    good = ['{"x": 1.5}'] * 40
    (tmp_path / "a.jsonl").write_text("\n".join([*good, '{"x": 1e400}', *good]))
    with pytest.raises(SourceError, match=r"a\.jsonl: .*too big to be stored in double\. in row 41$"):
        rows_of(RowFiles(tmp_path), {"x": pa.float64()})
    (tmp_path / "a.jsonl").write_text("\n".join([*good[:2], '{"x": 1e400}', *good]))
    with pytest.raises(SourceError, match=r"a\.jsonl: .*too big to be stored in double\. in row 3$"):
        rows_of(RowFiles(tmp_path), {"x": pa.float64()})


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_floats_of_text_files_are_as_in_a_frame(tmp_path, kind):
    """They are doubles, so that the checks of a batch find values that do not fit the declared type."""
    WRITERS[kind](pa.table({"x": [1e39]}), tmp_path / f"a.{kind}")
    (piece,) = (
        each for file in RowFiles(tmp_path).files() for each in RowFiles(tmp_path).pieces(file, {"x": pa.float32()})
    )
    assert piece["x"].to_pylist() == [1e39]


def test_floats_in_lists_of_json_lines_are_as_in_a_frame(tmp_path):
    """They are doubles like values outside lists."""
    (tmp_path / "a.jsonl").write_text('{"x": [0.5, 1e39]}\n')
    assert rows_of(RowFiles(tmp_path), {"x": pa.list_(pa.float32())}) == [{"x": [0.5, 1e39]}]


@pytest.mark.parametrize("kind", ["parquet", "csv.gz"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    """Whichever error Arrow raises, while reading the header or the rows."""
    if kind == "parquet":
        whole = parquet(pa.table({"store_id": [f"{n:08}" for n in range(1000)]}), compression="none")
        # the length of a string
        damaged = whole.replace(b"\x08\0\0\x0000000500", b"\xff\xff\xff\xff00000500")
    else:
        whole = gzip.compress(b"store_id\n" + b"0123456789\n" * 99)
        damaged = whole[:20] + b"\xff" * 9 + whole[29:]
    assert damaged != whole
    (tmp_path / f"a.{kind}").write_bytes(damaged)
    found = RowFiles(tmp_path)
    with pytest.raises(SourceError, match=rf"a\.{kind}: "):
        list(found.pieces(found.files()[0], {}))


def test_an_object_that_is_replaced_or_goes_while_it_is_read_is_named(bucket):
    """Rows of two versions are never mixed."""
    bucket.put("a.csv", b"x\n1\n")
    files = RowFiles("s3://history/a.csv", s3=bucket.s3)
    (file,) = files.files()
    bucket.put("a.csv", b"x\n2\n")
    with pytest.raises(SourceError, match=r"a\.csv: it was replaced while it was read"):
        list(files.pieces(file, {}))
    bucket.s3.delete_object(Bucket="history", Key="a.csv")
    with pytest.raises(SourceError, match=r"a\.csv: it was deleted while it was read"):
        list(files.pieces(file, {}))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_folders_of_hive_are_columns(tmp_path: Path, kind: str) -> None:
    """With declared types, nulls and escapes; the file's own column wins, and selected columns exclude others."""
    for name, rows in {
        "day=2017-01-02/store=a%2Fb": {"units": [1, 2]},
        "day=__HIVE_DEFAULT_PARTITION__/store=c": {"units": [3]},
        "day=2017-01-03/store=d": {"units": [4], "store": ["own"]},
    }.items():
        folder = tmp_path / name
        folder.mkdir(parents=True)
        WRITERS[kind](pa.table(rows), folder / f"x.{kind}")
    types = {"day": pa.date32(), "store": pa.string(), "units": pa.int64()}
    found = RowFiles(tmp_path)

    rows = [row for file in found.files() for piece in found.pieces(file, types) for row in piece.to_pylist()]

    assert set(found.columns(found.files())) == {"units", "day", "store"}
    assert sorted(rows, key=lambda row: row["units"]) == [
        {"units": 1, "day": date(2017, 1, 2), "store": "a/b"},
        {"units": 2, "day": date(2017, 1, 2), "store": "a/b"},
        {"units": 3, "day": None, "store": "c"},
        {"units": 4, "day": date(2017, 1, 3), "store": "own"},
    ]
    assert {name for file in found.files(columns=["day"]) for name in file.folders} == {"day"}


def test_folders_that_give_a_column_two_values_are_refused(tmp_path: Path) -> None:
    """The inner folder does not take precedence."""
    for name in ("bed=1/bed=2", "bed=1/day=1", "bed=3/bed=3"):
        (tmp_path / name).mkdir(parents=True)
        pq.write_table(pa.table({"units": [1]}), tmp_path / name / "x.parquet")
    found = RowFiles(tmp_path)
    with pytest.raises(
        SourceError, match=r"folders give column 'bed' several values \(bed=1/bed=2/x\.parquet\); rename"
    ):
        found.files()
    assert {file.folders.get("day") for file in found.files(columns=["day"])} == {None, "1"}


def test_a_file_that_is_written_again_has_another_version(tmp_path: Path) -> None:
    """Also with unchanged size and modification time."""
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    (before,) = RowFiles(tmp_path).files()
    about = path.stat()

    def again() -> str:
        path.write_text("x\n2\n")
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        return RowFiles(tmp_path).files()[0].version

    # file system clocks have steps of milliseconds
    assert any(again() != before.version for _ in range(10_000))
    assert path.stat().st_mtime_ns == about.st_mtime_ns


def test_a_folder_of_another_type_is_named(tmp_path: Path) -> None:
    """The error names file and value."""
    (tmp_path / "day=tuesday").mkdir()
    pq.write_table(pa.table({"units": [1]}), tmp_path / "day=tuesday" / "x.parquet")
    found = RowFiles(tmp_path)
    with pytest.raises(SourceError, match=r"x\.parquet: folder day=tuesday does not fit column 'day', date32"):
        list(found.pieces(found.files()[0], {"day": pa.date32()}))
