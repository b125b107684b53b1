"""Manifests of training sets: kept under their id, never changed, and proved by building again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pyiceberg.table import Table

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import PinnedTable, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.iceberg import FeatureTableError
from mlops_runtime.features.training_set import TrainingSet, TrainingSetError, assemble


class ManifestError(ValueError):
    """A manifest is not what its id says."""


class Verdict(StrEnum):
    """What building a training set again showed."""

    IDENTICAL = "IDENTICAL"
    DIFFERS = "DIFFERS"
    IMPOSSIBLE = "IMPOSSIBLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Outcome of a rebuild: the verdict, why, and the rows where they could be built.

    ``same_bytes`` says whether the files have the same bytes too, as they do with the same versions of Arrow and DuckDB.
    """

    verdict: Verdict
    reason: str
    training_set: TrainingSet | None = None
    same_bytes: bool = False


def write_manifest(manifest: TrainingSetManifest, location: str | Path, *, s3: Any = None) -> str:
    """Write a manifest as ``<location>/<id>.json``, unless it is there; return its id.

    Args:
        manifest: What to write.
        location: A folder, or an ``s3://`` prefix.
        s3: A boto3 client, for a prefix.
    """
    digest, content = content_hash(manifest), canonical_json(manifest)
    if isinstance(location, str) and location.startswith("s3://"):
        bucket, key = _object(location, digest)
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*")
        except s3.exceptions.ClientError as error:
            # the id is the hash of the content: an object of that name holds it already
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
        return digest
    folder = Path(location)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}.json"
    if not path.exists():
        path.write_bytes(content)
    return digest


def read_manifest(manifest_id: str, location: str | Path, *, s3: Any = None) -> TrainingSetManifest:
    """Read the manifest of an id.

    Raises:
        ManifestError: If there is none, or its content has another hash.
    """
    if isinstance(location, str) and location.startswith("s3://"):
        bucket, key = _object(location, manifest_id)
        try:
            content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            raise ManifestError(f"no manifest s3://{bucket}/{key}") from None
    else:
        try:
            content = (Path(location) / f"{manifest_id}.json").read_bytes()
        except FileNotFoundError:
            raise ManifestError(f"no manifest {manifest_id} in {location}") from None
    manifest = from_json(TrainingSetManifest, content)
    if content_hash(manifest) != manifest_id:
        raise ManifestError(f"manifest {manifest_id} was changed: its content has the id {content_hash(manifest)}")
    return manifest


def rebuild(load: Callable[[str], Table], manifest: TrainingSetManifest) -> Rebuild:
    """Build a training set again from the snapshots of its manifest and compare the content hashes.

    Args:
        load: Loads a feature table by name, as ``FeatureStoreClient.table``.
        manifest: What was built.
    """
    tables: dict[str, Table] = {}
    missing: list[str] = []
    for pinned in (manifest.entities, *manifest.features):
        try:
            tables[pinned.table] = load(pinned.table)
        except FeatureTableError as error:
            missing.append(str(error))
            continue
        missing += _gone(tables[pinned.table], pinned)
    if missing:
        return Rebuild(verdict=Verdict.IMPOSSIBLE, reason="; ".join(missing))
    try:
        again = assemble(
            tables,
            plan_of(manifest),
            manifest.entities,
            manifest.features,
            as_of=datetime.fromisoformat(manifest.semantics.cutoff),
            uri=manifest.output.uri,
        )
    except TrainingSetError as error:
        return Rebuild(verdict=Verdict.DIFFERS, reason=str(error))
    before, after = manifest.output, again.manifest.output
    if before.content_hash != after.content_hash:
        reason = f"{before.rows} rows with content {before.content_hash} became {after.rows} with {after.content_hash}"
        return Rebuild(verdict=Verdict.DIFFERS, reason=reason, training_set=again)
    return Rebuild(
        verdict=Verdict.IDENTICAL,
        reason=f"{after.rows} rows with content {after.content_hash}",
        training_set=again,
        same_bytes=before.files == after.files,
    )


def plan_of(manifest: TrainingSetManifest) -> TrainingSetPlan:
    """Return the plan that a manifest was built from."""
    history = manifest.split.get("history_days")
    return TrainingSetPlan(
        name=manifest.name,
        label_group=manifest.entities.group,
        timestamp=manifest.split["timestamp"],
        label=manifest.split["label"],
        features={pinned.group: pinned.columns for pinned in manifest.features},
        holdout_days=int(manifest.split["holdout_days"]),
        history_days=None if history is None else int(history),
    )


def _gone(table: Table, pinned: PinnedTable) -> list[str]:
    if str(table.metadata.table_uuid) != pinned.table_uuid:
        return [f"table {pinned.table} was made anew: it is {table.metadata.table_uuid}, not {pinned.table_uuid}"]
    if table.metadata.snapshot_by_id(pinned.snapshot_id) is None:
        return [f"snapshot {pinned.snapshot_id} of table {pinned.table} (tag {pinned.tag}) was expired"]
    return []


def _object(prefix: str, digest: str) -> tuple[str, str]:
    bucket, _, path = prefix.removeprefix("s3://").partition("/")
    return bucket, "/".join(part for part in (path.strip("/"), f"{digest}.json") if part)
