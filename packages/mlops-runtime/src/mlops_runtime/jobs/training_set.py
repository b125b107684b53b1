"""``python -m mlops_runtime.jobs.training_set``: build a training set from the feature tables in Glue.

Writes ``train``, ``holdout`` and ``manifest`` below the output, and the manifest also under its id, where it is immutable.
SageMaker uploads nothing: that would happen after the process, when an erasure could no longer prevent it. The tables are read
with the job's own role. With ``--tag`` their snapshots were tagged before by a function, the only principal that may commit to
them, so the role needs no write permission below a table.

A set that another engine built is verified without reading its rows: S3 stores the SHA-256 of each copied file, and the manifest
has the expected one. The content hash is that of the rows of these files.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import OutputFile, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.build_intent import Builds
from mlops_runtime.features.feature_service import FeatureServiceError, FeatureServices
from mlops_runtime.features.point_in_time import PlanError
from mlops_runtime.features.snapshot_tags import training_set_tag
from mlops_runtime.features.split_set import keep_service
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.training_set import write
from mlops_runtime.features.training_set_files import MANIFEST_FILE, SPLITS
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests, Objects, pins
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.iso_time import parse_time
from mlops_runtime.jobs.job_environment import JobError, OptMl
from mlops_runtime.jobs.lineage_report import Lineage
from mlops_runtime.jobs.lineage_report import add_arguments as lineage_arguments

_AT_ONCE = 16  # concurrent reads of file hashes
# in a network without SageMaker's endpoint, fail within seconds instead of minutes
_PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 3, "mode": "standard"})


class StoredSetError(TrainingSetError):
    """The objects below a training set's prefix are not the requested set; the message lists every problem."""


def training_set(
    client: FeatureStoreClient,
    plan: TrainingSetPlan,
    *,
    as_of: datetime,
    tables: Sequence[str],
    opt_ml: OptMl,
    output: str,
    manifests: str,
    s3: Any,
    tag: str | None = None,
) -> TrainingSetManifest:
    """Build the training set, write its files below an S3 prefix, and return its manifest, which is stored below another.

    Raises:
        ErasedDuringBuildError: If an erasure began meanwhile; no manifest is written.
    """
    place, kept = output.rstrip("/"), Manifests(manifests, s3=s3)
    joined = [use.on for use in plan.uses]
    with Builds(manifests, s3=s3).begin(tables=tables, places=[place], takes_rows=False, joined=joined) as build:
        keep_service(plan, FeatureServices(kept.objects), client.table)
        built = client.split_training_set(plan, as_of=as_of, tables=tables, tag=tag)
        files = {**built.files, MANIFEST_FILE: canonical_json(built.manifest)}
        write(files, Objects(place, s3=s3), build, what=f"training set {built.id}")
        build.check()
        kept.add_copy(built.id, place)
        kept.write(built.manifest)
    for text in built.warnings:
        sys.stderr.write(f"mlops training set: warning: {text}\n")
    _write_exit_message(built.manifest, opt_ml)
    return built.manifest


def verified(
    objects: Objects, manifests: Manifests, plan: TrainingSetPlan, *, as_of: datetime, tag: str | None
) -> TrainingSetManifest:
    """Return the manifest of a set that was built below a prefix, if the set is complete and of this plan, cutoff and tag.

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


def _write_exit_message(manifest: TrainingSetManifest, opt_ml: OptMl) -> None:
    """Write the id as the job's exit message, from which the machine passes it to the training."""
    digest, files = content_hash(manifest), manifest.output.files
    opt_ml.write_message(digest)
    rows = [sum(file.rows for file in files if file.path.startswith(f"{split}/")) for split in SPLITS]
    sys.stderr.write(f"mlops training set: {rows[0]} rows to train, {rows[1]} held out, {digest}\n")


def main(arguments: Sequence[str]) -> int:
    """Run the job. Returns the exit code; a failure is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.jobs.training_set")
    # SageMaker limits arguments to 256 characters, so the plan may be split
    parser.add_argument("--plan", required=True, nargs="+", help="TrainingSetPlan as JSON")
    parser.add_argument("--as-of", required=True, help="ISO 8601 time; nothing that became known later is used")
    parser.add_argument("--database", required=True, help="the Glue database of the feature store")
    parser.add_argument("--tables", required=True, nargs="+", help="names of the tables with the plan's groups")
    parser.add_argument("--output", required=True, help="S3 prefix of the splits")
    parser.add_argument("--manifests", required=True, help="S3 prefix of all manifests")
    parser.add_argument("--tag", help="tag of the snapshots to read; without it, the current ones are tagged here")
    parser.add_argument(
        "--built",
        action="store_true",
        help="another engine has built the set: check it, and report it as one built here",
    )
    lineage_arguments(parser)
    options = parser.parse_args(arguments)
    started = datetime.now(UTC)
    try:
        plan, as_of = from_json(TrainingSetPlan, "".join(options.plan)), _time(options.as_of)
        opt_ml = OptMl.from_environment(os.environ)
        s3 = boto3.client("s3")
        lineage = Lineage(
            catalog=options.catalog,
            events=options.lineage,
            namespace=options.namespace,
            manifests=options.manifests,
            environment=os.environ,
            sagemaker=None if options.catalog is None else boto3.client("sagemaker", config=_PATIENCE),
            s3=s3,
        )
    except (JobError, ContractError) as error:
        return OptMl.from_environment(os.environ).refuse("training set", error)
    try:
        if options.built:
            place, kept = Objects(options.output, s3=s3), Manifests(options.manifests, s3=s3)
            manifest = verified(place, kept, plan, as_of=as_of, tag=options.tag)
            _write_exit_message(manifest, opt_ml)
        else:
            manifest = training_set(
                FeatureStoreClient.glue(database=options.database),
                plan,
                as_of=as_of,
                tables=options.tables,
                opt_ml=opt_ml,
                output=options.output,
                manifests=options.manifests,
                s3=s3,
                tag=options.tag,
            )
    except (JobError, ContractError, FeatureServiceError, FeatureTableError, TrainingSetError, PlanError) as error:
        _log_problems(lineage.failed(plan, as_of=as_of, error=str(error), started=started, now=datetime.now(UTC)))
        return opt_ml.refuse("training set", error)
    # the set is complete without lineage: errors are only logged, and lineage can be published later from the manifest
    _log_problems(lineage.built(manifest, uri=options.output.rstrip("/"), started=started, now=datetime.now(UTC)))
    return 0


def _log_problems(problems: Sequence[str]) -> None:
    for problem in problems:
        sys.stderr.write(f"mlops training set: lineage: {problem}\n")


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise JobError(f"--as-of must be an ISO 8601 time, got {text!r}") from None


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
