"""Verification of a plan's training set built by another engine: whether the objects below its prefix are the requested set.

Rows are not read: S3 stores the SHA-256 of each copied file, and the manifest has the expected one. The content hash is that of the
rows of these files.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import OutputFile, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.snapshot_tags import training_set_tag
from mlops_runtime.features.training_set_files import MANIFEST_FILE, SPLITS
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests, Objects, pins
from mlops_runtime.features.training_set_request import TrainingSetError

_AT_ONCE = 16


class StoredSetError(TrainingSetError):
    """The objects below a training set's prefix are not the requested set; the message lists every problem."""


def verified(
    objects: Objects, manifests: Manifests, plan: TrainingSetPlan, *, as_of: datetime, tag: str | None
) -> TrainingSetManifest:
    """Return the manifest of a set that was built below a prefix, if the set is complete.

    Args:
        objects: The objects below the prefix.
        manifests: The manifests of the store.
        plan: The requested labels, features and split.
        as_of: The requested cutoff.
        tag: Tag of the snapshots to read; ``None`` for any.

    Raises:
        StoredSetError: If there is no manifest, it is of another request, or a file is missing or has different bytes.
    """
    content = objects.get(MANIFEST_FILE)
    if content is None:
        raise StoredSetError(f"training set {plan.name}: there is no {MANIFEST_FILE} in {objects}; build it again")
    try:
        manifest = from_json(TrainingSetManifest, content)
        kept = manifests.read(content_hash(manifest))
        problems = list(_problems(manifest, plan, as_of=as_of, tag=tag))
    except (ContractError, ManifestError, TrainingSetError) as error:
        raise StoredSetError(f"training set {plan.name}: {error}; build it again") from error
    if canonical_json(kept) != content:
        problems.append(f"{MANIFEST_FILE} differs from the stored manifest")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda file: _file_problem(objects, file), manifest.output.files)
        problems += [problem for problem in found if problem is not None]
    if problems:
        raise StoredSetError(f"training set {plan.name} in {objects}: {'; '.join(problems)}; build it again")
    return manifest


def _problems(
    manifest: TrainingSetManifest, plan: TrainingSetPlan, *, as_of: datetime, tag: str | None
) -> Iterator[str]:
    # the tag is derived from plan, time and snapshots
    own = training_set_tag(plan, as_of, {each.table: each.snapshot_id for each in pins(manifest)})
    others = sorted({str(each.tag) for each in pins(manifest)} - {own if tag is None else tag})
    if others or tag not in (None, own):
        yield f"it was made from another plan, time or snapshots: it has tag {', '.join(others) or tag}, which should be {own}"
    output = manifest.output
    rows = {split: sum(file.rows for file in output.files if file.path.startswith(f"{split}/")) for split in SPLITS}
    yield from (f"it has no rows for {split}" for split, count in rows.items() if not count)
    if sum(rows.values()) != output.rows:
        yield f"its files have {sum(rows.values())} rows, its manifest has {output.rows}"
    matched = output.matched or {}
    yield from (
        f"{count} of {output.rows} rows match {use}" for use, count in matched.items() if not 0 <= count <= output.rows
    )
    yield from (
        f"it lacks the number of matched rows of {each.use}" for each in manifest.features if each.use not in matched
    )


def _file_problem(objects: Objects, file: OutputFile) -> str | None:
    found = objects.digest(file.path)
    if found is None:
        return f"{file.path} is missing"
    return None if found == (file.bytes, file.sha256) else f"{file.path} has different bytes"
