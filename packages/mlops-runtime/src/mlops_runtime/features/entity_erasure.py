"""Erasure of an entity (GDPR, article 17) from the tables, their history and files, and the training sets that contain its rows.

Iceberg's delete alone only hides rows: earlier snapshots, their files and their statistics keep them. The order of steps leaves no
rows behind even while training sets are built: write a record; rewrite the tables; remove tags and snapshots, so that builds that
begin later cannot find the rows; fence the open builds and wait for them; remove their files and those of all affected sets. Each
step is idempotent. A later call or ``maintain`` completes an incomplete erasure.

See: https://iceberg.apache.org/spec/#snapshots, https://gdpr.eu/article-17-right-to-be-forgotten/
"""

import math
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.features import (
    ERASING,
    BuildIntent,
    ErasedTable,
    Erasure,
    ErasureRequest,
    Tombstone,
    TrainingSetManifest,
)
from mlops_runtime.features.entity_search import ErasureError, conditions, holds, read, respelled, spelled, spelt
from mlops_runtime.features.erasure_places import Places
from mlops_runtime.features.online_items import OnlineStoreError
from mlops_runtime.features.table_erasure import expire, held, rewrite, sweep
from mlops_runtime.features.table_files import DATA, MANIFEST
from mlops_runtime.features.training_set import entities_key
from mlops_runtime.features.training_set_files import BESIDE
from mlops_runtime.features.training_set_manifest import Manifests, pins

_POLL_SECONDS = 0.2
_ROWS = re.compile(r"\.parquet(\.\d+)?$")  # a file of a Spark task may end in the number of its attempt


def erase(
    places: Places, entity: Mapping[str, object], *, reason: str, in_use: Collection[str], include_in_use: bool
) -> Erasure:
    """Erase an entity from every table that has its key, and continue earlier incomplete erasures.

    Args:
        places: Tables, files and records of the store.
        entity: Values by name of key column, of its type or as strings; a table with further key columns loses all rows with these
            values.
        reason: Reason for the tombstones, such as a ticket's number; must not name the entity.
        in_use: Ids of training sets of models that serve, or may serve again.
        include_in_use: Whether training sets in use may be erased too.

    Returns:
        The record; ``pending`` names what the erasure still waits for.

    Raises:
        ErasureError: If no table has the key in the values' types, ``in_use`` contains an unknown training set, or a training set
            in use contains the entity and ``include_in_use`` is not set.
        ManifestError: If a manifest cannot be read.
    """
    _check_in_use(places.manifests, in_use)
    found = conditions(places.tables, entity)
    resume(places)
    before = [held(table, found[table.name()[-1]]) for table in _named(places, found)]
    users = _users(places, before, entity)
    kept = sorted(set(users) & set(in_use))
    if kept and not include_in_use:
        raise ErasureError(
            f"models in use were trained from {len(kept)} training sets that contain the entity: {', '.join(kept)}; retrain "
            "without it first, or pass include_in_use=True: these sets can then never be built again"
        )
    at = places.now().astimezone(UTC).isoformat()
    request = ErasureRequest(id=uuid4().hex, at=at, reason=reason, entity=spelt(entity), tables=tuple(found))
    places.sets.put_once(_key(request.id), canonical_json(request))
    return _carry_out(places, request, before, users)


def resume(places: Places) -> tuple[Erasure, ...]:
    """Continue the incomplete erasures; return each, complete or still pending."""
    found = []
    for key in places.sets.keys(f"{ERASING}/"):
        content = places.sets.get(key)
        if content is None:  # completed by another process
            continue
        request = from_json(ErasureRequest, content)
        done = places.manifests.erased(request.id)
        if done is None:
            known = _conditions(places, request)
            tables = _named(places, known)
            before = [held(table, known[table.name()[-1]]) for table in tables]
            done = _carry_out(places, request, before, _users(places, before, read(request.entity)))
        else:
            places.sets.erase(key)
        found.append(done)
    return tuple(found)


def _key(erasure_id: str) -> str:
    return f"{ERASING}/{erasure_id}.json"


def _named(places: Places, names: Collection[str]) -> list[Table]:
    return [table for table in places.tables if table.name()[-1] in names]


