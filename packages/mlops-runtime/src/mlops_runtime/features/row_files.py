"""Rows of the Parquet, CSV or JSON lines files at a location in S3 or in a folder, read in pieces.

Everything that can be checked without reading the rows is checked first, for all files at once. A file is cut into pieces at the
same rows each time, so that a piece that was ingested before is recognized by its content.
"""

import io
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast, get_args, runtime_checkable
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from mlops_runtime.features.access_errors import SourceError, allow, refusals
from mlops_runtime.training_data.csv_file import NULLS

Format = Literal["parquet", "csv", "jsonl"]

_FORMATS: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_PIECE_ROWS = 1 << 20
_PIECE_BYTES = 256 << 20
_READ_ROWS = 1 << 16
_BLOCK = 1 << 23  # of a text file, read ahead
_SAMPLE = 1 << 20
_READERS = 16
_SHOWN = 3
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_UNREADABLE = (pa.ArrowException, OSError, UnicodeError)  # Arrow's errors for invalid content
_COLUMN = re.compile(r"In CSV column #(\d+): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a source: location, size, and a version, which is the ETag in S3.

    ``folders`` are the columns of Hive-style folder names, such as ``store_id=7/``.
    """

    uri: str
    key: str
    bytes: int
    version: str
    format: Format
    is_compressed: bool = False
    folders: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Head:
    """The columns of a file and the rows of a piece, from its beginning or footer."""

    schema: pa.Schema
    piece: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRows:
    """Files that exist while their source is open, and the columns in them that store times as microseconds."""

    files: "RowFiles"
    times: Mapping[str, pa.TimestampType] = field(default_factory=dict)

    def pieces(self, file: SourceFile, types: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
        """Return the rows of a file as ``RowFiles.pieces`` does, with times converted from microseconds."""
        for rows in self.files.pieces(file, types):
            piece = rows
            for name, kind in self.times.items():
                piece = piece.set_column(piece.column_names.index(name), name, piece[name].cast(kind))
            yield piece


@runtime_checkable
class RowSource(Protocol):
    """A source of rows: files, or the result of an Athena query."""

    def opened(self) -> AbstractContextManager[OpenRows]:
        """Return the files of the rows; temporary files are removed unless the block fails."""


class RowFiles:
    r"""Rows of files, as a source for ``ingest_from`` and ``training_set``.

    Files are skipped if they are empty, or if their name or that of a folder below the location begins with ``_`` or ``.``, as with
    Athena and Spark. A CSV is UTF-8 with commas and decimal points. An unquoted empty value is null; in columns other than strings,
    so are ``NA``, ``N/A``, ``n/a``, ``#N/A``, ``NULL``, ``null`` and ``nan``, which is NaN for floats. An undeclared column has the
    type of the first MiB, and a row that does not fit it is rejected. Text files may be gzip-compressed, with names that end in
    ``.gz``. Decimals in JSON lines are strings. Times in text files are ISO 8601; without a zone, or finer than a microsecond, they
    are treated as in a frame. Folders named ``column=value``, as in partitions of Hive, Spark and Athena, are a column of the files
    below them that lack it: for an ingest if the group declares it, for entity rows always.

    Args:
        place: ``s3://bucket/prefix``, a folder, or one file.
        format: ``parquet``, ``csv`` or ``jsonl``. Default: by the suffix of the names, which must be of one format.
        s3: A boto3 client of S3, for ``s3://``. Its caller needs to list the bucket and read the objects.

    Raises:
        SourceError: If the format is unknown, or the client for ``s3://`` is missing.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "2017.csv").write_text("store_id,on_hand\n007,3\n")
        >>> files = RowFiles(folder)
        >>> [piece.to_pylist() for file in files.files() for piece in files.pieces(file, {"store_id": pa.string()})]
        [[{'store_id': '007', 'on_hand': 3}]]
    """

    def __init__(self, place: str | Path, *, format: Format | None = None, s3: Any = None) -> None:
        problems = []
        if format is not None and format not in get_args(Format):
            problems.append(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
        if not isinstance(place, str | Path) or not str(place):
            problems.append(f"place must be s3://bucket/prefix, a folder or a file, got {place!r}")
        self._bucket, self._prefix, self._folder = "", "", None
        if isinstance(place, str) and place.startswith("s3://"):
            self._bucket, _, self._prefix = place.removeprefix("s3://").partition("/")
            if s3 is None:
                problems.append(f"{place} needs a boto3 client of S3: pass s3=")
        elif not problems:
            self._folder = Path(place)
        if problems:
            raise SourceError("; ".join(problems), problems)
        self._place, self._format, self._s3 = str(place), format, s3

    def __str__(self) -> str:
        return self._place

    def opened(self) -> AbstractContextManager[OpenRows]:
        """Return the files in their place."""
        return nullcontext(OpenRows(files=self))

    def files(self, *, columns: Collection[str] | None = None) -> tuple[SourceFile, ...]:
        """Return the files in the order of their names; folder names may provide only the given columns, by default any.

        Raises:
            SourceError: If there is no file, formats are unknown or differ, or folders give a column several values.
            SourceAccessError: If listing the bucket is denied.
        """
        listed = self._listed_folder() if self._folder is not None else self._listed_bucket()
        found = [each for each in listed if each[2] and not _is_hidden(each[0])]
        if not found:
            raise SourceError(
                f"there are no files of rows in {self._place}; check the location: a file, or the full path of a folder"
            )
        kinds = {key: self._format or _format_of(key) for key, _, _, _ in found}
        unknown = [key for key, kind in kinds.items() if kind is None]
        formats = {kind: [key for key in kinds if kinds[key] == kind] for kind in kinds.values() if kind is not None}
        problems = []
        if unknown:
            problems.append(f"the format of {_names(unknown)} is unknown; set format=")
        if len(formats) > 1:
            counted = ", ".join(f"{len(keys)} {kind} ({_names(keys)})" for kind, keys in sorted(formats.items()))
            problems.append(f"files have several formats: {counted}; pass a narrower location")
        folders = {
            key: [(name, value) for name, value in _folders(key) if columns is None or name in columns] for key in kinds
        }
        several: dict[str, list[str]] = {}
        for key, given in folders.items():
            for name in {name for name, value in given if value != dict(given)[name]}:
                several.setdefault(name, []).append(key)
        problems += [
            f"folders give column {name!r} several values ({_names(keys)}); rename all but one"
            for name, keys in several.items()
        ]
        if problems:
            raise SourceError(f"{self._place}: {'; '.join(problems)}", problems)
        return tuple(
            SourceFile(
                uri=uri,
                key=key,
                bytes=size,
                version=version,
                format=cast("Format", kinds[key]),
                is_compressed=key.lower().endswith(".gz") and kinds[key] != "parquet",
                folders=dict(folders[key]),
            )
            for key, uri, size, version in sorted(found)
        )

    def columns(
        self, files: Sequence[SourceFile], check: Callable[[Sequence[str]], Iterable[str]] | None = None
    ) -> tuple[str, ...]:
        """Read the beginning or footer of each file; return all columns. ``check`` returns the problems of a file's columns.

        Raises:
            SourceError: With every problem of every file: invalid format, missing columns, or differing types.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            heads = list(pool.map(self._tried_head, files))
        every = [_all_names(file, head) for file, head in zip(files, heads, strict=True) if isinstance(head, _Head)]
        names = tuple(dict.fromkeys(name for each in every for name in each))
        found_in: dict[str, list[str]] = {}
        kinds: dict[str, dict[str, list[str]]] = {}
        for file, head in zip(files, heads, strict=True):
            if isinstance(head, str):
                found_in.setdefault(head, []).append(file.key)
                continue
            there = _all_names(file, head)
            for problem in _absent(names, there) if check is None else check(there):
                found_in.setdefault(problem, []).append(file.key)
            for name in head.schema.names if file.format == "parquet" else ():
                kind = _kind(head.schema.field(name).type)
                kinds.setdefault(name, {}).setdefault(kind, []).append(file.key)
        problems = [f"{problem} ({_names(keys)})" for problem, keys in found_in.items()]
        problems += [
            f"column {name!r} is " + ", ".join(f"{kind} in {_names(keys)}" for kind, keys in found.items())
            for name, found in kinds.items()
            if len(found) > 1
        ]
        if problems:
            raise SourceError(f"{self._place}: {'; '.join(problems)}", problems)
        return names

    def pieces(self, file: SourceFile, types: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
        """Return the rows of a file in pieces, cut at the same rows each time; text files lack the types of columns.

        Raises:
            SourceError: If the file was replaced or deleted while it was read, or a value does not fit its type.
            SourceAccessError: If reading is denied.
        """
        head = self._tried_head(file)
        if isinstance(head, str):
            raise SourceError(f"{file.uri}: {head}")
        kinds = {**types, **_seen(head, file.format), **types}  # declared columns come first in JSON's rows
        if file.format != "parquet":
            kinds = {name: _wide(kind) for name, kind in kinds.items()}
        rows = head.piece
        held: list[pa.RecordBatch] = []
        count, start = 0, 1
        finished = partial(_finished, head, file=file, types=kinds, declared=types)
        try:
            for read in self._batches(file, kinds):
                batch = read
                while count + batch.num_rows >= rows:
                    taken = rows - count
                    yield finished([*held, batch.slice(0, taken)], start=start)
                    held, count, batch, start = [], 0, batch.slice(taken), start + rows
                if batch.num_rows:
                    held.append(batch)
                    count += batch.num_rows
        except _UNREADABLE as error:
            raise SourceError(f"{file.uri}: {self._named(head, _placed(error, start + count))}") from error
        if held:
            yield finished(held, start=start)

    def _batches(self, file: SourceFile, kinds: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with self._opened(file) as raw:
            if file.format == "parquet":
                yield from pq.ParquetFile(pa.PythonFile(raw, mode="r")).iter_batches(batch_size=_READ_ROWS)
                return
            stream = _plain(raw, file)
            yield from (_open_csv if file.format == "csv" else _open_jsonl)(stream, kinds)

    @staticmethod
    def _named(head: _Head, arrow_text: str) -> str:
        """Return Arrow's message about a value, with the column's name instead of its number."""
        number = _COLUMN.match(arrow_text)
        if number is None:
            return arrow_text
        return f"column {head.schema.names[int(number[1])]!r}: {arrow_text.removeprefix(number[0])}"

    def _tried_head(self, file: SourceFile) -> _Head | str:
        try:
            return self._head(file)
        except _UNREADABLE as error:
            return f"it is not {file.format}: {_placed(error, 1)}"

    def _head(self, file: SourceFile) -> _Head:
        """Return the columns of a file and the number of rows per piece, determined from its first bytes or its footer."""
        with self._opened(file) as raw:
            if file.format == "parquet":
                footer = pq.read_metadata(pa.PythonFile(raw, mode="r"))
                groups = [footer.row_group(i).total_byte_size for i in range(footer.num_row_groups)]
                return _Head(footer.schema.to_arrow_schema(), _piece(sum(groups), footer.num_rows))
            sample = _plain(raw, file).read(_SAMPLE)
        lines = sample.count(b"\n")
        whole = sample if len(sample) < _SAMPLE or not lines else sample[: sample.rindex(b"\n") + 1]
        if file.format == "csv":
            schema = pa_csv.open_csv(io.BytesIO(whole), read_options=pa_csv.ReadOptions(block_size=_SAMPLE)).schema
        else:
            schema = pa_json.read_json(
                io.BytesIO(whole), read_options=pa_json.ReadOptions(block_size=2 * _SAMPLE)
            ).schema
        return _Head(schema, _piece(len(whole), lines))

    def _opened(self, file: SourceFile) -> IO[bytes]:
        if self._folder is not None:
            return Path(file.uri).open("rb")
        raw = _ObjectFile(self._s3, self._bucket, file)
        return cast("IO[bytes]", raw if file.format == "parquet" else io.BufferedReader(raw, _BLOCK))

    def _listed_folder(self) -> list[tuple[str, str, int, str]]:
        """Return the key, URI, size and version of each file."""
        folder = cast("Path", self._folder)
        if not folder.exists():
            raise SourceError(f"there is no folder or file {folder}")
        paths = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
        listed = []
        for path in paths:
            about = path.stat()
            name = path.name if path == folder else path.relative_to(folder).as_posix()
            # the modification time can be set back, the time of the last status change cannot
            listed.append((name, str(path), about.st_size, f"{about.st_ctime_ns}-{about.st_mtime_ns}-{about.st_size}"))
        return listed

    def _listed_bucket(self) -> list[tuple[str, str, int, str]]:
        bucket, prefix = self._bucket, self._prefix
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        with refusals(
            f"listing {self._place}",
            allow(["s3:ListBucket"], f"arn:aws:s3:::{bucket}"),
            NoSuchBucket=f"there is no bucket {bucket}",
        ):
            found = [item for page in pages for item in page.get("Contents", ())]
        # "history" matches history/a.csv and the object history, but not history_of_prices/a.csv
        root = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        listed = []
        for each in found:
            name = each["Key"].rpartition("/")[2] if each["Key"] == prefix else each["Key"].removeprefix(root)
            if each["Key"] == prefix or each["Key"].startswith(root):
                uri, version = f"s3://{bucket}/{each['Key']}", str(each["ETag"]).strip('"')
                listed.append((name, uri, int(each["Size"]), version))
        return listed


class _ObjectFile(io.RawIOBase):
    """An S3 object that is read by ranges, each of the listed version."""

    def __init__(self, s3: Any, bucket: str, file: SourceFile) -> None:
        self._s3, self._bucket, self._file, self._at = s3, bucket, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.bytes}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, size: int | None = -1) -> bytes:
        left = self._file.bytes - self._at
        count = left if size is None or size < 0 else min(size, left)
        if count <= 0:
            return b""
        key = self._file.uri.removeprefix(f"s3://{self._bucket}/")
        with refusals(
            f"reading {self._file.uri}",
            allow(["s3:GetObject"], f"arn:aws:s3:::{self._bucket}/{key}"),
            PreconditionFailed="it was replaced while it was read; read the source again",
            NoSuchKey="it was deleted while it was read; read the source again",
        ):
            answer = self._s3.get_object(
                Bucket=self._bucket,
                Key=key,
                Range=f"bytes={self._at}-{self._at + count - 1}",
                IfMatch=self._file.version,
            )
            content = bytes(answer["Body"].read())
        self._at += len(content)
        return content


def _folders(key: str) -> list[tuple[str, str | None]]:
    """Return the columns of folder names; Hive has a name for null, and percent-encodes special characters in values."""
    pairs = (part.partition("=") for part in key.split("/")[:-1] if "=" in part)
    return [(unquote(name), None if value == _HIVE_NULL else unquote(value)) for name, _, value in pairs if name]


def _all_names(file: SourceFile, head: _Head) -> list[str]:
    own: list[str] = head.schema.names
    return [*own, *(name for name in file.folders if name not in own)]


def _finished(
    head: _Head,
    batches: list[pa.RecordBatch],
    *,
    start: int,
    file: SourceFile,
    types: Mapping[str, pa.DataType],
    declared: Collection[str],
) -> pa.Table:
    rows = _own(head, batches, file)
    if file.format != "parquet":
        rows = _with_types(rows, start, file, types, declared)
    return _with_folders(rows, file, types)


def _own(head: _Head, batches: list[pa.RecordBatch], file: SourceFile) -> pa.Table:
    """Return a piece without requested columns that the file lacks: Arrow adds those that no JSON line has."""
    rows = pa.Table.from_batches(batches)
    for name in [name for name in rows.column_names if name not in head.schema.names]:
        if rows[name].null_count == rows.num_rows:
            rows = rows.drop_columns([name])
        elif name in file.folders:
            raise SourceError(
                f"{file.uri}: lines after its first {_SAMPLE:,} bytes have column {name!r}, which its folder name has too; "
                "omit it from the lines, or write it in the first"
            )
    return rows


def _with_folders(rows: pa.Table, file: SourceFile, types: Mapping[str, pa.DataType]) -> pa.Table:
    for name, value in file.folders.items():
        if name in rows.column_names:
            continue
        kind = types.get(name, pa.string())
        try:
            one = _typed(pa.chunked_array([[value]], pa.string()), kind)
            column = pa.repeat(one[0], rows.num_rows)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SourceError(
                f"{file.uri}: folder {name}={value} does not fit column {name!r}, {kind}: {_error_text(error)}"
            ) from error
        rows = rows.append_column(name, column)
    return rows


def _absent(columns: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    for name in columns:
        if name not in names:
            yield f"column {name!r} is missing, but other files have it"


def _open_csv(stream: Any, kinds: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    # read as strings and cast later: Arrow has only one list of null values for columns of all types
    texts = {name: pa.string() if _is_text_first(kind) else kind for name, kind in kinds.items()}
    reader = pa_csv.open_csv(
        stream,
        read_options=pa_csv.ReadOptions(block_size=_BLOCK),
        convert_options=pa_csv.ConvertOptions(
            column_types=texts, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    if held := [name for name in reader.schema.names if pa.types.is_nested(kinds[name])]:
        raise pa.ArrowInvalid(f"CSV does not support lists (columns {', '.join(held)}); write Parquet or JSON lines")
    yield from reader


def _open_jsonl(stream: Any, kinds: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    # times and dates are strings in JSON, of which Arrow reads only some types
    plain = {name: pa.string() if _is_time(kind) else kind for name, kind in kinds.items()}
    yield from pa_json.open_json(
        stream,
        read_options=pa_json.ReadOptions(block_size=_BLOCK),
        parse_options=pa_json.ParseOptions(explicit_schema=pa.schema(list(plain.items())) if plain else None),
    )


def _seen(head: _Head, format_: Format) -> dict[str, pa.DataType]:
    """Return column types from a text file's beginning: all of a CSV, only times of JSON, whose zones Arrow drops."""
    return {
        field.name: field.type
        for field in head.schema
        if format_ == "csv" or (format_ == "jsonl" and _is_time(field.type))
    }


def _with_types(
    rows: pa.Table, start: int, file: SourceFile, types: Mapping[str, pa.DataType], declared: Collection[str]
) -> pa.Table:
    """Return rows of a text file from row number ``start``, with string columns cast to their types."""
    typed = _typed_csv if file.format == "csv" else _typed
    for place, name in enumerate(rows.column_names):  # names may be repeated, which the checks of a batch reject
        column = rows.column(place)
        kind = types.get(name, column.type)
        if kind == column.type or not pa.types.is_string(column.type):
            continue
        try:
            rows = rows.set_column(place, name, typed(column, kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            row = start + _first_unfit(column, partial(typed, kind=kind))
            seen = f"; it is not declared, and has the type of the first {_SAMPLE:,} bytes: write Parquet, which stores types"
            raise SourceError(
                f"{file.uri}, row {row:,}: column {name!r}: {_error_text(error)}{'' if name in declared else seen}"
            ) from error
    return rows


def _first_unfit(texts: pa.ChunkedArray, typed: Callable[[pa.ChunkedArray], object]) -> int:
    """Return the position of the first string that cannot be cast together with those before it."""

    def is_unfit(count: int) -> bool:
        try:
            typed(texts.slice(0, count))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return True
        return False

    return bisect_left(range(1, len(texts)), True, key=is_unfit)


def _typed(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Cast strings to a type; times without a zone or with nanoseconds stay so, as in a frame."""
    if not pa.types.is_timestamp(kind):
        values = texts.cast(kind)
        if pa.types.is_floating(kind) and pc.any(infinite := pc.is_inf(values)).as_py():
            # Arrow casts numbers that are too large to infinity; an intended infinity is written in letters
            lost = texts.filter(pc.and_(infinite, pc.match_substring_regex(texts, "[0-9]")))
            if len(lost):
                raise pa.ArrowInvalid(f"{lost[0].as_py()!r} is beyond the range of {kind}")
        return values
    problems = []
    for unit, zone in (("us", "UTC"), ("us", None), ("ns", "UTC"), ("ns", None)):
        try:
            return texts.cast(pa.timestamp(unit, zone))
        except pa.ArrowInvalid as error:
            problems.append(str(error).partition(": expected ")[0])
    raise pa.ArrowInvalid(f"{problems[0]}; times must be ISO 8601, all with a zone or all without")


def _typed_csv(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return _typed(texts, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        trimmed = pc.utf8_trim_whitespace(texts)
        words = [each for each in NULLS if not (pa.types.is_floating(kind) and each.lower() == "nan")]
        absent = pc.is_in(trimmed, value_set=pa.array(words))
        values = pc.if_else(absent, pa.scalar(None, pa.string()), trimmed)
        if pa.types.is_null(kind):  # the beginning has no value
            return pa.chunked_array([pa.nulls(len(texts))]) if values.null_count == len(texts) else texts
        return _typed(values, kind)


def _wide(kind: pa.DataType) -> pa.DataType:
    """Return floats as doubles, as in a frame, so that the checks of a batch see values beyond the declared type."""
    if pa.types.is_list(kind):
        return pa.list_(_wide(kind.value_type))
    return pa.float64() if pa.types.is_float32(kind) else kind


def _is_text_first(kind: pa.DataType) -> bool:
    """Return whether a type is cast from strings; bytes need not be strings, and Arrow has no cast to times of day."""
    return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_time(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _plain(raw: IO[bytes], file: SourceFile) -> Any:
    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "gzip") if file.is_compressed else raw


def _piece(size: int, rows: int) -> int:
    """Return the number of rows of a piece: a power of two, so that a slightly changed file is cut at the same rows."""
    most = _PIECE_BYTES * max(1, rows) // max(1, size)
    return 1 << (max(1, min(most, _PIECE_ROWS)).bit_length() - 1)


def _kind(type_: pa.DataType) -> str:
    """Return a type's kind for comparing files: numbers of any width are the same kind."""
    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
        return f"a list of {_kind(type_.value_type)}"
    if pa.types.is_timestamp(type_):
        return "a time without a zone" if type_.tz is None else "a time with a zone"
    for kind, tests in _KINDS.items():
        if any(test(type_) for test in tests):
            return kind
    return str(type_)


_KINDS: Mapping[str, Sequence[Callable[[pa.DataType], bool]]] = {
    "a number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    "a string": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "bytes": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary),
}


def _format_of(key: str) -> Format | None:
    name = key.lower().removesuffix(".gz")
    return next((kind for end, kind in _FORMATS.items() if name.endswith(end)), None)


def _is_hidden(key: str) -> bool:
    return any(part.startswith(("_", ".")) for part in key.split("/"))


def _names(keys: Sequence[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _placed(error: Exception, first: int) -> str:
    """Return Arrow's message about a block of JSON lines, with rows counted from ``first`` instead of 0."""
    message = _error_text(error)
    before, mark, row = message.rpartition(" in row ")
    return f"{before}{mark}{int(row) + first:,}" if row.isdecimal() else message


def _error_text(error: Exception) -> str:
    return " ".join(str(error).split())
