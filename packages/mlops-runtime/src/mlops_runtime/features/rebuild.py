"""Verification of a training set by rebuilding it from the snapshots that its manifest pins."""

import hashlib
import io
from dataclasses import dataclass
from enum import StrEnum

import pyarrow.parquet as pq
from pyiceberg.table import Table

from mlops_runtime.contracts.features import PinnedTable, TrainingSetManifest
from mlops_runtime.features import split_set, training_set
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_pins import expiry_problem
from mlops_runtime.features.training_set import TrainingSet
from mlops_runtime.features.training_set_manifest import Manifests, Objects, pins
from mlops_runtime.features.training_set_request import Load, TrainingSetError


class Verdict(StrEnum):
    """Verdict of a rebuild."""

    IDENTICAL = "IDENTICAL"
    DAMAGED = "DAMAGED"
    DIFFERS = "DIFFERS"
    IMPOSSIBLE = "IMPOSSIBLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Result of a rebuild: the verdict, the reason, and the training set if it could be built.

    ``DAMAGED``: the rows are the same, but a stored file is missing or differs from the manifest; or the stored entity rows differ,
    and nothing could be built. ``same_bytes``: the files have the same bytes too, which requires the same versions of Arrow and
    DuckDB.
    """

    verdict: Verdict
    reason: str
    training_set: TrainingSet | None = None
    same_bytes: bool = False


def rebuild(load: Load, manifest_id: str, manifests: Manifests, sets: Objects | None = None) -> Rebuild:
    """Rebuild a training set from the snapshots of its manifest, and compare content hashes and the bytes of stored files.

    Args:
        load: Loads a feature table by name, such as ``FeatureStoreClient.table``.
        manifest_id: Id of the set.
        manifests: Manifests and tombstones.
        sets: Location of training sets and of supplied entity rows; files stored there are compared. Default: none; no files are
            compared, and a set of supplied rows cannot be rebuilt.

    Raises:
        ManifestError: If the manifest is missing or was changed.
    """
    manifest, tombstone = manifests.read(manifest_id), manifests.tombstone(manifest_id)
    if tombstone is not None:
        taken = ", ".join(tombstone.tables) or "the given entity rows"
        return Rebuild(
            verdict=Verdict.IMPOSSIBLE,
            reason=f"erasure {tombstone.erasure} of {tombstone.at} ({tombstone.reason}) erased rows of {taken}",
        )
    tables: dict[str, Table] = {}
    missing: list[str] = []
    for pinned in pins(manifest):
        try:
            tables[pinned.table] = load(pinned.table)
        except FeatureTableError as error:
            missing.append(str(error))
            continue
        missing += _pin_problems(tables[pinned.table], pinned)
    content = None
    if manifest.entity_rows is not None:
        key = training_set.entities_key(manifest.entity_rows)
        content = None if sets is None else sets.get(key)
        missing += [] if content is not None else [f"entity rows {key} are missing"]
    if missing:
        return Rebuild(verdict=Verdict.IMPOSSIBLE, reason="; ".join(dict.fromkeys(missing)))
    if manifest.entity_rows is not None and content is not None:
        found = hashlib.sha256(content).hexdigest()
        if found != manifest.entity_rows.sha256:
            key = training_set.entities_key(manifest.entity_rows)
            reason = f"entity rows {key} have the SHA-256 {found}; restore the file from a backup or version"
            return Rebuild(verdict=Verdict.DAMAGED, reason=reason)
    try:
        if content is None:
            again = split_set.assemble(tables, manifest)
        else:
            again = training_set.assemble(tables, manifest, pq.read_table(io.BytesIO(content)))
    except TrainingSetError as error:
        return Rebuild(verdict=Verdict.DIFFERS, reason=str(error))
    before, after = manifest.output, again.manifest.output
    if before.content_hash != after.content_hash:
        reason = f"{before.rows} rows with content {before.content_hash} became {after.rows} with {after.content_hash}"
        return Rebuild(verdict=Verdict.DIFFERS, reason=reason, training_set=again)
    damaged = [] if sets is None else _damaged(manifest_id, manifest, manifests, sets)
    if damaged:
        reason = f"{after.rows} rows have the content {after.content_hash} again, but {'; '.join(damaged)}"
        return Rebuild(verdict=Verdict.DAMAGED, reason=reason, training_set=again)
    return Rebuild(
        verdict=Verdict.IDENTICAL,
        reason=f"{after.rows} rows with content {after.content_hash}",
        training_set=again,
        same_bytes=before.files == after.files,
    )


def _damaged(manifest_id: str, manifest: TrainingSetManifest, manifests: Manifests, sets: Objects) -> list[str]:
    """Return a line for each file stored here that is missing or differs from the manifest."""
    folder = training_set.folder(manifest.name, manifest_id)
    place = training_set.place(sets, folder)
    if place not in manifests.copies(manifest_id):
        return []
    problems = []
    for file in manifest.output.files:
        content = sets.get(f"{folder}/{file.path}")
        if content is None:
            problems.append(f"{place}/{file.path} is missing; build the set again, which writes it")
        elif (found := hashlib.sha256(content).hexdigest()) != file.sha256:
            problems.append(
                f"{place}/{file.path} has the SHA-256 {found} instead of {file.sha256}; remove it and build the set again"
            )
    return problems


def _pin_problems(table: Table, pinned: PinnedTable) -> list[str]:
    if str(table.metadata.table_uuid) != pinned.table_uuid:
        return [f"table {pinned.table} was recreated: it is {table.metadata.table_uuid}, not {pinned.table_uuid}"]
    problem = expiry_problem(table, pinned)
    return [] if problem is None else [problem]