def _conditions(places: Places, request: ErasureRequest) -> dict[str, BooleanExpression]:
    """Return the condition of the erased rows by table, without tables that have been removed since."""
    tables = _named(places, request.tables)
    return conditions(tables, read(request.entity)) if tables else {}


def _check_in_use(manifests: Manifests, in_use: Collection[str]) -> None:
    unknown = sorted(map(repr, set(in_use) - set(manifests.ids())))
    if unknown:
        raise ErasureError(
            f"in_use names {', '.join(unknown)}, without a manifest in {manifests}; give full ids of training sets of this store"
        )


def _carry_out(places: Places, request: ErasureRequest, before: Sequence[ErasedTable], users: Iterable[str]) -> Erasure:
    """Perform all steps that are possible now; each may have been performed before."""
    entity = read(request.entity)
    found = _conditions(places, request)
    tables = _named(places, found)
    # write the record before the rewrite, after which it is unknown which sets read the rows
    record = places.manifests.begin(
        Erasure(
            id=request.id,
            at=request.at,
            reason=request.reason,
            entities=tuple(entity),
            tables=tuple(before),
            used_by=tuple(sorted(users)),
        )
    )
    _bury(places, record, record.used_by, record.tables)
    taken = [_rewritten(places, request.id, table, found[table.name()[-1]]) for table in tables]
    for table, each in zip(tables, taken, strict=True):
        expire(table, each, places.remove, places.now)
        places.forget_statistics(table.name()[-1])
    # builds that begin from here on do not read the rows: those that did are in this list, or are closed
    builds = [b for b in places.builds.unclosed() if b.takes_rows or set(b.tables) & set(request.tables)]
    for build in builds:
        places.builds.fence(build.id, request.id)
    pending = [*_open(places, builds), *_uploading(places, tables, taken)]
    online: Mapping[str, int] = {}
    try:
        online = places.forget(entity, {each.table: each.until for each in taken if each.until is not None})
    except OnlineStoreError as error:
        pending.append(f"online store: {error}")
    if pending:
        return replace(record, tables=_whole(taken), pending=tuple(pending), online=online)
    known = {each.table: each for each in record.tables}
    both = [
        replace(each, first=known[each.table].first, snapshots=(*known[each.table].snapshots, *each.snapshots))
        for each in taken
    ]
    used = set(record.used_by) | _users(places, both, entity).keys()
    _bury(places, record, used, both)
    _erase_copies(places, used, entity)
    spellings = respelled(entity, places.builds.joined())
    for key in _unclaimed(places):
        if holds(places.sets, key, spellings):
            places.sets.erase(f"{key}{BESIDE}")
            places.sets.erase(key)
    places.sets.remove_parts()
    for table, each in zip(tables, taken, strict=True):
        name = table.name()[-1]
        sweep(table, found[name], each.files, places.remove, is_written=partial(_is_written, places, name))
        # files of writers that lost a commit and cleaned up: rows in data files, column bounds in manifests
        for file in places.deleted(table):
            if file.endswith((DATA, MANIFEST)):
                places.remove(file)
    erasure = places.manifests.end(replace(record, tables=_whole(taken), used_by=tuple(sorted(used)), online=online))
    places.sets.erase(_key(request.id))
    return erasure


def _rewritten(places: Places, erasure_id: str, table: Table, condition: BooleanExpression) -> ErasedTable:
    """Rewrite a table, unless an earlier call did."""
    done = places.manifests.taken(erasure_id, table.name()[-1])
    if done is None:
        # the rewrite also copies rows of other entities: an erasure of those must wait for it
        with places.builds.write(table.name()[-1], table.location()):
            done = places.manifests.take(erasure_id, rewrite(table, condition, places.now))
    return done


def _is_written(places: Places, table: str) -> bool:
    """Return whether a process may be writing to a table; in S3, where not all writers announce it, files appear complete."""
    return not places.sets.is_folder or any(table in build.tables for build in places.builds.unclosed())


def _whole(taken: Iterable[ErasedTable]) -> tuple[ErasedTable, ...]:
    """Return the tables from which something was removed."""
    return tuple(each for each in taken if each.snapshots or each.files)


