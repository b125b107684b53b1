"""Read a Parquet or CSV file with DuckDB: columns, aggregates, and rows for a training set."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_runtime.training_data.csv_file import CsvError, create_rows, mixes_line_ends

_PARQUET, _CSV = (".parquet", ".pq"), (".csv", ".tsv", ".txt", ".gz")
_GLOB = re.compile(r"([*?\[])")
_PANDAS_INDEX = "__index_level_"
# formats in addition to DuckDB's own casts; days come before months only with dots, as in most of Europe
_TIME_FORMATS = (
    *("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%b %d %Y", "%B %d, %Y", "%d %b %Y", "%Y/%m/%d %H:%M:%S"),
    *("%Y/%m/%d", "%Y%m%d", "%Y-%m", "%Y-%m-%d %H.%M.%S", "%m/%d/%Y %I:%M %p"),
    "%m/%d/%Y %I:%M:%S %p",
)
_FIRST_SECOND, _LAST_SECOND = 10**8, 7 * 10**9  # in 1973 and 2191
GATE_ROWS = 200  # rows of the holdout that the gate needs; a small table holds out more than its share
_HOLDOUT_SHARE = 0.15
TIME_KINDS = ("time", "text", "integer", "float")
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


class TableError(ValueError):
    """A training set cannot be made from a file, or not as requested.

    Args:
        problems: Each with the value got, what is allowed and the fix.
        questions: Columns for which a person must decide whether their values are known at the time of prediction.
    """

    def __init__(self, problems: Sequence[str], questions: Sequence[str] = ()) -> None:
        self.problems, self.questions = tuple(problems), tuple(questions)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileColumn:
    """A column of a file."""

    name: str
    sql: str  # its type in DuckDB
    kind: str  # `integer`, `float`, `boolean`, `text`, `time`, or `other`


class TableFile:
    """An open file, with its rows in the table ``rows``. Use `open_table`."""

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
    suffix = path.suffix.lower()
    if suffix not in (*_PARQUET, *_CSV):
        fix = "; save the sheet as CSV" if suffix.startswith((".xls", ".ods")) else ""
        raise TableError([f"the data must be a .parquet or .csv file, got {str(path)!r}{fix}"])
    if not path.is_file():
        raise TableError([f"{str(path)!r} is missing; give the path of a .parquet or .csv file, from {Path.cwd()}"])
    if path.stat().st_size == 0:
        raise TableError([f"{str(path)!r} is empty"])
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            place = _GLOB.sub(r"[\1]", str(path)).replace("'", "''")  # "a[1].csv" is a name here and a pattern there
            if suffix in _CSV:
                create_rows(connection, path, place)
            else:
                connection.execute(f"CREATE TABLE rows AS SELECT * FROM read_parquet('{place}')")  # noqa: S608 - quoted
        except (duckdb.Error, CsvError) as error:
            if suffix in _CSV and mixes_line_ends(path):
                fix = f"tr -d '\\r' < {path.name} > one_way.csv"
                raise TableError(
                    [f"cannot read {str(path)!r}: its lines have different line endings; make them equal: {fix}"]
                ) from error
            raise TableError([f"cannot read {str(path)!r}: {_reason(str(error))}"]) from error
        yield TableFile(connection, path)


def _reason(text: str) -> str:
    """Return the lines of a DuckDB error that describe the problem; the first line alone only has a line number."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Original Line")]
    return "; ".join(lines[:2])


def quoted(name: str) -> str:
    """Return a column's name in SQL.

    Example:
        >>> print(quoted("store"))
        "store"
    """
    return '"' + name.replace('"', '""') + '"'


def as_time(column: FileColumn) -> str:
    """Return an SQL expression that converts a column of times, dates, their text, or integers to UTC timestamps.

    Integers are years, months (202511), days (20251127), or seconds, milli-, micro- or nanoseconds since 1970, depending on their
    number of digits.
    """
    name = quoted(column.name)
    if column.kind == "time":
        return f"CAST({name} AS TIMESTAMP)" if "ZONE" not in column.sql else f"CAST({name} AS TIMESTAMPTZ)::TIMESTAMP"
    whole = _counted_time(f"TRY_CAST({name} AS BIGINT)")
    if column.kind != "text":
        return f"CASE WHEN {name} = TRY_CAST({name} AS BIGINT) OR {name} > {_FIRST_SECOND} THEN {whole} END"
    formats = ", ".join(f"'{each}'" for each in _TIME_FORMATS)
    read = f"try_strptime({name}, [{formats}])"
    return f"coalesce(TRY_CAST({name} AS TIMESTAMPTZ)::TIMESTAMP, {read}, {whole})"


def _counted_time(number: str) -> str:
    """Return an SQL expression that converts an integer to a timestamp; NULL outside of the years 1900 to 2200."""
    cases = [
        f"WHEN {number} BETWEEN 1900 AND 2200 THEN make_timestamp({number}, 1, 1, 0, 0, 0)",
        *(
            f"WHEN {number} BETWEEN {low} AND {high} THEN try_strptime(CAST({number} AS VARCHAR), '{form}')"
            for low, high, form in ((190001, 220012, "%Y%m"), (19000101, 22001231, "%Y%m%d"))
        ),
        *(
            f"WHEN {number} BETWEEN {_FIRST_SECOND * unit} AND {_LAST_SECOND * unit} THEN "
            f"make_timestamp(CAST({number} * (1000000.0 / {unit}) AS BIGINT))"
            for unit in (1, 10**3, 10**6, 10**9)
        ),
    ]
    return f"CASE {' '.join(cases)} END"


def usable_rows(table: TableFile, label: str, time: str) -> str:
    """Return the SQL condition for rows with a label and a time."""
    condition = f"{quoted(label)} IS NOT NULL AND {as_time(table.columns[time])} IS NOT NULL"
    return f"{condition} AND isfinite({quoted(label)})" if table.columns[label].kind == "float" else condition


def first_of_holdout(table: TableFile, time: str, rows: str, holdout_from: str | None) -> str:
    """Return the first time of the holdout: the last 15 % of the rows, or 200 rows, at most half; rows of one time stay together.

    Args:
        table: The file.
        time: Its column of times.
        rows: The condition of usable rows.
        holdout_from: The given time, if any.

    Raises:
        TableError: If no split by time is possible.
    """
    at = as_time(table.columns[time])
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
        raise TableError([f"{time!r} has {seen}, fewer than three, the last of which are held out: {fix}"])
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
