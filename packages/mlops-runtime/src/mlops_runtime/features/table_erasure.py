"""Erasure of an entity's rows from a table, its history and its files; each step is idempotent."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.contracts.features import ErasedTable
from mlops_runtime.features.entity_search import meaning
from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.ingest_ledger import committing, newest_summary
from mlops_runtime.features.source import naming_files
from mlops_runtime.features.table_commits import committed, refresh, steady
from mlops_runtime.features.table_files import (
    DATA,
    MANIFEST,
    STATISTICS,
    TableFile,
    listed,
    matching_ids,
    missing_as_such,
    needed,
    statistics,
    suffixed,
    unnamed,
)

# a single manifest of any size, without entries of deleted files; set for one table object only, as in ``table_commits.refresh``
_MERGED = {
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "1",
    "commit.manifest.target-size-bytes": str(1 << 40),
}
_LIST = "snap-"  # prefix of manifest lists; they contain no bounds of keys


def held(table: Table, condition: BooleanExpression) -> ErasedTable:
    """Return the snapshots with a matching row, and the sequence number of the first ingest of a matching row that still exists."""

    def look() -> ErasedTable:
        holding = _holding(table, condition)
        return ErasedTable(
            table=table.name()[-1],
            table_uuid=str(table.metadata.table_uuid),
            snapshots=tuple(snapshot.snapshot_id for snapshot in holding),
            tags=(),
            files=(),
            first=_first(table, condition, holding),
        )

    with naming_files(table):
        return steady(table, look)


def rewrite(table: Table, condition: BooleanExpression, now: Callable[[], datetime]) -> ErasedTable:
    """Commit a state without the rows; return the earlier snapshots and files that still contain them, and unreferenced files.

    The commit is made even if the state has no such rows: a writer whose files exist before the commit and are in no snapshot after
    it is based on an earlier state, and can no longer commit.
    """

    def attempt(fresh: Table) -> ErasedTable:
        before = listed(fresh)
        fresh.metadata = fresh.metadata.model_copy(update={"properties": fresh.metadata.properties | _MERGED})
        summary = newest_summary(fresh)
        # a delete lists the removed files with their bounds, which are keys; the empty append drops that list
        with fresh.transaction() as transaction:
            if _matches(fresh, condition, None):
                transaction.delete(condition, snapshot_properties=summary)
            transaction.append(fresh.schema().as_arrow().empty_table(), snapshot_properties=summary)
        # of the committed state: later writers are based on a state without the rows
        return _taken(fresh, condition, before, now())

    with naming_files(table):
        return committed(table, attempt)


def expire(table: Table, taken: ErasedTable, remove: Callable[[str], None], now: Callable[[], datetime]) -> None:
    """Remove the tags, snapshots and files of an erasure."""
    if str(table.metadata.table_uuid) != taken.table_uuid:
        return
    with naming_files(table):
        committed(table, lambda fresh: _drop(fresh, taken.snapshots, now()))
    for file in taken.files:
        remove(file)


def sweep(
    table: Table,
    condition: BooleanExpression,
    taken: Collection[str],
    remove: Callable[[str], None],
    *,
    is_written: Callable[[], bool],
) -> None:
    """Remove the files that writers left which began before the rewrite and have ended: matching rows, and manifests with bounds.

    Ingest ids identify them: an ingest whose sequence number the table has passed lost to another commit; the writer of a later one
    may still be running.

    Args:
        condition: The erased rows.
        taken: Files that are already removed and that manifests may still reference.
        remove: Removes a file.
        is_written: Returns whether a process may be writing to the table: then an unreadable file may be its.
    """

    def look() -> list[str]:
        files = listed(table)
        is_quiet = not is_written()
        refresh(table)  # files committed in between are referenced by the state that is loaded now
        loose = unnamed(table, files)
        rows = [file.uri for file in suffixed(loose, [DATA]) if _is_past(table, file.uri, condition, is_quiet=is_quiet)]
        deleted = {*rows, *taken}
        lists = [f.uri for f in suffixed(loose, [MANIFEST]) if not f.uri.rpartition("/")[2].startswith(_LIST)]
        return [*rows, *(uri for uri in lists if deleted & _named_by(table, uri))]

    with naming_files(table):
        going = steady(table, look)
    for uri in going:
        remove(uri)


def _is_past(table: Table, uri: str, condition: BooleanExpression, *, is_quiet: bool) -> bool:
    ids = matching_ids(table, uri, condition)
    if ids is None:  # incomplete or deleted
        return is_quiet
    return bool(ids) and all(int(each.partition("-")[0]) <= table.last_sequence_number for each in ids)


def _named_by(table: Table, manifest: str) -> set[str]:
    try:
        with missing_as_such():
            entries = ManifestFile.from_args(manifest_path=manifest).fetch_manifest_entry(
                table.io, discard_deleted=False
            )
    except (FileNotFoundError, ValueError, EOFError):  # deleted or incomplete
        return set()
    return {entry.data_file.file_path for entry in entries}


def _holding(table: Table, condition: BooleanExpression) -> list[Snapshot]:
    """Return the snapshots with a matching row."""
    return [snapshot for snapshot in table.metadata.snapshots if _matches(table, condition, snapshot.snapshot_id)]


def _matches(table: Table, condition: BooleanExpression, snapshot_id: int | None) -> bool:
    key = meaning(table).entities[:1]
    scan = table.scan(row_filter=condition, selected_fields=key, snapshot_id=snapshot_id, limit=1)
    return bool(scan.to_arrow().num_rows)


def _first(table: Table, condition: BooleanExpression, holding: Sequence[Snapshot]) -> int | None:
    """Return the sequence number of the first ingest with a row of the entity, among rows that still exist."""
    ids: list[str] = []
    if holding:
        oldest = min(holding, key=lambda snapshot: snapshot.sequence_number or 0)
        scan = table.scan(row_filter=condition, selected_fields=(INGEST_ID,), snapshot_id=oldest.snapshot_id)
        ids += scan.to_arrow()[INGEST_ID].to_pylist()
    for file in suffixed(unnamed(table, listed(table)), [DATA]):
        ids += matching_ids(table, file.uri, condition) or []
    return min((int(each.partition("-")[0]) for each in ids), default=None)


def _litter(table: Table, condition: BooleanExpression, files: Iterable[TableFile]) -> list[str]:
    """Return unreferenced files that may contain the entity's rows, or its keys as bounds or in sketches.

    Unreferenced data files without its rows stay: their writers may still be running.
    """
    loose = unnamed(table, files)
    rows = [f.uri for f in suffixed(loose, [DATA]) if matching_ids(table, f.uri, condition) != []]
    return [*rows, *(file.uri for file in suffixed(loose, [MANIFEST, *STATISTICS]))]


def _taken(table: Table, condition: BooleanExpression, before: Iterable[TableFile], at: datetime) -> ErasedTable:
    holding = {snapshot.snapshot_id for snapshot in _holding(table, condition)}
    snapshots = table.metadata.snapshots
    data = {path for s in snapshots if s.snapshot_id in holding for path in _data_files(table, s, is_live=True)}
    others = [s for s in snapshots if s.snapshot_id not in holding]
    data -= {path for s in others for path in _data_files(table, s, is_live=True)}
    going = holding | {s.snapshot_id for s in others if data & _data_files(table, s, is_live=False)}
    kept = needed(table, [s for s in snapshots if s.snapshot_id not in going])
    files = needed(table, [s for s in snapshots if s.snapshot_id in going]) - kept
    files |= set(_litter(table, condition, before)) | statistics(table, going)
    return ErasedTable(
        table=table.name()[-1],
        table_uuid=str(table.metadata.table_uuid),
        snapshots=tuple(sorted(going)),
        tags=tuple(sorted(name for name, ref in table.metadata.refs.items() if ref.snapshot_id in going)),
        files=tuple(sorted(files)),
        until=table.last_sequence_number,
        at=at.isoformat(),
    )


def _data_files(table: Table, snapshot: Snapshot, *, is_live: bool) -> set[str]:
    """Return the data files of a snapshot; unless ``is_live``, including those marked as deleted."""
    return {
        entry.data_file.file_path
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=is_live)
    }


def _drop(table: Table, snapshots: Collection[int], now: datetime) -> None:
    _untag(table, snapshots)
    there = [s for s in snapshots if table.metadata.snapshot_by_id(s) is not None]
    if there:
        # a snapshot without rows, whose summary has the index of the expired keys
        with committing(table, newest_summary(table), there, now) as snapshot, snapshot.fast_append():
            pass


def _untag(table: Table, snapshots: Collection[int]) -> None:
    """Remove the tags of snapshots, including tags that builds added meanwhile; a tag added later makes the expiry conflict."""
    for tag in [name for name, ref in table.metadata.refs.items() if ref.snapshot_id in snapshots]:
        table.manage_snapshots().remove_tag(tag).commit()
