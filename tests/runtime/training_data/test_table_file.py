"""Readable files, and the reasons for rejecting others."""

import sys
from pathlib import Path

import pytest

from mlops_runtime.training_data.table_file import TableError, open_table


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("rows.xlsx", b"", "the data must be a .parquet or .csv file, got"),
        ("rows.parquet", b"no parquet at all", "cannot read"),
        (
            "rows.csv",
            b"a;b\r\n1;2\r\n3;4\n",
            r"its lines have different line endings; make them equal: tr -d '.r' < rows.csv > one_way.csv",
        ),
        ("rows.parquet", None, "is missing; give the path of a .parquet or .csv file, from /"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    """The message contains the name and the reason."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=problem), open_table(tmp_path / name):
        pass


def test_duckdb_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message contains the command that installs it."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(TableError, match=r"pip install 'mlops-runtime\[features\]'"), open_table(tmp_path / "a.csv"):
        pass


def test_names_and_places_are_quoted(tmp_path: Path) -> None:
    """A column or a folder may contain a quotation mark."""
    folder = tmp_path / "it's"
    folder.mkdir()
    (folder / "rows.csv").write_text('"a ""b""",t\n1.5,2025-01-01\n')
    with open_table(folder / "rows.csv") as table:
        assert [(column.name, column.kind) for column in table.columns.values()] == [('a "b"', "float"), ("t", "time")]


@pytest.mark.parametrize("name", ["rows[1].csv", "rows*.csv", "rows?.csv"])
def test_a_name_that_looks_like_a_pattern_is_one_file(tmp_path: Path, name: str) -> None:
    """Another file that matches the pattern is not read."""
    (tmp_path / "rows1.csv").write_text("a\n1\n")
    (tmp_path / name).write_text("a\n2\n")
    with open_table(tmp_path / name) as table:
        assert table.rows("SELECT a FROM rows") == [(2,)]
