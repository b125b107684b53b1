"""Rows of files for requests and labels."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from mlops_runtime.serving.row_file import RowFile, RowFileError, has_header
from mlops_runtime.training_data import csv_file


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_parquet_gives_values_that_json_has(tmp_path: Path) -> None:
    """NaN is null, times are ISO 8601, a decimal is a number; pandas' index is not a column."""
    path = tmp_path / "rows.parquet"
    table = pa.table(
        {
            "price": pa.array([2.5, float("nan"), None]),
            "units": pa.array([1, 2, None], pa.int64()),
            "store": pa.array(["007", None, "b"]).dictionary_encode(),
            "open": pa.array([True, None, False]),
            "cost": pa.array([Decimal("1.10"), None, None]),
            "day": pa.array([date(2017, 8, 7), None, None]),
            "at": pa.array([datetime(2017, 8, 7, 6, tzinfo=UTC), None, None]),
            "embedding": pa.array([[1.0, 2.0], None, []]),
            "__index_level_0__": pa.array([0, 1, 2]),
        }
    )
    parquet.write_table(table, path)
    rows = RowFile.open(path)

    (piece,) = rows.pieces()
    assert json.loads(json.dumps(piece[0])) == {
        "price": 2.5,
        "units": 1,
        "store": "007",
        "open": True,
        "cost": 1.1,
        "day": "2017-08-07",
        "at": "2017-08-07T06:00:00+00:00",
        "embedding": [1.0, 2.0],
    }
    assert set(piece[1].values()) == {None, 2}
    assert rows.values("store") == ["007", None, "b"]
    assert [len(part) for part in rows.pieces(["price"], size=2)] == [2, 1]


def test_csv_keeps_what_is_no_number(tmp_path: Path) -> None:
    """One non-numeric value makes its column text; leading zeros and bar codes are texts."""
    path = _write(
        tmp_path,
        "rows.csv",
        "\ufeffprice,units,store,code,open,note,size\n2.5,1,007,4006381333931123,true,,-1e3\n,2,010,,False,x y,\n\n",
    )
    rows = RowFile.open(path)
    assert [row for piece in rows.pieces() for row in piece] == [
        {
            "price": 2.5,
            "units": 1,
            "store": "007",
            "code": "4006381333931123",
            "open": True,
            "note": None,
            "size": -1000.0,
        },
        {"price": None, "units": 2, "store": "010", "code": None, "open": False, "note": "x y", "size": None},
    ]
    assert RowFile.open(path, texts=["units"]).values("units") == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Straße;Preis;Menge\nAm Graben;1.234,50;3\nHof;NA;4\n", "latin-1"),
        ("Straße;Preis;Menge\nAm Graben;1.234,50;1000\nHof;2,5;2000\n", "utf-8-sig"),
        ("street\tprice\tunits\nLane\t1,234.50\t1,000\nYard\t\t2,000\n", "utf-16"),
        ('street,price,units\nLane,"1,234.50",3\nYard,2.5,#N/A\n', "utf-8"),
    ],
)
def test_a_sheet_has_the_values_that_it_was_trained_on_with(text: str, encoding: str, tmp_path: Path) -> None:
    """Agrees with DuckDB, which reads training sets."""
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding=encoding)
    connection = duckdb.connect()
    csv_file.create_rows(connection, path, str(path))
    names = [name for name, *_ in connection.execute("DESCRIBE rows").fetchall()]
    trained = [dict(zip(names, row, strict=True)) for row in connection.execute("SELECT * FROM rows").fetchall()]

    assert [row for piece in RowFile.open(path).pieces() for row in piece] == trained


def test_fails_on_commas_and_points_in_one_sheet(tmp_path: Path) -> None:
    """As in a training set's file: a thousand could be a one."""
    path = _write(tmp_path, "rows.csv", "price;cost\n1,5;2.5\n")

    with pytest.raises(
        RowFileError, match="numbers of 'price' have decimal commas, those of 'cost' decimal points; write all"
    ):
        RowFile.open(path)


def test_json_lines_may_leave_columns_out(tmp_path: Path) -> None:
    """Missing values are null; columns are those of all rows in order of appearance."""
    path = _write(tmp_path, "rows.jsonl", '{"price": 2.5, "store": "1"}\n\n{"store": 7, "day": null}\n')
    rows = RowFile.open(path)
    assert rows.columns == ("price", "store", "day")
    assert list(rows.pieces(["day", "price"])) == [[{"day": None, "price": 2.5}, {"day": None, "price": None}]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rows.txt", "a\n1\n", "a file of rows must end in .parquet, .pq, .csv, .jsonl, .ndjson, got 'rows.txt'"),
        ("rows.csv", "", "rows.csv has no columns"),
        ("rows.csv", "1.5,2\n1,2\n", "rows.csv begins with numbers instead of column names; add a header"),
        ("rows.csv", "a,b,a\n1,2,3\n", "rows.csv has the column 'a' more than once; rename one of them"),
        ("rows.csv", "a,,b\n1,2,3\n", "column 2 of rows.csv has no name; give it one"),
        ("rows.csv", "a,b\n1,2\n3\n", "line 3 of rows.csv has 1 values, the header 2"),
        ("rows.csv", 'a,b\n"1"x,2\n', "rows.csv is not CSV: "),
        ("rows.jsonl", "[1]\n", "line 1 of rows.jsonl is not an object such as "),
        ("rows.jsonl", '{"a": 1}\n{', "rows.jsonl is not JSON lines: "),
        ("rows.parquet", "PAR1", "rows.parquet is not Parquet: "),
    ],
)
def test_fails_on_a_file_that_has_no_rows(name: str, text: str, words: str, tmp_path: Path) -> None:
    """The error has the file and the line."""
    path = _write(tmp_path, name, text)
    with pytest.raises(RowFileError) as caught:
        RowFile.open(path)
    assert str(caught.value).startswith(words)


def test_fails_on_a_column_that_is_not_there(tmp_path: Path) -> None:
    """The error lists the existing ones."""
    path = _write(tmp_path, "rows.csv", "price,store\n1,a\n")
    with pytest.raises(RowFileError, match=r"rows.csv has no column 'day', 'id'; it has price, store"):
        RowFile.open(path).require(["price", "day", "id"])
    with pytest.raises(RowFileError, match="has no column 'code'"):
        RowFile.open(path, texts=["code"])
    with pytest.raises(RowFileError, match=r"file '.*none.csv' not found"):
        RowFile.open(tmp_path / "none.csv")


def test_fails_on_values_that_json_does_not_have(tmp_path: Path) -> None:
    """Rejects bytes and infinite numbers."""
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"key": pa.array([b"x"]), "price": pa.array([float("inf")])}), path)
    with pytest.raises(RowFileError, match=r"column 'key' of rows.parquet contains bytes"):
        RowFile.open(path).values("key")
    with pytest.raises(RowFileError, match=r"column 'price' of rows.parquet contains inf, which JSON does not have"):
        RowFile.open(path).values("price")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("price,store\n1,a\n", True),
        ("1.5,a\n", False),
        ("a,\n", False),
        ("a,a\n", False),
        ("", False),
        ("007,b\n", True),
    ],
)
def test_a_header_has_no_numbers(text: str, answer: bool, tmp_path: Path) -> None:
    """A request in the model's column order has numbers; one of texts only looks like a header."""
    assert has_header(_write(tmp_path, "rows.csv", text)) is answer
