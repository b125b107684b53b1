"""Ingest of a batch into its table: checked, in one atomic append, exactly once, also with concurrent writers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from mlops_runtime.contracts import content_hash as document_hash
from mlops_runtime.features.batch_checks import ArrowStream, BatchError, check_group, checked, read_batch
from mlops_runtime.features.data_files import data_files
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.iceberg_tables import check_table, sort_columns
from mlops_runtime.features.ingest_ledger import (
    Entry,
    committing,
    entries,
    expirable,
    find,
    hash_of,
    id_end,
    ingest_summary,
)
from mlops_runtime.features.key_lookup import rows_of_keys
from mlops_runtime.features.row_hashing import comparable, content_hash, indices
from mlops_runtime.features.table_commits import committed
from mlops_runtime.features.table_description import FeatureTableError

_PLACE = "__place__"
_ROW = "__row__"


class KeyReusedError(ValueError):
    """An idempotency key was reused for different content; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """Result of an ingest.

    Attributes:
        table: Feature table that the batch was written to.
        snapshot_id: The snapshot that contains the batch.
        rows: Number of rows written; 0 for a duplicate.
        duplicate: Whether the batch had been ingested before, so that nothing was written.
        repeated: Number of rows omitted because they equal another row of the batch in every column.
    """

    table: str
    snapshot_id: int
    rows: int
    duplicate: bool
    repeated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRows:
    """A checked batch, wherever its rows are: its table, key and the key's hash, content hash, and facts of its rows."""

    table: str
    key: str
    key_hash: str
    content: str
    newest_event: datetime
    count: int
    repeated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(CheckedRows):
    """A checked batch in memory, in the table's order. ``is_stamped``: the created times come from the store's clock."""

    group: FeatureGroup
    rows: pa.Table
    is_stamped: bool


def prepared(group: FeatureGroup, batch: ArrowStream, *, key: str | None, now: datetime) -> Batch:
    """Check a batch and sort its rows in the table's order.

    Args:
        group: The rows' group.
        batch: A pyarrow table, pandas or polars frame.
        key: Idempotency key. Default: the batch's content hash.
        now: The store's clock.

    Raises:
        BatchError: If the batch does not fit the group, with every problem; the key is not a non-empty string, or ``group`` is not
            a group.
    """
    check_group(group)
    if key is not None and (not isinstance(key, str) or not key):
        raise BatchError(
            f"batch for {group.table_name}: idempotency key must be a non-empty string, got {key!r}; "
            "omit it to use the hash of the content"
        )
    given = read_batch(batch)
    rows = checked(group, given, now)
    is_stamped = CREATED_TIME not in given.column_names
    content = content_hash(
        hashed_rows(group, rows, is_stamped=is_stamped),
        (*sort_columns(group), *(() if is_stamped else (CREATED_TIME,))),
        is_sorted=True,
    )
    return Batch(
        table=group.table_name,
        key=content if key is None else key,
        key_hash=hash_of(content if key is None else key),
        content=content,
        newest_event=pc.max(rows[EVENT_TIME]).as_py(),
        count=rows.num_rows,
        repeated=given.num_rows - rows.num_rows,
        group=group,
        rows=rows,
        is_stamped=is_stamped,
    )


def hashed_rows(group: FeatureGroup, rows: pa.Table, *, is_stamped: bool) -> pa.Table:
    """Return checked rows with the columns that are part of their content hash.

    Created times from the store's clock are excluded, so that a repeated batch has the same hash. All-null nullable features are
    excluded, so that the hash does not change when a feature is declared.
    """
    left_out = [f.name for f in group.features if f.nullable and rows[f.name].null_count == rows.num_rows]
    return rows.drop_columns([*left_out, *([CREATED_TIME] if is_stamped else [])])


def append(table: Table, batch: Batch, now: datetime) -> Ingested:
    """Append a batch in one commit, unless the table already contains its key.

    Raises:
        KeyReusedError: If the key was used for another content.
        LostLedgerError: If the key was ingested and its ledger object is missing.
        FeatureTableError: If the table does not fit the group.
        TableBusyError: If other writers committed first in every attempt.
    """
    check_table(batch.group, table)

    def write(fresh: Table, ingest_id: str) -> Iterable[DataFile]:
        return data_files(fresh.metadata, batch.rows, fresh.io, ingest_id=ingest_id)

    return committed(table, lambda fresh: append_once(fresh, batch, write, now))


def append_once(
    fresh: Table,
    batch: CheckedRows,
    write: Callable[[Table, str], Iterable[DataFile]],
    now: datetime,
    *,
    merges_manifests: bool = True,
) -> Ingested:
    """Append a batch to a state of its table in one commit, which also expires old snapshots, unless the state has its key.

    The key is looked up in the state that the commit is based on. The ingest id begins with the commit's sequence number: of two
    rows with the same created time, the one committed later counts. ``write`` writes the data files for a state and an ingest id.

    Raises:
        KeyReusedError: As for ``append``, like LostLedgerError.
    """
    before = find(fresh, batch.key_hash, now)
    if before is not None:
        return _duplicate(batch, before)
    ingest_id = f"{fresh.last_sequence_number + 1:019d}{id_end(batch.key_hash)}"
    files = list(write(fresh, ingest_id))
    summary = ingest_summary(
        fresh,
        key_hash=batch.key_hash,
        content=batch.content,
        ingest=ingest_id,
        newest_event=batch.newest_event,
        now=now,
    )
    with (
        committing(fresh, summary, expirable(fresh), now) as snapshot,
        snapshot.merge_append() if merges_manifests else snapshot.fast_append() as appended,
    ):
        for file in files:
            appended.append_data_file(file)
    after = next((entry for entry in entries(fresh) if entry.key_hash == batch.key_hash), None)
    if after is None:
        raise FeatureTableError(f"table {batch.table} does not show the snapshot that was committed")
    return Ingested(
        table=batch.table, snapshot_id=after.snapshot_id, rows=batch.count, duplicate=False, repeated=batch.repeated
    )


