"""Build a training set that does not fit one machine, on Spark: the AWS Glue job for it.

Its script is ``from mlops_runtime.jobs.training_set_spark import main; sys.exit(main(sys.argv[1:]))`` (Glue 5.1, Spark 3.5, with
Iceberg), with pyarrow and pyiceberg installed beside this package. Arguments (others that Glue adds are ignored, except the name
and run id of the job):

    --database <Glue database>  --manifests s3://<bucket>/manifests  --sets s3://<training sets bucket>
    --build <id of this build>  --catalog <catalog of the tables in Spark>
    for a set requested by a client, which wrote its entity rows and ``staged/<build>/draft.json``: nothing more
    for the set of a plan: --plan <TrainingSetPlan>  --as_of <ISO 8601>  --tables <name,name>  --output s3://...  --tag <tag>

Tasks write files below ``staged/<build>``. The driver copies the committed ones to the set's location, checks for an erasure that
began meanwhile, writes the manifest and, last, ``staged/<build>/done.json`` with its id. A run that fails before leaves no
manifest and no partial set; another run builds the same files.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import boto3
from pyiceberg.table import Table

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import BuildProcess, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features import distributed_build, split_set
from mlops_runtime.features.build_intent import Builds, OpenBuild
from mlops_runtime.features.distributed_build import EntityFiles, Files, Written
from mlops_runtime.features.distributed_labels import DistributedLabels
from mlops_runtime.features.feature_service import FeatureServiceError, FeatureServices
from mlops_runtime.features.glue_build import DONE, DRAFT, Done, staged
from mlops_runtime.features.point_in_time import PlanError
from mlops_runtime.features.row_hashing import BLOCK
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.training_set import copy_staged, entities_key, folder
from mlops_runtime.features.training_set_files import MANIFEST_FILE
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.iso_time import parse_time

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkBuild:
    """One build of a training set."""

    spark: "SparkSession"
    id: str  # id of the build
    client: FeatureStoreClient
    sets: Objects  # the bucket of training sets
    manifests: Manifests
    builds: Builds  # the builds, beside the manifests
    process: BuildProcess
    files: Files  # file access of tasks
    catalog: str  # the catalog of the tables in Spark
    block: int = BLOCK  # number of rows that are hashed together, and that form one file of each split

    def requested(self) -> TrainingSetManifest:
        """Build the set whose draft a client wrote.

        Raises:
            TrainingSetError: If there is no draft, or rows are missing in the result.
            ErasedDuringBuildError: If an erasure began meanwhile; no file remains.
        """
        content = self.sets.get(f"{staged(self.id)}/{DRAFT}")
        draft = None if content is None else from_json(TrainingSetManifest, content)
        if draft is None or draft.entity_rows is None:
            raise TrainingSetError(
                f"there is no {staged(self.id)}/{DRAFT} in {self.sets}; request the training set again"
            )
        names = list(dict.fromkeys(pinned.table for pinned in draft.features))
        entities = EntityFiles(
            uris=(self.sets.uri(entities_key(draft.entity_rows)),), timestamp=draft.entity_rows.timestamp
        )
        with self._open(names, f"sets/{draft.name}", takes_rows=True, joined=[]) as opened:
            tables = {name: self.client.table(name) for name in names}
            manifest, written = self._written(tables, draft, entities)
            self._keep(opened, manifest, written.staged, folder(draft.name, content_hash(manifest)))
        return manifest

    def planned(
        self, plan: TrainingSetPlan, *, as_of: datetime, tables: Sequence[str], output: str, tag: str | None
    ) -> TrainingSetManifest:
        """Build the set of a plan below a key prefix. Tasks read and split its labels, see ``distributed_labels``.

        Raises:
            TrainingSetError: If the plan does not fit the tables or this engine, or rows are missing in the result.
            ErasedDuringBuildError: If an erasure began meanwhile; no file remains.
        """
        with self._open(tables, output, takes_rows=False, joined=[use.on for use in plan.uses]) as opened:
            split_set.keep_service(plan, FeatureServices(self.manifests.objects), self.client.table)
            labels = DistributedLabels(
                self.spark, catalog=self.catalog, files=self.files, staged=self.sets.uri(f"{staged(self.id)}/rows")
            )
            ready = split_set.prepared(self.client.table, tables, plan, as_of=as_of, tag=tag, split=labels.split)
            manifest, written = self._written(ready.tables, ready.manifest, labels.entities(ready.manifest))
            self._keep(opened, manifest, written.staged, output)
        return manifest

    @contextmanager
    def _open(
        self, tables: Sequence[str], target: str, *, takes_rows: bool, joined: Sequence[Mapping[str, str]]
    ) -> Iterator[OpenBuild]:
        """Open the build, with the join columns of its rows; at the end, delete staged files except draft and done file."""
        places = [self.sets.uri(staged(self.id)), self.sets.uri(target)]
        with self.builds.begin(
            tables=tables, places=places, takes_rows=takes_rows, joined=joined, process=self.process
        ) as opened:
            try:
                yield opened
            except (TrainingSetError, FeatureTableError):
                raise
            except Exception:
                opened.check()  # raises if the missing files were erased, which Spark does not report
                raise
            finally:
                for key in self.sets.keys(f"{staged(self.id)}/"):
                    if key.rpartition("/")[2] not in (DRAFT, DONE):
                        self.sets.erase(key)

    def _written(
        self, tables: Mapping[str, Table], draft: TrainingSetManifest, entities: EntityFiles
    ) -> tuple[TrainingSetManifest, Written]:
        """Write the files in tasks; return them with the manifest."""
        found = distributed_build.build(
            self.spark,
            tables,
            draft,
            entities,
            catalog=self.catalog,
            files=self.files,
            staged=self.sets.uri(f"{staged(self.id)}/files"),
            block=self.block,
        )
        by = replace(draft.build, engine="spark", engine_version=str(self.spark.version))
        return replace(draft, output=found.output, build=by), found

    def _keep(self, build: OpenBuild, manifest: TrainingSetManifest, files: Mapping[str, str], target: str) -> None:
        """Copy the files to their location and write the manifest; if an erasure began, remove them instead."""
        copy_staged(files, self.sets, target, build)
        digest = content_hash(manifest)
        if manifest.entity_rows is None:  # readers of a plan's set expect its manifest beside its files
            self.sets.put_once(f"{target}/{MANIFEST_FILE}", canonical_json(manifest))
        self.manifests.add_copy(digest, self.sets.uri(target))
        self.manifests.write(manifest)
        self.sets.put_once(f"{staged(self.id)}/{DONE}", canonical_json(Done(training_set_id=digest)))


def main(arguments: Sequence[str]) -> int:
    """Run the job. Returns the exit code; a failure is one line on standard error."""
    parser = argparse.ArgumentParser(prog="training_set_spark", allow_abbrev=False)
    for name in ("database", "manifests", "sets", "build", "catalog"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("plan", "as_of", "tables", "output", "tag", "JOB_NAME", "JOB_RUN_ID"):
        parser.add_argument(f"--{name}")
    given, _ = parser.parse_known_args(arguments)

    from pyspark.sql import SparkSession  # noqa: PLC0415 - only where Spark is

    s3 = boto3.client("s3")
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    build = SparkBuild(
        spark=spark,
        id=given.build,
        client=FeatureStoreClient.glue(database=given.database),
        sets=Objects(given.sets, s3=s3),
        manifests=Manifests(given.manifests, s3=s3),
        builds=Builds(given.manifests, s3=s3),
        process=BuildProcess(kind="job-run", name=given.JOB_NAME or "training_set_spark", run=given.JOB_RUN_ID),
        files=Files(properties=glue_properties(os.environ)),
        catalog=given.catalog,
    )
    try:
        if given.plan is None:
            manifest = build.requested()
        else:
            manifest = build.planned(
                from_json(TrainingSetPlan, given.plan),
                as_of=parse_time(given.as_of),
                tables=given.tables.split(","),
                output=given.output.removeprefix(f"{given.sets.rstrip('/')}/").rstrip("/"),
                tag=given.tag,
            )
    except (ContractError, FeatureServiceError, FeatureTableError, PlanError, TrainingSetError) as error:
        sys.stderr.write(f"mlops training set: {error}\n")
        # Glue shows the text of the exception for a failed run
        raise SystemExit(f"mlops training set: {error}") from error
    sys.stderr.write(f"mlops training set: {manifest.output.rows} rows, {content_hash(manifest)}\n")
    return 0
