"""Builds of a store's training sets: intent, rows from the requested engine, files and manifest."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.table import Table

from mlops_runtime.features.batch_checks import ArrowStream
from mlops_runtime.features.build_engines import BuildEngines
from mlops_runtime.features.build_intent import Builds
from mlops_runtime.features.feature_service import FeatureService, FeatureServices
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.iceberg_tables import check_service
from mlops_runtime.features.row_files import RowSource
from mlops_runtime.features.source_ingest import read_source
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import MEMORY, Features, Request, key_types, named_tables

if TYPE_CHECKING:
    from mlops_runtime.features.training_set import TrainingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBuilds:
    """Builds and stores the training sets of a store.

    Attributes:
        load: Loads a table by name.
        names: Names of its tables.
        engines: Engines beyond this process.
        sets: Location of training sets.
        manifests: Their manifests.
        builds: Intents of builds.
        services: Feature services.
        s3: A boto3 client of S3, for a store in S3.
    """

    load: Callable[[str], Table]
    names: Sequence[str]
    engines: BuildEngines
    sets: Objects
    manifests: Manifests
    builds: Builds
    services: FeatureServices
    s3: Any

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
        """Build and store the requested set, with warnings for unmatched groups. Errors are those of ``training_set``.

        Args:
            request: The request.
            service: The feature service of its features, which is stored too.
        """
        from mlops_runtime.features import training_set  # noqa: PLC0415 - duckdb
        from mlops_runtime.features.unmatched_groups import UnmatchedGroupWarning  # noqa: PLC0415 - duckdb

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
