"""CSV files as spreadsheets of any country write them: the dialect that their bytes show, and their rows."""

import csv
import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_runtime.training_data.csv_file import CsvDialect, mixes_line_ends
from mlops_runtime.training_data.table_file import TableError, as_time, open_table


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Preis;Größe\n1,5;2\n".encode("latin-1"), CsvDialect("latin-1", ";")),
        ("Preis;Größe\n1,5;2\n".encode(), CsvDialect("utf-8", ";")),
        (b"price,a;b\n", CsvDialect("utf-8", ",")),
        ("price\tsize\n".encode("utf-16"), CsvDialect("utf-16", "\t")),
        (b"price\tsize\n", CsvDialect("utf-8", "\t")),
        (b"price\n1,5\n", CsvDialect("utf-8", ",")),
        (b"", CsvDialect("utf-8", ",")),
        (b"name\n" + b"x" * ((1 << 20) - 6) + "ß".encode(), CsvDialect("utf-8", ",")),
        (b"name\n" + b"x" * (1 << 20) + b"\xdf", CsvDialect("latin-1", ",")),
        (b"name\nM\xc3", CsvDialect("latin-1", ",")),
    ],
)
def test_a_files_bytes_say_how_it_is_written(content: bytes, expected: CsvDialect, tmp_path: Path) -> None:
    """This includes a character split across two reads, and invalid UTF-8 late in the file."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    assert CsvDialect.of(path) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"a\n1\n2", False), (b"a\r\n1\r\n2", False), (b"a\r\n1\n", True), (b"a\n1\r\n", True), (b"", False)],
)
def test_lines_that_end_in_two_ways_are_seen(content: bytes, expected: bool, tmp_path: Path) -> None:
    """Concatenated files are an example; the last line needs no line ending."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    assert mixes_line_ends(path) is expected


EURO = [["12,5", "1.234,50"], ["3,25", "17,00"]]


def write(
    folder: Path, header: list[str], rows: list[list[Any]], *, delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    """Write a file in the format of a spreadsheet."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    path = folder / "rows.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def kinds(path: Path) -> dict[str, str]:
    """Return the types of columns."""
    with open_table(path) as table:
        return {name: column.kind for name, column in table.columns.items()}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_european_sheet_has_numbers(tmp_path: Path, encoding: str) -> None:
    """It has semicolons, decimal commas, points as thousands separators, and umlauts, in the usual encodings."""
    path = write(tmp_path, ["Größe", "Preis"], EURO, delimiter=";", encoding=encoding)
    with open_table(path) as table:
        assert table.rows("SELECT * FROM rows") == [(12.5, 1234.5), (3.25, 17.0)]
        assert list(table.columns) == ["Größe", "Preis"]


def test_thousands_of_an_english_sheet_are_numbers(tmp_path: Path) -> None:
    """They are quoted, because the comma is the delimiter; ambiguous columns are read like the others."""
    path = write(tmp_path, ["a", "b"], [["1,234.5", "1,234"], ["17", "2,345"]])
    with open_table(path) as table:
        assert table.rows("SELECT * FROM rows") == [(1234.5, 1234.0), (17.0, 2345.0)]


def test_numbers_of_two_countries_are_refused(tmp_path: Path) -> None:
    """A string such as 1.234 would be ambiguous."""
    path = write(tmp_path, ["a", "b"], [["1,5", "1.234"], ["2,5", "3.5"]], delimiter=";")
    with pytest.raises(
        TableError, match="numbers of 'a' have decimal commas, those of 'b' decimal points; write all with"
    ):
        kinds(path)


def test_what_stands_for_nothing_is_null(tmp_path: Path) -> None:
    """Null strings are those of pandas; any other text makes a column of strings."""
    rows = [["NA", "1.5", "cheap"], ["2.5", "#N/A", "1.5"], ["", "NaN", "2.5"]]
    assert kinds(write(tmp_path, ["a", "b", "c"], rows)) == {"a": "float", "b": "float", "c": "text"}


@pytest.mark.parametrize(
    "written",
    [
        "{0:%d.%m.%Y}", "{0:%Y/%m/%d}", "{0:%m/%d/%Y} 12:00 AM", "{0:%Y%m%d}", "{0:%b} {0.day} {0.year}", "{0}T02:00:00+02:00",
    ],
)  # fmt: skip
def test_times_of_many_hands_are_read(tmp_path: Path, written: str) -> None:
    """Dates with dots have the day first; times with an offset are UTC."""
    days = [date(2025, 11, 1) + timedelta(days=each) for each in range(29)]
    path = write(tmp_path, ["time", "x"], [[written.format(day), 1] for day in days])
    with open_table(path) as table:
        at = as_time(table.columns["time"])
        found = [moment.date() for (moment,) in table.rows(f"SELECT {at} FROM rows")]  # noqa: S608 - of a test
    assert found == days


@pytest.mark.parametrize(
    ("number", "time"),
    [
        (2025, "2025-01-01 00:00:00"),
        (202511, "2025-11-01 00:00:00"),
        (20251127, "2025-11-27 00:00:00"),
        (1764201600, "2025-11-27 00:00:00"),
        (1764201600.5, "2025-11-27 00:00:00"),
        (1764201600000, "2025-11-27 00:00:00"),
        (1764201600000000, "2025-11-27 00:00:00"),
        (1764201600000000000, "2025-11-27 00:00:00"),
        (81, "None"),
        (20251399, "None"),
    ],
)
def test_integers_may_count_times(tmp_path: Path, number: float, time: str) -> None:
    """Their number of digits determines the unit."""
    with open_table(write(tmp_path, ["time", "x"], [[number, 1], [number, 2]])) as table:
        assert str(table.rows(f"SELECT {as_time(table.columns['time'])} FROM rows")[0][0]) == time  # noqa: S608 - of a test
