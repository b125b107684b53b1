"""The right to be forgotten: an entity's rows leave the tables, their history, the files, and the training sets that hold them.

Iceberg's delete alone hides rows: earlier snapshots, their files and their statistics keep them. Each step here can be done again;
a call after a crash completes an unfinished erasure.

See: https://iceberg.apache.org/spec/#snapshots, https://gdpr.eu/article-17-right-to-be-forgotten/
"""

import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import ErasedTable, Erasure, Tombstone, TrainingSetManifest
from mlops_runtime.features.column_type import FeatureType
from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.iceberg_tables import TableMeaning, feature_types, same_entity
from mlops_runtime.features.ingest_ledger import newest_summary, record
from mlops_runtime.features.row_hashing import logical_type
from mlops_runtime.features.table_commits import committed
from mlops_runtime.features.table_files import (
    DATA,
    MANIFEST,
    TableFile,
    listed,
    matching_ids,
    needed,
    suffixed,
    unnamed,
)
from mlops_runtime.features.table_types import arrow_types
from mlops_runtime.features.training_set import FILE, entities_key
from mlops_runtime.features.training_set_manifest import Manifests, Objects, pins

# one manifest without entries of deleted files, however large or few; see committed for why properties of one object can say so
_MERGED = {
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "1",
    "commit.manifest.target-size-bytes": str(1 << 40),
}


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
        entity: Values by name of key column, of its type or as its text; a table with further key columns loses
            all rows with these values.
        reason: Why, for tombstones: a ticket's number, never the entity.
        in_use: Ids of training sets that a model was trained from which serves, or may serve again.
        include_in_use: Whether those too may be taken.
        now: The time.

    Raises:
        ErasureError: If no table has the key in the values' types, ``in_use`` names an unknown training set, or one in use holds
            the entity and ``include_in_use`` is not set.
        ManifestError: If a manifest cannot be read.
    """
    _check_in_use(places.manifests, in_use)
    conditions = _conditions(places.tables, entity)
    if not isinstance(reason, str) or not reason.strip():
        raise ErasureError(f"reason must say why, such as a ticket's number, got {reason!r}")
    affected = [table for table in places.tables if table.name()[-1] in conditions]
    _finish(places)
    held = {table.name()[-1]: _holding(table.refresh(), conditions[table.name()[-1]]) for table in affected}
    first = {table.name()[-1]: _first(table, conditions[table.name()[-1]]) for table in affected}
    users = {
        manifest_id: manifest
        for manifest_id in places.manifests.ids()
        if _uses(manifest := places.manifests.pinned(manifest_id), affected, held, first)
        or _has(places.sets, _given(manifest), _spelled(manifest, entity))
    }
    kept = sorted(set(users) & set(in_use))
    if kept and not include_in_use:
        raise ErasureError(
            f"models in use were trained from {len(kept)} training sets that hold the entity: {', '.join(kept)}; retrain without "
            "it first, or pass include_in_use=True: these sets can then never be built again"
        )
    names = tuple(table.name()[-1] for table in affected)
    erasure = Erasure(
        id=content_hash({"held": held, "users": sorted(users)}),
        at=now.astimezone(UTC).isoformat(),
        reason=reason,
        entities=tuple(entity),
        tables=(),
        used_by=tuple(users),
    )
    _bury(places.manifests, users, erasure, names)
    taken = tuple(
        _rewrite(t, conditions[t.name()[-1]])
        for t in affected
        if held[t.name()[-1]] or _litter(t, conditions[t.name()[-1]], listed(t))
    )
    gone = {**held, **{erased.table: list(erased.snapshots) for erased in taken}}
    late = _built_since(places.manifests, users, affected, gone, first)
    _bury(places.manifests, late, erasure, names)
    users |= late
    erasure = replace(erasure, tables=taken, used_by=tuple(sorted(users)))
    # before the snapshots go: until then a call after a crash finds the training sets by them
    _erase_copies(places, users, entity)
    for key in _unclaimed(places):
        if _has(places.sets, key, [entity]):
            places.sets.erase(key)
    places.manifests.begin(erasure)
    _complete(places, erasure)
    return erasure


def _check_in_use(manifests: Manifests, in_use: Collection[str]) -> None:
    if isinstance(in_use, str) or not isinstance(in_use, Collection):
        raise ErasureError(
            f"in_use must be a list of ids of training sets, got {in_use!r}; give [] where no model serves"
        )
    unknown = sorted(map(repr, set(in_use) - set(manifests.ids())))
    if unknown:
        raise ErasureError(
            f"in_use names {', '.join(unknown)}, of which there is no manifest in {manifests}; give whole ids of sets of this store"
        )


def _meaning(table: Table) -> TableMeaning:
    return TableMeaning.of(table.name()[-1], table.properties)


def _conditions(tables: Sequence[Table], entity: Mapping[str, object]) -> dict[str, BooleanExpression]:
    """Return by table that can hold the entity, with its keys of types that the values have or spell, which rows are its."""
    having = [table for table in tables if entity and set(entity) <= set(_meaning(table).entities)]
    if not having:
        known = "; ".join(f"{t.name()[-1]}: {', '.join(_meaning(t).entities)}" for t in tables)
        raise ErasureError(f"no table has the key {', '.join(entity) or '(empty)'}; there are {known or 'no tables'}")
    found, others = {}, []
    for table in having:
        name, types = table.name()[-1], feature_types(table)
        keys = {key: _as_key(types[key], value) for key, value in entity.items()}
        wrong = [key for key, value in keys.items() if value is None]
        others += [f"{key!r} of {name} is {types[key]}, got {entity[key]!r}" for key in wrong]
        if not wrong:
            found[name] = same_entity(keys)
    if not found:
        raise ErasureError(f"keys compare exactly by type: {'; '.join(others)}; times need a zone")
    return found


def _as_key(kind: FeatureType, value: object) -> object | None:
    """Return a value, or its string, as a key of a type; ``None`` if it is not one."""
    if isinstance(value, str) and kind != "string":
        reads: dict[str, Callable[[str], object]] = {"date": date.fromisoformat, "timestamp": datetime.fromisoformat}
        try:
            value = reads.get(kind, int)(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        fits = kind == "timestamp" and value.utcoffset() is not None
    elif isinstance(value, int) and not isinstance(value, bool):
        bits = {"int": 31, "long": 63}.get(kind, 0)
        fits = bits > 0 and -(2**bits) <= value < 2**bits
    else:
        fits = (kind == "date" and isinstance(value, date)) or (kind == "string" and isinstance(value, str))
    return value if fits else None


def _bury(manifests: Manifests, users: Iterable[str], erasure: Erasure, tables: tuple[str, ...]) -> None:
    for manifest_id in users:
        manifests.bury(
            Tombstone(manifest_id=manifest_id, erasure=erasure.id, at=erasure.at, reason=erasure.reason, tables=tables)
        )


def _built_since(
    manifests: Manifests,
    known: Collection[str],
    tables: Sequence[Table],
    gone: Mapping[str, list[int]],
    first: Mapping[str, int | None],
) -> dict[str, TrainingSetManifest]:
    """Return the training sets that were built from what goes while the tables were rewritten."""
    fresh = {manifest_id: manifests.pinned(manifest_id) for manifest_id in manifests.ids() if manifest_id not in known}
    return {manifest_id: manifest for manifest_id, manifest in fresh.items() if _uses(manifest, tables, gone, first)}


def _holding(table: Table, condition: BooleanExpression) -> list[int]:
    """Return the ids of the snapshots in which a row matches."""
    return [s.snapshot_id for s in table.metadata.snapshots if _matches(table, condition, s.snapshot_id)]


def _matches(table: Table, condition: BooleanExpression, snapshot_id: int) -> bool:
    key = _meaning(table).entities[:1]
    scan = table.scan(row_filter=condition, selected_fields=key, snapshot_id=snapshot_id, limit=1)
    return bool(scan.to_arrow().num_rows)


def _first(table: Table, condition: BooleanExpression) -> int | None:
    """Return the sequence number of the first ingest that brought a row of the entity, of rows that are anywhere still."""
    holding = [s for s in table.metadata.snapshots if _matches(table, condition, s.snapshot_id)]
    ids: list[str] = []
    if holding:
        oldest = min(holding, key=lambda snapshot: snapshot.sequence_number or 0)
        scan = table.scan(row_filter=condition, selected_fields=(INGEST_ID,), snapshot_id=oldest.snapshot_id)
        ids += scan.to_arrow()[INGEST_ID].to_pylist()
    for file in suffixed(unnamed(table, listed(table)), [DATA]):
        ids += matching_ids(table, file.uri, condition) or []
    return min((int(each.partition("-")[0]) for each in ids), default=None)


def _uses(
    manifest: TrainingSetManifest,
    tables: Sequence[Table],
    held: Mapping[str, list[int]],
    first: Mapping[str, int | None],
) -> bool:
    """Return whether a set read a snapshot that holds the entity, or, where that is gone, ingests since the first that did."""
    by_name = {table.name()[-1]: table for table in tables}
    for pinned in pins(manifest):
        table = by_name.get(pinned.table)
        if table is None or str(table.metadata.table_uuid) != pinned.table_uuid:
            continue
        since = first[pinned.table]
        if pinned.snapshot_id in held[pinned.table]:
            return True
        is_gone = table.snapshot_by_id(pinned.snapshot_id) is None
        if is_gone and since is not None and (pinned.sequence is None or pinned.sequence >= since):
            return True
    return False


def _litter(table: Table, condition: BooleanExpression, files: Iterable[TableFile]) -> list[str]:
    """Return the files that no snapshot names and that hold, or may hold, the entity's rows or its keys as bounds.

    Of such data files those that hold none of its rows stay: their writers may be at work.
    """
    loose = unnamed(table, files)
    rows = [f.uri for f in suffixed(loose, [DATA]) if matching_ids(table, f.uri, condition) != []]
    return [*rows, *(file.uri for file in suffixed(loose, [MANIFEST]))]


def _rewrite(table: Table, condition: BooleanExpression) -> ErasedTable:
    """Write a snapshot without the rows, and say what the earlier ones with them still keep, and files that no snapshot names.

    A writer whose files are there before the commit and in no snapshot after it read an earlier state: it can no longer commit.
    """

    def attempt(fresh: Table) -> ErasedTable:
        current, before = fresh.current_snapshot(), listed(fresh)
        if current is None:
            return _taken(fresh, condition, before)
        if _matches(fresh, condition, current.snapshot_id) or _litter(fresh, condition, before):
            fresh.metadata = fresh.metadata.model_copy(update={"properties": fresh.metadata.properties | _MERGED})
            summary = newest_summary(fresh)
            # a delete lists the files that it takes with their bounds, which are keys; the empty append leaves that list out
            with fresh.transaction() as transaction:
                transaction.delete(condition, snapshot_properties=summary)
                transaction.append(fresh.schema().as_arrow().empty_table(), snapshot_properties=summary)
        # of the committed state: a writer from now on writes on top of one without the rows
        return _taken(fresh, condition, before)

    return committed(table, attempt)


def _taken(table: Table, condition: BooleanExpression, before: Iterable[TableFile]) -> ErasedTable:
    holding = set(_holding(table, condition))
    snapshots = table.metadata.snapshots
    data = {path for s in snapshots if s.snapshot_id in holding for path in _data_files(table, s, is_live=True)}
    others = [s for s in snapshots if s.snapshot_id not in holding]
    data -= {path for s in others for path in _data_files(table, s, is_live=True)}
    going = holding | {s.snapshot_id for s in others if data & _data_files(table, s, is_live=False)}
    kept = needed(table, [s for s in snapshots if s.snapshot_id not in going])
    files = needed(table, [s for s in snapshots if s.snapshot_id in going]) - kept
    files |= set(_litter(table, condition, before))
    return ErasedTable(
        table=table.name()[-1],
        table_uuid=str(table.metadata.table_uuid),
        snapshots=tuple(sorted(going)),
        tags=tuple(sorted(name for name, ref in table.metadata.refs.items() if ref.snapshot_id in going)),
        files=tuple(sorted(files)),
    )


def _data_files(table: Table, snapshot: Snapshot, *, is_live: bool) -> set[str]:
    """Return the data files that a snapshot has, or that it also says to be deleted."""
    return {
        entry.data_file.file_path
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=is_live)
    }


def _finish(places: Places) -> None:
    """Complete what an earlier call began."""
    for begun in places.manifests.unfinished():
        _complete(places, begun)


def _complete(places: Places, erasure: Erasure) -> None:
    tables = {table.name()[-1]: table for table in places.tables}
    for taken in erasure.tables:
        table = tables.get(taken.table)
        if table is None or str(table.metadata.table_uuid) != taken.table_uuid:
            continue
        for tag in taken.tags:
            committed(table, lambda fresh, tag=tag: _untag(fresh, tag))  # type: ignore[misc]
        committed(table, lambda fresh, taken=taken: _expire(fresh, taken.snapshots))  # type: ignore[misc]
        for file in taken.files:
            places.remove(file)
    places.manifests.end(erasure)


def _untag(table: Table, tag: str) -> None:
    if tag in table.metadata.refs:
        table.manage_snapshots().remove_tag(tag).commit()


def _expire(table: Table, snapshots: Collection[int]) -> None:
    there = [s for s in snapshots if table.metadata.snapshot_by_id(s) is not None]
    if there:
        record(table, there)
        table.maintenance.expire_snapshots().by_ids(there).commit()


def _given(manifest: TrainingSetManifest) -> str | None:
    return None if manifest.entity_rows is None else entities_key(manifest.entity_rows)


def _erase_copies(places: Places, users: Mapping[str, TrainingSetManifest], entity: Mapping[str, object]) -> None:
    """Remove the files of training sets that hold the entity; entity rows last, as sets may be found by these alone."""
    for manifest_id, manifest in users.items():
        for uri in places.manifests.copies(manifest_id):
            objects = places.open(uri)
            for file in manifest.output.files or ():
                if _has(objects, file.path or FILE, _spelled(manifest, entity)):
                    objects.erase(file.path or FILE)
    for manifest in users.values():
        given = _given(manifest)
        if given is not None and _has(places.sets, given, _spelled(manifest, entity)):
            places.sets.erase(given)


def _unclaimed(places: Places) -> list[str]:
    """Return the files of training sets that no manifest names: their writer ended before it wrote the manifest."""
    here, claimed = f"{str(places.sets).rstrip('/')}/", []
    for manifest_id in places.manifests.ids():
        given = _given(places.manifests.read(manifest_id))
        claimed += [] if given is None else [given]
        claimed += [f"{uri.removeprefix(here)}/" for uri in places.manifests.copies(manifest_id)]
    keys = [key for folder in ("entities/", "sets/") for key in places.sets.keys(folder)]
    return [key for key in keys if key.endswith(".parquet") and not key.startswith(tuple(claimed))]


def _spelled(manifest: TrainingSetManifest, entity: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the entity by the columns that may hold it in the files of a set: its keys', and those that are joined on instead."""
    others = [pinned.key_columns for pinned in manifest.features if pinned.keys and set(entity) <= set(pinned.entities)]
    return [entity, *({columns[name]: value for name, value in entity.items()} for columns in others)]


def _has(objects: Objects, key: str | None, spelled: Iterable[Mapping[str, object]]) -> bool:
    """Return whether a Parquet file holds rows of an entity, by the columns of one of its spellings."""
    content = None if key is None else objects.get(key)
    if content is None:
        return False
    rows = pq.read_table(io.BytesIO(content))
    return any(_is_in(rows, entity) for entity in spelled)


def _is_in(rows: pa.Table, entity: Mapping[str, object]) -> bool:
    if not set(entity) <= set(rows.column_names):
        return False
    mask = pa.scalar(True)
    for name, value in entity.items():
        column = rows[name]
        plain = logical_type(column.type)
        kind = arrow_types(pa.schema([(name, plain)])).get(name)
        wanted = None if kind is None else _as_key(kind, value)
        if wanted is None:
            return False
        mask = pc.and_(mask, pc.equal(column.cast(plain), pa.scalar(wanted, plain)))
    return bool(pc.any(mask).as_py())
