"""The right to be forgotten: an entity's rows leave the tables, their history, the files, and the training sets that hold them.

Iceberg's delete alone hides rows: earlier snapshots, their files and their statistics keep them. Each step here can be done again;
whoever calls after a crash finishes what was begun.

See: https://iceberg.apache.org/spec/#snapshots, https://gdpr.eu/article-17-right-to-be-forgotten/
"""

import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import ErasedTable, Erasure, Tombstone, TrainingSetManifest
from mlops_runtime.features import ledger
from mlops_runtime.features.iceberg import TableMeaning, committed, same_entity
from mlops_runtime.features.manifest import Manifests
from mlops_runtime.features.objects import Objects
from mlops_runtime.features.training_set import FILE, entities_key
from mlops_runtime.features.usage import pins


class ErasureError(ValueError):
    """Nothing was erased; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an erasure works.

    Args:
        tables: All feature tables of the database.
        manifests: Manifests and tombstones.
        sets: Entity rows and training sets.
        open: Returns the objects below a place that a copy was written to.
        remove: Removes a file of a table for good.
    """

    tables: Sequence[Table]
    manifests: Manifests
    sets: Objects
    open: Callable[[str], Objects]
    remove: Callable[[str], None]


def erase(
    places: Places,
    entity: Mapping[str, object],
    *,
    reason: str,
    in_use: Collection[str],
    include_in_use: bool,
    now: datetime,
) -> Erasure:
    """Erase an entity from every table that has its key.

    Args:
        places: Where.
        entity: Values by name of key column; a table with further key columns loses all rows with these values.
        reason: Why, for tombstones: a ticket's number, never the entity.
        in_use: Ids of training sets that a model was trained from which serves, or may serve again.
        include_in_use: Whether those too may be taken.
        now: The time.

    Raises:
        ErasureError: If no table has the key, or a training set in use holds the entity and ``include_in_use`` is not set.
    """
    affected = [table for table in places.tables if set(entity) <= set(_meaning(table).entities)]
    if not entity or not affected:
        known = "; ".join(f"{t.name()[-1]}: {', '.join(_meaning(t).entities)}" for t in places.tables)
        raise ErasureError(f"no table has the key {', '.join(entity) or '(empty)'}; there are {known or 'no tables'}")
    _finish(places)
    condition = same_entity(entity)
    held = {table.name()[-1]: _holding(table, condition) for table in affected}
    users = {
        manifest_id: manifest
        for manifest_id in places.manifests.ids()
        if _uses(manifest := places.manifests.read(manifest_id), affected, held)
        or _has(places.sets, _given(manifest), entity)
    }
    kept = sorted(set(users) & set(in_use))
    if kept and not include_in_use:
        raise ErasureError(
            f"models in use were trained from {len(kept)} training sets that hold the entity: {', '.join(kept)}; retrain without "
            "it first, or pass include_in_use=True: these sets can then never be built again"
        )
    names = tuple(table.name()[-1] for table in affected)
    record = Erasure(
        id=content_hash({"held": held, "users": sorted(users)}),
        at=now.astimezone(UTC).isoformat(),
        reason=reason,
        entities=tuple(entity),
        tables=(),
        used_by=tuple(users),
    )
    for manifest_id in users:
        places.manifests.bury(
            Tombstone(manifest_id=manifest_id, erasure=record.id, at=record.at, reason=reason, tables=names)
        )
    taken = [_rewrite(table, condition, held[table.name()[-1]], now) for table in affected if held[table.name()[-1]]]
    record = Erasure(
        id=record.id, at=record.at, reason=reason, entities=record.entities, tables=tuple(taken), used_by=record.used_by
    )
    places.manifests.begin(record)
    _complete(places, record)
    for manifest_id, manifest in users.items():
        _erase_copies(places, manifest_id, manifest, entity)
    return record


def _meaning(table: Table) -> TableMeaning:
    return TableMeaning.of(table.name()[-1], table.properties)


def _holding(table: Table, condition: BooleanExpression) -> list[int]:
    """Return the ids of the snapshots in which a row matches."""
    table.refresh()
    return [s.snapshot_id for s in table.metadata.snapshots if _matches(table, condition, s.snapshot_id)]


