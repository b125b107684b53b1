"""Read rows of Parquet, CSV or JSON lines files in batches, as JSON values."""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mlops_runtime.training_data.csv_file import COMMA, NULLS, POINT, CsvDialect

Format = Literal["parquet", "csv", "jsonl"]
FORMATS: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_PIECE = 2000
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COMMA, _POINT = re.compile(COMMA), re.compile(POINT)
_BOOLEANS = {"true": True, "false": False}
_INTEGER_DIGITS = 15  # longer integers are identifiers, which a float would round


class RowFileError(ValueError):
    """A file of rows is unreadable, or lacks requested columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """A file of rows, which is read in batches.

    A CSV may use the conventions of any country, like those of training sets (``training_data.csv_file``). A CSV column is
    numeric if every value is a number without leading zeros and with at most 15 digits, else text: ``007`` and bar codes are not
    changed. Empty values, and strings that pandas reads as missing, are null.
    """

    path: Path  # the file
    format: Format
    columns: tuple[str, ...]
    dialect: CsvDialect | None = None  # dialect of a CSV. Default: not a CSV
    numbers: frozenset[str] = frozenset()  # numeric columns of a CSV
    commas: frozenset[str] = frozenset()  # numeric columns of a CSV with decimal commas
    points: frozenset[str] = frozenset()  # numeric columns of a CSV with thousands separators and decimal points
    booleans: frozenset[str] = frozenset()  # columns of a CSV with `true` and `false`

    @classmethod
    def open(cls, path: Path, *, texts: Sequence[str] = ()) -> "RowFile":
        """Open a file and read its columns.

        Args:
            path: A file that ends in ``.parquet``, ``.csv`` with a header, or ``.jsonl``.
            texts: CSV columns to read as text although each value is a number.

        Raises:
            RowFileError: If it is missing, empty, of another format, or unreadable.
        """
        kind = FORMATS.get(path.suffix.lower())
        if kind is None:
            raise RowFileError(f"a file of rows must end in {', '.join(FORMATS)}, got {path.name!r}")
        if not path.is_file():
            raise RowFileError(f"file {str(path)!r} not found")
        found = _OPEN[kind](path)
        found.require(texts)
        if kind != "csv":
            return found
        return found._with_kinds(frozenset(texts))

    def require(self, columns: Sequence[str]) -> None:
        """Check that columns exist.

        Raises:
            RowFileError: If one is missing; names the existing ones.
        """
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise RowFileError(
                f"{self.path.name} has no column {', '.join(map(repr, missing))}; it has {', '.join(self.columns)}"
            )

    def pieces(self, columns: Sequence[str] | None = None, *, size: int = _PIECE) -> Iterator[list[dict[str, object]]]:
        """Yield the rows in order, in batches, each as value by column; missing values are null.

        Args:
            columns: The columns to read. Default: all.
            size: Maximum rows per batch.

        Raises:
            RowFileError: If the file is invalid, or contains values that JSON does not have.
        """
        chosen = self.columns if columns is None else tuple(columns)
        self.require(chosen)
        rows = {"parquet": self._parquet, "csv": self._csv, "jsonl": self._jsonl}[self.format](chosen)
        while piece := list(islice(rows, size)):
            yield piece

    def values(self, column: str) -> list[Any]:
        """Return a column as a list."""
        return [row[column] for piece in self.pieces([column]) for row in piece]

    def _parquet(self, columns: Sequence[str]) -> Iterator[dict[str, object]]:
        from pyarrow import parquet  # noqa: PLC0415 - CSV and JSON lines need none of it

        with parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_PIECE, columns=list(columns)):
                for row in batch.select(list(columns)).to_pylist():
                    yield {name: self._plain(name, value) for name, value in row.items()}

    def _csv(self, columns: Sequence[str]) -> Iterator[dict[str, object]]:
        places = [(name, self.columns.index(name)) for name in columns]
        for texts in self._csv_rows():
            yield {name: self._typed(name, texts[place]) for name, place in places}

    def _csv_rows(self) -> Iterator[list[str]]:
        try:
            with _lines(self.path, self.dialect or CsvDialect.of(self.path)) as rows:
                next(rows)
                for texts in rows:
                    if not texts:
                        continue
                    if len(texts) != len(self.columns):
                        raise RowFileError(
                            f"line {rows.line_num} of {self.path.name} has {len(texts)} values, the header {len(self.columns)}"
                        )
                    yield ["" if text in NULLS else text for text in texts]
        except (csv.Error, UnicodeError) as error:
            raise RowFileError(f"{self.path.name} is not CSV: {error}") from error

    def _with_kinds(self, texts: frozenset[str]) -> "RowFile":
        """Return a CSV file with the types of its columns, detected from all values."""
        possible, filled, dotted = [set(_FORMS) for _ in self.columns], set[int](), set[int]()
        for row in self._csv_rows():
            for place, text in enumerate(row):
                if not text:
                    continue
                filled.add(place)
                if "." in text:
                    dotted.add(place)
                possible[place].difference_update([form for form in possible[place] if not _FORMS[form](text)])
        found = {name: possible[place] for place, name in enumerate(self.columns) if place in filled}
        plain = {name for name, forms in found.items() if "numbers" in forms}
        commas = {name for name, forms in found.items() if forms == {"commas"}}
        points = {name for name, forms in found.items() if forms == {"points"}}
        either = {name for name, forms in found.items() if forms == {"commas", "points"}}  # 1,234
        read_points = points | {self.columns[place] for place in dotted if self.columns[place] in plain}
        if commas and read_points:
            raise RowFileError(
                f"numbers of {', '.join(map(repr, sorted(commas)))} have decimal commas, those of "
                f"{', '.join(map(repr, sorted(read_points)))} decimal points; write all with points"
            )
        return replace(
            self,
            numbers=frozenset(plain) - texts,
            commas=frozenset(commas | either if commas else ()) - texts,
            points=frozenset(points | either if read_points else ()) - texts,
            booleans=frozenset(name for name, forms in found.items() if "booleans" in forms),
        )

    def _typed(self, column: str, text: str) -> Any:
        if not text:
            return None
        if column in self.numbers:
            return json.loads(text)
        if column in self.commas:
            return json.loads(_without_commas(text))
        if column in self.points:
            return json.loads(text.replace(",", ""))
        return _BOOLEANS[text.lower()] if column in self.booleans else text

    def _jsonl(self, columns: Sequence[str]) -> Iterator[dict[str, object]]:
        for row in _json_rows(self.path):
            yield {name: self._plain(name, row.get(name)) for name in columns}

    def _plain(self, column: str, value: Any) -> Any:
        """Return the JSON form of a value: null for NaN, ISO 8601 for times."""
        if value is None or isinstance(value, str | int):
            return value
        if isinstance(value, float | Decimal):
            number = float(value)
            if math.isinf(number):
                raise RowFileError(f"column {column!r} of {self.path.name} contains {number}, which JSON does not have")
            return None if math.isnan(number) else number
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, list):
            return [self._plain(column, each) for each in value]
        raise RowFileError(
            f"column {column!r} of {self.path.name} contains {type(value).__name__}; use numbers, texts, times, lists and nulls"
        )


def has_header(path: Path) -> bool:
    """Return whether a CSV has a header: a first line without numbers, empty values or duplicates.

    Raises:
        RowFileError: If it is not CSV.
    """
    names = _first_line(path, CsvDialect.of(path))
    return bool(names) and len(set(names)) == len(names) and not any(not name or _is_number(name) for name in names)


@contextmanager
def _lines(path: Path, dialect: CsvDialect) -> Iterator[Any]:
    with path.open(encoding="utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding, newline="") as file:
        yield csv.reader(file, delimiter=dialect.delimiter, strict=True)


def _first_line(path: Path, dialect: CsvDialect) -> list[str]:
    try:
        with _lines(path, dialect) as rows:
            return next(rows, [])
    except (csv.Error, UnicodeError) as error:
        raise RowFileError(f"{path.name} is not CSV: {error}") from error


def _open_parquet(path: Path) -> RowFile:
    from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - CSV and JSON lines need none of it

    try:
        names = parquet.read_schema(path).names
    except (ArrowInvalid, OSError) as error:
        raise RowFileError(f"{path.name} is not Parquet: {error}") from error
    # without the columns in which pandas stores a frame's index
    return _checked(path, "parquet", [name for name in names if not name.startswith("__index_level_")])


def _open_csv(path: Path) -> RowFile:
    dialect = CsvDialect.of(path)
    names = _first_line(path, dialect)
    if names and all(map(_is_number, names)):
        raise RowFileError(f"{path.name} begins with numbers instead of column names; add a header")
    return replace(_checked(path, "csv", names), dialect=dialect)


def _open_jsonl(path: Path) -> RowFile:
    names: dict[str, None] = {}
    for row in _json_rows(path):
        names.update(dict.fromkeys(row))
    return _checked(path, "jsonl", list(names))


def _checked(path: Path, kind: Format, names: Sequence[str]) -> RowFile:
    if not names:
        raise RowFileError(f"{path.name} has no columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RowFileError(
            f"{path.name} has the column {', '.join(map(repr, twice))} more than once; rename one of them"
        )
    if "" in names:
        raise RowFileError(f"column {names.index('') + 1} of {path.name} has no name; give it one")
    return RowFile(path=path, format=kind, columns=tuple(names))


def _json_rows(path: Path) -> Iterator[dict[str, object]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise RowFileError(f'line {number} of {path.name} is not an object such as {{"price": 2.5}}')
                yield row
    except (ValueError, RecursionError) as error:
        if isinstance(error, RowFileError):
            raise
        raise RowFileError(f"{path.name} is not JSON lines: {error}") from error


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and (not text.lstrip("-").isdigit() or len(text) <= _INTEGER_DIGITS)


def _without_commas(text: str) -> str:
    return text.replace(".", "").replace(",", ".")


def _is_with_commas(text: str) -> bool:
    return _COMMA.fullmatch(text) is not None and _is_number(_without_commas(text))


def _is_with_points(text: str) -> bool:
    return _POINT.fullmatch(text) is not None and _is_number(text.replace(",", ""))


def _is_boolean(text: str) -> bool:
    return text.lower() in _BOOLEANS


_FORMS: Mapping[str, Callable[[str], bool]] = {
    "numbers": _is_number,
    "commas": _is_with_commas,
    "points": _is_with_points,
    "booleans": _is_boolean,
}
_OPEN = {"parquet": _open_parquet, "csv": _open_csv, "jsonl": _open_jsonl}
