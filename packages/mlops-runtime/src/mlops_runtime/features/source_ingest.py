"""Ingest of a source's rows, file by file with a commit per piece, each exactly once even if a run is killed and repeated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
from pyiceberg.table import Table

from mlops_runtime.contracts import content_hash as document_hash
from mlops_runtime.features.access_errors import SourceError
from mlops_runtime.features.batch_checks import BatchError, check_group
from mlops_runtime.features.batch_ingest import Ingested
from mlops_runtime.features.feature_group import CREATED_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.ingest_ledger import Entry, find, hash_of, note
from mlops_runtime.features.row_files import OpenRows, RowSource, SourceFile
from mlops_runtime.features.table_types import arrow_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestedSource:
    """Result of ingesting a source."""

    table: str
    files: int = 0  # number of files
    known: int = 0  # number of files that an earlier run ingested completely, and that were not read again
    pieces: int = 0  # number of pieces that were read, each of which is one commit
    duplicates: int = 0  # number of these pieces that had been ingested before
    rows: int = 0  # number of rows written
    repeated: int = 0  # number of rows omitted because they equal another row of their piece in every column


def ingest_source(
    group: FeatureGroup,
    source: RowSource,
    *,
    is_backfill: bool,
    load: Callable[[], Table],
    ingest: Callable[[pa.Table], Ingested],
    now: Callable[[], datetime],
) -> IngestedSource:
    """Ingest the rows of a source.

    A piece is recognized by its content, like any batch. A file that was ingested completely is recorded in the table's ledger by
    name and version, so that a later run need not read it.

    Raises:
        SourceError: If it is not a source, cannot be read or lacks columns; with every problem, and nothing was written.
        SourceAccessError: If reading is denied.
        BatchError: If rows do not fit the group; pieces ingested before stay, and are not written again.
    """
    check_group(group)
    if not isinstance(source, RowSource):
        raise SourceError(f"a source of rows is required, RowFiles(...) or AthenaQuery(...), got {source!r}")
    types = {field.name: _plain(field.type) for field in arrow_schema(group) if field.name != INGEST_ID}
    with source.opened() as rows:
        files = rows.files.files(columns=types)
        rows.files.columns(files, partial(_problems, group, is_backfill=is_backfill))
        done = IngestedSource(table=group.table_name, files=len(files))
        for file in files:
            key = _file_key(file)
            if find(load(), key, now()) is not None:
                done = replace(done, known=done.known + 1)
                continue
            snapshot = 0
            for start, piece in _placed(rows, file, types):
                try:
                    result = ingest(piece)
                except BatchError as error:
                    raise BatchError(
                        f"{file.uri}, rows {start:,} to {start + piece.num_rows - 1:,}: {error}; {done.pieces} pieces before it "
                        "are in the table and are not written again",
                        error.problems,
                    ) from error
                snapshot = result.snapshot_id
                done = replace(
                    done,
                    pieces=done.pieces + 1,
                    duplicates=done.duplicates + result.duplicate,
                    rows=done.rows + result.rows,
                    repeated=done.repeated + result.repeated,
                )
            at = now().astimezone(UTC).isoformat()
            note(load(), Entry(key_hash=key, content="", snapshot_id=snapshot, at=at))
    return done


def read_source(source: RowSource, types: Mapping[str, pa.DataType], *, memory: int) -> pa.Table:
    """Return all rows of a source, for use as entity rows; text files lack the types of columns.

    Raises:
        SourceError: As for ``ingest_source``, and if the rows exceed ``memory``.
    """
    with source.opened() as rows:
        files = rows.files.files()
        rows.files.columns(files)
        pieces: list[pa.Table] = []
        size = 0
        for file in files:
            for piece in rows.pieces(file, types):
                size += piece.nbytes
                if size > memory:
                    raise SourceError(
                        f"entity rows of {rows.files} have more than the {memory:,} bytes of memory=; select only the "
                        "required columns, or request several sets"
                    )
                pieces.append(piece)
        try:
            return pa.concat_tables(pieces, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SourceError(f"files of {rows.files} have different types: {' '.join(str(error).split())}") from error


def _problems(group: FeatureGroup, names: Sequence[str], *, is_backfill: bool) -> Iterator[str]:
    for column in group.columns:
        if column.required and column.name not in (*names, CREATED_TIME, INGEST_ID):
            yield f"column {column.name!r} is missing"
    if is_backfill and CREATED_TIME not in names:
        yield f"column {CREATED_TIME!r} is missing; give when each row could first be known"
    allowed = [column.name for column in group.columns if column.name != INGEST_ID]
    for name in names:
        if name not in allowed:
            yield f"column {name!r} is not declared, allowed are {', '.join(allowed)}"


def _placed(rows: OpenRows, file: SourceFile, types: Mapping[str, pa.DataType]) -> Iterator[tuple[int, pa.Table]]:
    start = 1
    for piece in rows.pieces(file, types):
        yield start, piece
        start += piece.num_rows


def _file_key(file: SourceFile) -> str:
    return hash_of(f"file:{document_hash({'uri': file.uri, 'version': file.version})}")


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.list_(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind
