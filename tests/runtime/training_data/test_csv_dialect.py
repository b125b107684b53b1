"""Dialects of CSV files: what a file's own bytes say."""

from pathlib import Path

import pytest

from mlops_runtime.training_data.csv_dialect import CsvDialect, mixes_line_ends


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
    """Also where a letter lies across two pieces that are read, or what is not UTF-8 comes late."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    assert CsvDialect.of(path) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"a\n1\n2", False), (b"a\r\n1\r\n2", False), (b"a\r\n1\n", True), (b"a\n1\r\n", True), (b"", False)],
)
def test_lines_that_end_in_two_ways_are_seen(content: bytes, expected: bool, tmp_path: Path) -> None:
    """As in two files that were joined; the last line needs no end."""
    path = tmp_path / "rows.csv"
    path.write_bytes(content)

    assert mixes_line_ends(path) is expected
