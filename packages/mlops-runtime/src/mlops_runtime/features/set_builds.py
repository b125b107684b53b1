"""Builds of a store's training sets: intent, rows from the requested engine, files and manifest.

Engines outside this process are Spark on Glue, and Athena.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

import pyarrow as pa
from pyiceberg.table import Table

from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.batch_checks import ArrowStream
from mlops_runtime.features.build_intent import Builds, OpenBuild
from mlops_runtime.features.feature_service import FeatureService, FeatureServices
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.iceberg_tables import check_service
from mlops_runtime.features.row_files import RowSource
from mlops_runtime.features.source_ingest import read_source
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import MEMORY, Features, Request, key_types, named_tables

if TYPE_CHECKING:
    from mlops_runtime.features.training_set import Prepared, TrainingSet


_utc_now = partial(datetime.now, UTC)


class Builders(TypedDict):
    """Build functions of the available engines, for ``training_set.build``."""

    on_spark: "Callable[[Prepared], TrainingSet] | None"
    on_athena: "Callable[[Prepared], TrainingSet] | None"


@dataclass(frozen=True, slots=True)
class BuildEngines:
    """The Glue job for builds by Spark, and Athena."""

    glue: Any = None  # a boto3 client of Glue, for both
    spark_job: str | None = None  # name of the Glue job; `None` without one
    athena: AthenaRuns | None = None  # runs queries; `None` disables builds by Athena
    database: str = ""  # the database of the feature tables
    # properties for file access, see `table_catalog.glue_properties`
    properties: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], datetime] = _utc_now  # the store's clock

    def staged(self, engine: str | None) -> list[str]:
        """Return the prefixes below which this process will stage files for the requested engine."""
        return [f"staged/{uuid4().hex}"] if engine == "athena" and self.athena is not None else []

    def remove_left(self, sets: Objects, now: datetime, *, s3: Any) -> None:
        """Remove the files and tables that interrupted Athena builds left behind, see ``remove_leftovers``."""
        from mlops_runtime.features.athena_build import remove_leftovers  # noqa: PLC0415 - imports the build modules

        if self.glue is not None:
            remove_leftovers(self.glue, self.database, sets, now, s3=s3)

    def builders(
        self, sets: Objects, manifests: Manifests, build: OpenBuild, *, staged: Sequence[str], s3: Any
    ) -> Builders:
        """Return the build functions by engine."""

        def on_spark(ready: "Prepared") -> "TrainingSet":
            from mlops_runtime.features.glue_build import GlueBuilder  # noqa: PLC0415 - imports the build modules

            job = str(self.spark_job)
            return GlueBuilder(glue=self.glue, job=job, sets=sets, manifests=manifests).build(ready, build)

        def on_athena(ready: "Prepared") -> "TrainingSet":
            from mlops_runtime.features.athena_build import AthenaBuilder  # noqa: PLC0415 - imports the build modules
            from mlops_runtime.features.distributed_build import Files  # noqa: PLC0415

            if self.athena is None:
                raise AssertionError("unreachable")
            self.remove_left(sets, self.now(), s3=s3)
            builder = AthenaBuilder(
                runs=self.athena,
                glue=self.glue,
                database=self.database,
                s3=s3,
                sets=sets,
                manifests=manifests,
                files=Files(properties=self.properties),
            )
            return builder.build(ready, build, name=staged[0].removeprefix("staged/"))

        return {
            "on_spark": None if self.spark_job is None else on_spark,
            "on_athena": None if self.athena is None else on_athena,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBuilds:
    """Builds and stores the training sets of a store."""

    load: Callable[[str], Table]
    names: Sequence[str]  # names of its tables
    engines: BuildEngines  # engines beyond this process
    sets: Objects  # location of training sets
    manifests: Manifests
    builds: Builds  # intents of builds
    services: FeatureServices
    s3: Any  # a boto3 client of S3, for a store in S3

    def rows(
        self, entities: ArrowStream | RowSource, features: Features, timestamp: str, memory: int | None
    ) -> ArrowStream:
        """Return entity rows; rows of files or of a query are read into memory, with keys in the types of the tables."""
        if isinstance(entities, RowSource):
            types = {timestamp: pa.timestamp("us", "UTC"), **key_types(self.load, self.names, features)}
            rows: ArrowStream = read_source(entities, types, memory=MEMORY if memory is None else memory)
            return rows
        return entities

    def build(self, request: Request, service: FeatureService | None) -> "TrainingSet":
        """Build and store the requested set, with warnings for unmatched groups. Errors are those of ``training_set``."""
        from mlops_runtime.features import training_set  # noqa: PLC0415 - duckdb
        from mlops_runtime.features.point_in_time import UnmatchedGroupWarning  # noqa: PLC0415 - duckdb

        if service is not None:
            self.services.check(service.spec)
            check_service(service.spec, self.load)
        read = dict.fromkeys(named_tables(request, self.names).values())
        places = [training_set.place(self.sets, f"sets/{request.name}"), training_set.place(self.sets, "entities")]
        staged = self.engines.staged(request.engine)
        joined = [use.on for use in request.features if isinstance(use, GroupJoin) and use.on]
        with self.builds.begin(
            tables=tuple(read), places=[*places, *map(self.sets.uri, staged)], takes_rows=True, joined=joined
        ) as build:
            elsewhere = self.engines.builders(self.sets, self.manifests, build, staged=staged, s3=self.s3)
            built = training_set.build(self.load, self.names, request, **elsewhere)
            if service is not None:
                self.services.put(service.spec)
            if built.manifest.build.engine == "duckdb":
                training_set.keep(built, self.sets, self.manifests, build)
        for text in built.warnings:
            warnings.warn(text, UnmatchedGroupWarning, stacklevel=3)
        return built
