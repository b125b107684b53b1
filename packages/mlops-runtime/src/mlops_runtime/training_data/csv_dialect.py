"""Dialect of a CSV file from a spreadsheet of any locale: encoding, delimiter, nulls, decimal commas, thousands separators."""

import codecs
from dataclasses import dataclass
from pathlib import Path

# the strings that pandas reads as missing, except "None" and "-", which may be categories
NULLS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null")
COMMA = r"-?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?"  # 1.234,5
POINT = r"-?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?"  # 1,234.5
LONGEST_LINE = 100_000  # maximum bytes read of the first line
_PIECE = 1 << 20
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """Dialect of one file.

    Args:
        encoding: ``utf-16``, ``utf-8``, or ``latin-1`` if the file is not valid UTF-8.
        delimiter: A comma, or the delimiter in the first line if that has no comma.
    """

    encoding: str
    delimiter: str

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
