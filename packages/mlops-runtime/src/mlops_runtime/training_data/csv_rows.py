"""Load a CSV file from a spreadsheet of any locale into DuckDB: encoding, nulls, decimal commas, thousands separators.

DuckDB detects delimiter, quotes, header and column types; this module converts numbers that it reads as text.
"""

from pathlib import Path
from typing import Any

from mlops_runtime.training_data.csv_dialect import COMMA, LONGEST_LINE, NULLS, POINT, given_delimiter, is_utf_16


class CsvError(ValueError):
    """Numbers of a file cannot be read; the message has the columns and the fix."""


def create_rows(connection: Any, path: Path, place: str) -> None:
    """Create the table ``rows`` from a file.

    Args:
        connection: A connection of DuckDB.
        path: The file.
        place: Path of the file, quoted for SQL.

    Raises:
        CsvError: If some numbers have decimal commas and others decimal points.
        duckdb.Error: If it cannot be read.
    """
    import duckdb  # noqa: PLC0415 - an extra

    nulls = ", ".join(f"'{text}'" for text in NULLS)
    with path.open("rb") as file:
        first = file.readline(LONGEST_LINE)
    encoding = "utf-16" if is_utf_16(first) else "utf-8"
    given = given_delimiter(first)
    delimiter = f"delim='{given}', " if given else ""
    create = f"CREATE TABLE rows AS SELECT * FROM read_csv('{place}', {delimiter}nullstr=[{nulls}], encoding="  # noqa: S608 - quoted
    try:
        connection.execute(f"{create}'{encoding}')")
    except duckdb.Error as error:
        if encoding != "utf-8" or "not utf-8 encoded" not in str(error):
            raise
        connection.execute(f"{create}'latin-1')")
    _convert(connection)


def _convert(connection: Any) -> None:
    """Convert text columns to numbers if all their values are numbers with decimal commas or thousands separators."""
    kinds = {name: sql for name, sql, *_ in connection.execute("DESCRIBE rows").fetchall()}
    texts = [name for name, sql in kinds.items() if sql == "VARCHAR"]
    if not texts:
        return
    counts = ", ".join(
        f"count({name}), count(*) FILTER (regexp_full_match({name}, '{COMMA}')), "
        f"count(*) FILTER (regexp_full_match({name}, '{POINT}'))"
        for name in map(_quoted, texts)
    )
    found = connection.execute(f"SELECT {counts} FROM rows").fetchone()  # noqa: S608 - quoted
    triples = zip(texts, found[::3], found[1::3], found[2::3], strict=True)
    filled = [(name, commas == whole, points == whole) for name, whole, commas, points in triples if whole]
    commas = [name for name, is_comma, is_point in filled if is_comma and not is_point]
    points = [name for name, is_comma, is_point in filled if is_point and not is_comma]
    either = [name for name, is_comma, is_point in filled if is_point and is_comma]  # 1,234
    read_points = [name for name, sql in kinds.items() if sql in ("DOUBLE", "FLOAT")] + points
    if commas and read_points:
        raise CsvError(
            f"numbers of {', '.join(map(repr, commas))} have decimal commas, those of {', '.join(map(repr, read_points))} decimal "
            "points; write all with points"
        )
    for name in commas + (either if commas else []):
        _replace(connection, name, f"replace(replace({_quoted(name)}, '.', ''), ',', '.')")
    for name in points + (either if read_points else []):
        _replace(connection, name, f"replace({_quoted(name)}, ',', '')")


def _replace(connection: Any, name: str, number: str) -> None:
    connection.execute(
        f"ALTER TABLE rows ALTER COLUMN {_quoted(name)} SET DATA TYPE DOUBLE USING CAST({number} AS DOUBLE)"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
