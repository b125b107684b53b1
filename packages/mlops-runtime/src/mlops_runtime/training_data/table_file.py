"""A Parquet or CSV file as DuckDB reads it: columns, counts, and rows for a training set."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SUFFIXES = {".parquet": "read_parquet", ".pq": "read_parquet", ".csv": "read_csv", ".gz": "read_csv"}
_GLOB = re.compile(r"([*?\[])")
_PANDAS_INDEX = "__index_level_"
GATE_ROWS = 200  # of the holdout, by which the gate decides; a small table holds out more than its share
_HOLDOUT_SHARE = 0.15
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


class TableError(ValueError):
    """A file, or what is asked of it, does not make a training set.

    Args:
        problems: Each with the value got, what is allowed and the fix.
        questions: Columns of which only a person knows whether their values are known at the time of prediction.
    """

    def __init__(self, problems: Sequence[str], questions: Sequence[str] = ()) -> None:
        self.problems, self.questions = tuple(problems), tuple(questions)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileColumn:
    """A column of a file.

    Args:
        name: Its name.
        sql: Its type in DuckDB.
        kind: ``integer``, ``float``, ``boolean``, ``text``, ``time``, or ``other``.
    """

    name: str
    sql: str
    kind: str


class TableFile:
    """A file that is open as the view ``rows``. Use `open_table`."""

    def __init__(self, connection: Any, path: Path) -> None:
        self._connection, self.path = connection, path
        described = connection.execute("DESCRIBE rows").fetchall()
        self.columns = {
            name: FileColumn(name=name, sql=sql, kind=_kind(sql))
            for name, sql, *_ in described
            if not name.startswith(_PANDAS_INDEX)
        }

    def values(self, expressions: Sequence[str], where: str = "TRUE") -> list[Any]:
        """Return aggregates over the rows, one for each SQL expression."""
        if not expressions:
            return []
        query = f"SELECT {', '.join(expressions)} FROM rows WHERE {where}"  # noqa: S608 - names are quoted
        return list(self._connection.execute(query).fetchall()[0])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query over ``rows``."""
        return list(self._connection.execute(query).fetchall())

    def table(self, expressions: Sequence[str], where: str) -> Any:
        """Return columns as an Arrow table."""
        query = f"SELECT {', '.join(expressions)} FROM rows WHERE {where}"  # noqa: S608 - names are quoted
        return self._connection.sql(query).to_arrow_table()


@contextmanager
def open_table(path: Path) -> Iterator[TableFile]:
    """Open a Parquet or CSV file.

    Raises:
        TableError: If DuckDB is missing, or the file is missing, of another kind, or unreadable.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise TableError(["reading a data file needs duckdb; run: pip install 'mlops-runtime[features]'"]) from error
    reader = _SUFFIXES.get(path.suffix.lower())
    if reader is None:
        raise TableError([f"the data must be a .parquet or .csv file, got {str(path)!r}"])
    if not path.is_file():
        raise TableError([f"{str(path)!r} is missing; give the path of a .parquet or .csv file, from {Path.cwd()}"])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            place = _GLOB.sub(r"[\1]", str(path)).replace("'", "''")  # "a[1].csv" is a name here and a pattern there
            connection.execute(f"CREATE TABLE rows AS SELECT * FROM {reader}('{place}')")  # noqa: S608 - quoted
        except duckdb.Error as error:
            raise TableError([f"cannot read {str(path)!r}: {str(error).partition(chr(10))[0]}"]) from error
        yield TableFile(connection, path)


def quoted(name: str) -> str:
    """Return a column's name in SQL.

    Example:
        >>> print(quoted("store"))
        "store"
    """
    return '"' + name.replace('"', '""') + '"'


def as_time(name: str) -> str:
    """Return a column of times, dates or their text as UTC timestamps in SQL."""
    return f"CAST(TRY_CAST({quoted(name)} AS TIMESTAMPTZ) AS TIMESTAMP)"


def usable_rows(table: TableFile, label: str, time: str) -> str:
    """Return the condition of rows that have a label and a time."""
    condition = f"{quoted(label)} IS NOT NULL AND {as_time(time)} IS NOT NULL"
    return f"{condition} AND isfinite({quoted(label)})" if table.columns[label].kind == "float" else condition


def first_of_holdout(table: TableFile, time: str, rows: str, holdout_from: str | None) -> str:
    """Return the first time of the holdout: the last 15 % of the rows, or 200 rows, at most half; never inside one time.

    Args:
        table: The file.
        time: Its column of times.
        rows: The condition of the rows that count.
        holdout_from: The time, where it was given.

    Raises:
        TableError: If the times allow no cut.
    """
    at = as_time(time)
    count, times, first, last = table.values(["count(*)", f"count(DISTINCT {at})", f"min({at})", f"max({at})"], rows)
    if holdout_from is not None:
        try:
            cut = datetime.fromisoformat(holdout_from)
        except ValueError:
            raise TableError([f"--holdout-from must be an ISO 8601 time or date, got {holdout_from!r}"]) from None
        cut = cut if cut.tzinfo is None else cut.astimezone(UTC).replace(tzinfo=None)
        if times and not first < cut <= last:
            raise TableError([f"--holdout-from must be after {first} and not after {last}, got {cut}"])
        return str(cut)
    if times < 3:
        fix = "give --holdout-from, its first time" if times == 2 else "add later rows"
        seen = "1 time" if times == 1 else f"{times} times"
        raise TableError([f"{time!r} has {seen}, fewer than three, of which the last are held out: {fix}"])
    share = max(_HOLDOUT_SHARE, min(0.5, GATE_ROWS / count))
    chosen = table.values([f"quantile_disc({at}, {1 - share})"], rows)[0]
    if chosen == first:
        chosen = table.values([f"min({at})"], f"{rows} AND {at} > TIMESTAMP '{chosen}'")[0]
    return str(chosen)


def _kind(sql: str) -> str:
    plain = sql.partition("(")[0]
    if plain in _INTEGERS:
        return "integer"
    if plain in ("FLOAT", "DOUBLE", "DECIMAL"):
        return "float"
    if plain == "BOOLEAN":
        return "boolean"
    if plain in ("VARCHAR", "ENUM"):
        return "text"
    return "time" if plain == "DATE" or plain.startswith("TIMESTAMP") else "other"