def check_is_given(group: FeatureGroup, batch: ArrowStream) -> pa.Table:
    """Return a batch as a table that has ``created_time``, which a backfill requires.

    Raises:
        BatchError: If ``created_time`` is missing.
    """
    check_group(group)
    rows = read_batch(batch)
    if CREATED_TIME not in rows.column_names:
        raise BatchError(
            f"backfill of {group.table_name}: column {CREATED_TIME!r} is missing; give when each row could first be known, "
            "or ingest the batch as known from now on"
        )
    return rows


def check_is_whole(group: FeatureGroup, batch: ArrowStream) -> pa.Table:
    """Return a batch as a table that has every feature, which a correction requires: a missing one would become null.

    Raises:
        BatchError: With the missing features.
    """
    check_group(group)
    rows = read_batch(batch)
    absent = [name for name in group.feature_names if name not in rows.column_names]
    if absent:
        raise BatchError(
            f"correction of {group.table_name}: {', '.join(map(repr, absent))} missing; a correction restates whole rows, "
            "give every feature, null where it is null from now on"
        )
    return rows


def restated(table: Table, batch: Batch, *, is_keyed: bool) -> Batch | Ingested:
    """Return a correction with its key, or as a duplicate if every row already has these values.

    Without a key of its own, the key is derived from the content and the restated versions. So a correction back to earlier values
    is written, and a repeated correction is not.

    Args:
        batch: The correction.
        is_keyed: Whether the caller gave a key; then the key alone decides.

    Raises:
        BatchError: With the number of rows that restate nothing, and the first of them.
        FeatureTableError: If the table does not fit the group.
    """
    check_table(batch.group, table)
    rows, stated = batch.rows, [*batch.group.entity_names, EVENT_TIME]
    first, last = pc.min(rows[EVENT_TIME]).as_py(), pc.max(rows[EVENT_TIME]).as_py()
    there = rows_of_keys(table, batch.group, rows.select(stated), event_by=last, since=first)
    absent = rows.select(stated).join(there.group_by(stated).aggregate([]), stated, join_type="left anti")
    if absent.num_rows:
        raise BatchError(
            f"correction of {batch.group.table_name}: {absent.num_rows} rows restate nothing, the first is "
            f"{absent.slice(0, 1).to_pylist()[0]}; ingest new rows, and correct only existing ones"
        )
    if is_keyed:
        return batch
    key = stated if batch.is_stamped else [*stated, CREATED_TIME]
    versions = _newest(there, rows, key)
    ids = versions[INGEST_ID]
    current = table.current_snapshot()
    is_there = not ids.null_count and all(_same(rows[name], versions[name]) for name in batch.group.feature_names)
    if current is None or not is_there:
        return _keyed(batch, ids)
    for entry in entries(table):
        if entry.content == batch.content and pc.all(pc.ends_with(ids, id_end(entry.key_hash))).as_py():
            # this very correction, whose event may not have been published yet
            return replace(batch, key_hash=entry.key_hash)
    # its summary may have expired: then it restated the newest version before its own
    before = there.filter(pc.invert(pc.is_in(there[INGEST_ID], pc.unique(ids))))
    for again in (
        _keyed(batch, _newest(before, rows, key)[INGEST_ID]),
        replace(batch, key_hash=hash_of(batch.content)),
    ):
        if pc.all(pc.ends_with(ids, id_end(again.key_hash))).as_py():
            return again
    return Ingested(table=batch.group.table_name, snapshot_id=current.snapshot_id, rows=0, duplicate=True)


def _keyed(batch: Batch, versions: pa.ChunkedArray) -> Batch:
    """Return a correction with a key derived from its content and the ids of the restated rows."""
    key = f"restates:{document_hash({'content': batch.content, 'versions': versions.to_pylist()})}"
    return replace(batch, key=key, key_hash=hash_of(key))


def _newest(there: pa.Table, rows: pa.Table, key: list[str]) -> pa.Table:
    """Return the version that counts of each row's key, or nulls."""
    there = there.take(indices(there, [*key, CREATED_TIME, INGEST_ID]))
    places = there.select(key).append_column(_PLACE, pa.arange(0, there.num_rows, 1))
    last = places.group_by(key).aggregate([(_PLACE, "max")])
    numbered = rows.select(key).append_column(_ROW, pa.arange(0, rows.num_rows, 1))
    return there.take(numbered.join(last, key).sort_by(_ROW)[f"{_PLACE}_max"])


def _same(mine: pa.ChunkedArray, there: pa.ChunkedArray) -> bool:
    """Return whether all values are equal; null equals null, and NaN equals NaN."""
    mine, there = comparable(mine), comparable(there)
    same = pc.or_(pc.fill_null(pc.equal(mine, there), False), pc.and_(pc.is_null(mine), pc.is_null(there)))
    if pa.types.is_floating(mine.type):
        same = pc.or_(same, pc.fill_null(pc.and_(pc.is_nan(mine), pc.is_nan(there)), False))
    return bool(pc.all(same).as_py())


def _duplicate(batch: CheckedRows, before: Entry) -> Ingested:
    if before.content not in ("", batch.content):
        raise KeyReusedError(
            f"idempotency key {batch.key!r} of {batch.table} was used at {before.at} for content {before.content}, "
            f"this batch has {batch.content}; give each batch its own key, or send the same rows"
        )
    return Ingested(table=batch.table, snapshot_id=before.snapshot_id, rows=0, duplicate=True)
