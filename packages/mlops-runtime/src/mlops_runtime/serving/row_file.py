"""Rows of a Parquet, CSV or JSON lines file, a piece at a time, as values that JSON has."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Literal

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
_BOOLEANS = {"true": True, "false": False}
_INTEGER_DIGITS = 15  # a longer one is an identifier: a float would round it


class RowFileError(ValueError):
    """A file of rows that cannot be read, or has not the columns that were named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """A file of rows; nothing of it is held between two pieces.

    A column of a CSV is numbers where every value is one, without leading zeros and of at most 15 digits, else texts: ``007`` and
    bar codes stay what they are. An empty value is null.

    Args:
        path: The file.
        format: What it holds.
        columns: Names of its columns.
        numbers: Columns of a CSV that are numbers.
        booleans: Columns of a CSV that are ``true`` and ``false``.
    """

    path: Path
    format: Format
    columns: tuple[str, ...]
    numbers: frozenset[str] = frozenset()
    booleans: frozenset[str] = frozenset()

    @classmethod
    def open(cls, path: Path, *, texts: Sequence[str] = ()) -> "RowFile":
        """Return the rows of a file; its columns are read first.

        Args:
            path: A file that ends in ``.parquet``, ``.csv`` with a header, or ``.jsonl``.
            texts: Columns of a CSV that are texts although each value is a number.

        Raises:
            RowFileError: If it is missing, empty, of another kind, or cannot be read.
        """
        kind = FORMATS.get(path.suffix.lower())
        if kind is None:
            raise RowFileError(f"a file of rows ends in {', '.join(FORMATS)}, got {path.name!r}")
        if not path.is_file():
            raise RowFileError(f"file {str(path)!r} not found")
        found = _OPEN[kind](path)
        found.require(texts)
        if kind != "csv":
            return found
        numbers, booleans = found._kinds()
        return cls(path=path, format=kind, columns=found.columns, numbers=numbers.difference(texts), booleans=booleans)

    def require(self, columns: Sequence[str]) -> None:
        """Check that columns are there.

        Raises:
            RowFileError: If one is missing; names those that there are.
        """
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise RowFileError(
                f"{self.path.name} has no column {', '.join(map(repr, missing))}; it has {', '.join(self.columns)}"
            )

    def pieces(self, columns: Sequence[str] | None = None, *, size: int = _PIECE) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows in order, some at a time, each its value by column; null where a row has none.

        Args:
            columns: Which columns. Default: all.
            size: The most rows of a piece.

        Raises:
            RowFileError: If the file turns out not to be what it seemed, or holds values that JSON does not have.
        """
        chosen = self.columns if columns is None else tuple(columns)
        self.require(chosen)
        rows = {"parquet": self._parquet, "csv": self._csv, "jsonl": self._jsonl}[self.format](chosen)
        while piece := list(islice(rows, size)):
            yield piece

    def values(self, column: str) -> list[Any]:
        """Return a column as a list."""
        return [row[column] for piece in self.pieces([column]) for row in piece]

    def _parquet(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        from pyarrow import parquet  # noqa: PLC0415 - CSV and JSON lines need none of it

        with parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_PIECE, columns=list(columns)):
                for row in batch.select(list(columns)).to_pylist():
                    yield {name: self._plain(name, value) for name, value in row.items()}

    def _csv(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        places = [(name, self.columns.index(name)) for name in columns]
        for texts in self._csv_rows():
            yield {name: self._typed(name, texts[place]) for name, place in places}

    def _csv_rows(self) -> Iterator[list[str]]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.reader(file, strict=True)
                next(rows)
                for texts in rows:
                    if not texts:
                        continue
                    if len(texts) != len(self.columns):
                        raise RowFileError(
                            f"line {rows.line_num} of {self.path.name} has {len(texts)} values, the header {len(self.columns)}"
                        )
                    yield texts
        except (csv.Error, UnicodeDecodeError) as error:
            raise RowFileError(f"{self.path.name} is not CSV of UTF-8: {error}") from error

    def _kinds(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return which columns of a CSV hold numbers and which truth values, by all of their values."""
        numbers, booleans, filled = set(range(len(self.columns))), set(range(len(self.columns))), set[int]()
        for texts in self._csv_rows():
            filled.update(place for place, text in enumerate(texts) if text)
            numbers.difference_update([place for place in numbers if texts[place] and not _is_number(texts[place])])
            booleans.difference_update(
                [place for place in booleans if texts[place] and texts[place].lower() not in _BOOLEANS]
            )
        names = self.columns
        return frozenset(names[p] for p in numbers & filled), frozenset(names[p] for p in booleans & filled)

    def _typed(self, column: str, text: str) -> Any:
        if not text:
            return None
        if column in self.numbers:
            return json.loads(text)
        return _BOOLEANS[text.lower()] if column in self.booleans else text

    def _jsonl(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        for row in _json_rows(self.path):
            yield {name: self._plain(name, row.get(name)) for name in columns}

    def _plain(self, column: str, value: Any) -> Any:
        """Return a value as JSON has it: a NaN is a null, a time is ISO 8601."""
        if value is None or isinstance(value, str | int):
            return value
        if isinstance(value, float | Decimal):
            number = float(value)
            if math.isinf(number):
                raise RowFileError(f"column {column!r} of {self.path.name} holds {number}, which JSON does not have")
            return None if math.isnan(number) else number
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, list):
            return [self._plain(column, each) for each in value]
        raise RowFileError(
            f"column {column!r} of {self.path.name} holds {type(value).__name__}; a row has numbers, texts, times, lists and nulls"
        )


def has_header(path: Path) -> bool:
    """Return whether a CSV begins with names: a line without a number, an empty value or a name that comes twice.

    Raises:
        RowFileError: If it is not CSV.
    """
    names = _first_line(path)
    return bool(names) and len(set(names)) == len(names) and not any(not name or _is_number(name) for name in names)


def _first_line(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise RowFileError(f"{path.name} is not CSV of UTF-8: {error}") from error


def _open_parquet(path: Path) -> RowFile:
    from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - CSV and JSON lines need none of it

    try:
        names = parquet.read_schema(path).names
    except (ArrowInvalid, OSError) as error:
        raise RowFileError(f"{path.name} is not Parquet: {error}") from error
    # what pandas makes of a frame's index
    return _checked(path, "parquet", [name for name in names if not name.startswith("__index_level_")])


def _open_csv(path: Path) -> RowFile:
    names = _first_line(path)
    if names and all(map(_is_number, names)):
        raise RowFileError(f"{path.name} begins with numbers, not with the names of its columns; add a header")
    return _checked(path, "csv", names)


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


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise RowFileError(f'line {number} of {path.name} is not an object, such as {{"price": 2.5}}')
                yield row
    except (ValueError, RecursionError) as error:
        if isinstance(error, RowFileError):
            raise
        raise RowFileError(f"{path.name} is not JSON lines: {error}") from error


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and (not text.lstrip("-").isdigit() or len(text) <= _INTEGER_DIGITS)


_OPEN = {"parquet": _open_parquet, "csv": _open_csv, "jsonl": _open_jsonl}