def _open(places: Places, builds: Sequence[BuildIntent]) -> list[str]:
    """Wait for builds and close those whose process has ended; return a line for each that may still write."""
    until = time.monotonic() + places.wait.total_seconds()
    while True:
        there = {build.id for build in places.builds.unclosed()}
        waiting = [build for build in builds if build.id in there and not _has_ended(places, build)]
        if not waiting or time.monotonic() >= until:
            return [f"build {build.id} by {build.process.name}, since {build.at}" for build in waiting]
        time.sleep(_POLL_SECONDS)


def _has_ended(places: Places, build: BuildIntent) -> bool:
    is_lock = build.process.kind == "lock"
    has_ended = not places.builds.is_locked(build.id) if is_lock else places.ended(build)
    if has_ended:
        places.builds.close(build.id)
    return has_ended


def _uploading(places: Places, tables: Sequence[Table], taken: Sequence[ErasedTable]) -> list[str]:
    """Return a line for each upload to the tables that began before the rewrite: its parts may contain rows and are not listed."""
    return [
        f"upload of {name}"
        for table, each in zip(tables, taken, strict=True)
        for name in places.uploads(table, datetime.fromisoformat(str(each.at)))
    ]


def _bury(places: Places, record: Erasure, users: Iterable[str], tables: Iterable[ErasedTable]) -> None:
    """Write tombstones, with the names of the tables that had rows of the entity."""
    had = tuple(each.table for each in tables if each.snapshots or each.first is not None)
    for manifest_id in users:
        places.manifests.bury(
            Tombstone(manifest_id=manifest_id, erasure=record.id, at=record.at, reason=record.reason, tables=had)
        )


def _users(
    places: Places, before: Sequence[ErasedTable], entity: Mapping[str, object]
) -> dict[str, TrainingSetManifest]:
    """Return the training sets that read a snapshot or ingests with the entity, or whose entity rows contain it."""
    known = {table.name()[-1]: table for table in places.tables}
    every = {each: places.manifests.read(each) for each in places.manifests.ids()}
    return {
        manifest_id: manifest
        for manifest_id, manifest in every.items()
        if _uses(manifest, known, before) or holds(places.sets, _given(manifest), spelled(manifest, entity))
    }


def _uses(manifest: TrainingSetManifest, tables: Mapping[str, Table], before: Iterable[ErasedTable]) -> bool:
    for each in before:
        for pinned in pins(manifest):
            if (pinned.table, pinned.table_uuid) != (each.table, each.table_uuid):
                continue
            is_expired = tables[each.table].snapshot_by_id(pinned.snapshot_id) is None
            is_later = each.first is not None and each.first <= pinned.sequence < (each.until or math.inf)
            if pinned.snapshot_id in each.snapshots or (is_expired and is_later):
                return True
    return False


def _given(manifest: TrainingSetManifest) -> str | None:
    return None if manifest.entity_rows is None else entities_key(manifest.entity_rows)


def _erase_copies(places: Places, users: Iterable[str], entity: Mapping[str, object]) -> None:
    """Remove the training set files that contain the entity; entity rows last, because they identify affected sets."""
    manifests = {each: places.manifests.read(each) for each in users}
    for manifest_id, manifest in manifests.items():
        for uri in places.manifests.copies(manifest_id):
            objects = places.open(uri)
            for file in manifest.output.files:
                if holds(objects, file.path, spelled(manifest, entity)):
                    objects.erase(file.path)
    for manifest in manifests.values():
        given = _given(manifest)
        if given is not None and holds(places.sets, given, spelled(manifest, entity)):
            places.sets.erase(given)


def _unclaimed(places: Places) -> list[str]:
    """Return training set files without a manifest: their writer ended before it wrote the manifest."""
    here, claimed = f"{str(places.sets).rstrip('/')}/", []
    for manifest_id in places.manifests.ids():
        given = _given(places.manifests.read(manifest_id))
        claimed += [] if given is None else [given]
        claimed += [f"{uri.removeprefix(here)}/" for uri in places.manifests.copies(manifest_id)]
    keys = [key for folder in ("entities/", "sets/", "staged/") for key in places.sets.keys(folder)]
    return [key for key in keys if _ROWS.search(key) and not key.startswith(tuple(claimed))]
