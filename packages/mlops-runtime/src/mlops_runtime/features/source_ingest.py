"""Ingest rows that lie elsewhere: file by file, a piece a commit, each once, also when a run is killed and repeated."""

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
    """What an ingest of a source did.

    Attributes:
        table: Name of the table.
        files: Files of rows that there were.
        known: Files that an earlier run has ingested to their end, and that were not read again.
        pieces: Pieces that were read, each of which is one commit.
        duplicates: Pieces of them that were ingested before.
        rows: Rows written.
        repeated: Rows that were the same as another of their piece in every column, and were left out.
    """

    table: str
    files: int = 0
    known: int = 0
    pieces: int = 0
    duplicates: int = 0
    rows: int = 0
    repeated: int = 0


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

    A piece is known again by its content, as each batch is; a file that was ingested to its end is written down in the table's
    ledger by name and version, so that another run need not read it.

    Args:
        group: What the rows are.
        source: Where they lie.
        is_backfill: Whether each row says when it could first be known.
        load: Loads the table at its newest state.
        ingest: Ingests a piece.
        now: The store's clock.

    Raises:
        SourceError: If it is not a source; what cannot be read, or lacks columns, with every problem: nothing was written.
        SourceAccessError: If the caller may not read it.
        BatchError: If rows do not fit the group; what was ingested before stays, and is not written again.
    """
    check_group(group)
    if not isinstance(source, RowSource):
        raise SourceError(f"a source of rows is needed, RowFiles(...) or AthenaQuery(...), got {source!r}")
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
    """Return all rows of a source, as entity rows are needed.

    Args:
        source: Where they lie.
        types: Types of columns, which text files do not say.
        memory: Bytes that they may have.

    Raises:
        SourceError: As for ``ingest_source``, and if they have more bytes.
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
                        f"entity rows of {rows.files} have more than the {memory:,} bytes of memory=; select the columns that are "
                        "needed, or ask for several sets"
                    )
                pieces.append(piece)
        try:
            return pa.concat_tables(pieces, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SourceError(f"files of {rows.files} do not go together: {' '.join(str(error).split())}") from error


def _problems(group: FeatureGroup, names: Sequence[str], *, is_backfill: bool) -> Iterator[str]:
    for column in group.columns:
        if column.required and column.name not in (*names, CREATED_TIME, INGEST_ID):
            yield f"column {column.name!r} is missing"
    if is_backfill and CREATED_TIME not in names:
        yield f"column {CREATED_TIME!r} is missing, which says when each row could first be known"
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