def _matches(table: Table, condition: BooleanExpression, snapshot_id: int) -> bool:
    key = _meaning(table).entities[:1]
    scan = table.scan(row_filter=condition, selected_fields=key, snapshot_id=snapshot_id, limit=1)
    return bool(scan.to_arrow().num_rows)


def _uses(manifest: TrainingSetManifest, tables: Sequence[Table], held: Mapping[str, list[int]]) -> bool:
    uuids = {table.name()[-1]: str(table.metadata.table_uuid) for table in tables}
    return any(
        uuids.get(pinned.table) == pinned.table_uuid and pinned.snapshot_id in held[pinned.table]
        for pinned in pins(manifest)
    )


def _rewrite(table: Table, condition: BooleanExpression, held: Collection[int], now: datetime) -> ErasedTable:
    """Write a snapshot without the rows, and say what the earlier ones with them still keep."""

    def attempt(fresh: Table) -> None:
        current = fresh.current_snapshot()
        if current is not None and _matches(fresh, condition, current.snapshot_id):
            fresh.delete(condition, snapshot_properties=ledger.carried(fresh, held, now))

    committed(table, attempt)
    going = set(_holding(table, condition))
    snapshots = table.metadata.snapshots
    kept = _files(table, [s for s in snapshots if s.snapshot_id not in going])
    files = _files(table, [s for s in snapshots if s.snapshot_id in going]) - kept
    return ErasedTable(
        table=table.name()[-1],
        table_uuid=str(table.metadata.table_uuid),
        snapshots=tuple(sorted(going)),
        tags=tuple(sorted(name for name, ref in table.metadata.refs.items() if ref.snapshot_id in going)),
        files=tuple(sorted(files)),
    )


def _files(table: Table, snapshots: Iterable[Snapshot]) -> set[str]:
    """Return the files that snapshots need: data, the manifests that hold its bounds, and the lists of manifests."""
    found: set[str] = set()
    for snapshot in snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return found


def _finish(places: Places) -> None:
    """Complete what an earlier call began."""
    for record in places.manifests.unfinished():
        _complete(places, record)


def _complete(places: Places, record: Erasure) -> None:
    tables = {table.name()[-1]: table for table in places.tables}
    for taken in record.tables:
        table = tables.get(taken.table)
        if table is None or str(table.metadata.table_uuid) != taken.table_uuid:
            continue
        for tag in taken.tags:
            committed(table, lambda fresh, tag=tag: _untag(fresh, tag))  # type: ignore[misc]
        committed(table, lambda fresh, taken=taken: _expire(fresh, taken.snapshots))  # type: ignore[misc]
        for file in taken.files:
            places.remove(file)
    places.manifests.end(record)


def _untag(table: Table, tag: str) -> None:
    if tag in table.metadata.refs:
        table.manage_snapshots().remove_tag(tag).commit()


def _expire(table: Table, snapshots: Collection[int]) -> None:
    there = [s for s in snapshots if table.metadata.snapshot_by_id(s) is not None]
    if there:
        table.maintenance.expire_snapshots().by_ids(there).commit()


def _given(manifest: TrainingSetManifest) -> str | None:
    return None if manifest.entity_rows is None else entities_key(manifest.entity_rows)


def _erase_copies(
    places: Places, manifest_id: str, manifest: TrainingSetManifest, entity: Mapping[str, object]
) -> None:
    given = _given(manifest)
    if given is not None and _has(places.sets, given, entity):
        places.sets.erase(given)
    for uri in places.manifests.copies(manifest_id):
        objects = places.open(uri)
        for file in manifest.output.files or ():
            if _has(objects, file.path or FILE, entity):
                objects.erase(file.path)


def _has(objects: Objects, key: str | None, entity: Mapping[str, object]) -> bool:
    """Return whether a Parquet file holds rows of the entity."""
    content = None if key is None else objects.get(key)
    if content is None:
        return False
    rows = pq.read_table(io.BytesIO(content))
    if not set(entity) <= set(rows.column_names):
        return False
    mask = pa.scalar(True)
    for name, value in entity.items():
        mask = pc.and_(mask, pc.equal(rows[name], pa.scalar(value).cast(rows[name].type)))
    return bool(pc.any(mask).as_py())
