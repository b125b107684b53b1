"""CSV file from a spreadsheet of any locale: encoding, delimiter, nulls, decimal commas, thousands separators.

DuckDB detects delimiter, quotes, header and column types when it loads rows; this module converts numbers that it reads as text.
"""

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# the strings that pandas reads as missing, except "None" and "-", which may be categories
NULLS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null")
COMMA = r"-?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?"  # 1.234,5
POINT = r"-?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?"  # 1,234.5
LONGEST_LINE = 100_000  # maximum bytes read of the first line
_PIECE = 1 << 20
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """Dialect of one file."""

    encoding: str  # `utf-16`, `utf-8`, or `latin-1` if the file is not valid UTF-8
    delimiter: str  # a comma, or the delimiter in the first line if that has no comma

    @classmethod
    def of(cls, path: Path) -> "CsvDialect":
        """Detect the dialect of a file by reading it once.

        Example:
            >>> import pathlib, tempfile
            >>> file = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
            >>> _ = file.write_bytes("Straße;Preis".encode("latin-1"))
            >>> CsvDialect.of(file)
            CsvDialect(encoding='latin-1', delimiter=';')
        """
        with path.open("rb") as file:
            first = file.readline(LONGEST_LINE)
        return cls(encoding=_encoding(path, first), delimiter=given_delimiter(first) or ",")


class CsvError(ValueError):
    """Numbers of a file cannot be read; the message has the columns and the fix."""


def given_delimiter(first: bytes) -> str | None:
    """Return the delimiter that the first line of a file shows; None if the line has a comma, or no known delimiter."""
    # without it, a reader might split a file with decimal commas in every column at these
    return None if b"," in first else next((each.decode() for each in (b";", b"\t") if each in first), None)


def is_utf_16(first: bytes) -> bool:
    """Return whether a file's first bytes are a byte order mark of UTF-16."""
    return first[:2] in _UTF_16


def mixes_line_ends(path: Path) -> bool:
    r"""Return whether some lines of a file end with ``\r\n`` and others with ``\n``, as after joining two files.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "rows.csv"
        >>> _ = file.write_bytes(b"a\r\n1\n")
        >>> mixes_line_ends(file)
        True
    """
    with path.open("rb") as file:
        ends = [line.endswith(b"\r\n") for line in file if line.endswith(b"\n")]
    return any(ends) and not all(ends)


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


def _encoding(path: Path, first: bytes) -> str:
    if is_utf_16(first):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
