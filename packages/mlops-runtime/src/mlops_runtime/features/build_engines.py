"""Engines that build training sets outside this process: Spark on Glue, and Athena."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.build_intent import OpenBuild
from mlops_runtime.features.training_set_manifest import Manifests, Objects

if TYPE_CHECKING:
    from mlops_runtime.features.training_set import Prepared, TrainingSet


_utc_now = partial(datetime.now, UTC)


class Builders(TypedDict):
    """Build functions of the available engines, for ``training_set.build``."""

    on_spark: "Callable[[Prepared], TrainingSet] | None"
    on_athena: "Callable[[Prepared], TrainingSet] | None"


@dataclass(frozen=True, slots=True)
class BuildEngines:
    """The Glue job for builds by Spark, and Athena.

    Args:
        glue: A boto3 client of Glue, for both.
        spark_job: Name of the Glue job; ``None`` without one.
        athena: Runs queries; ``None`` disables builds by Athena.
        database: The database of the feature tables.
        properties: Properties for file access, see ``table_catalog.glue_properties``.
        now: The store's clock.
    """

    glue: Any = None
    spark_job: str | None = None
    athena: AthenaRuns | None = None
    database: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], datetime] = _utc_now

    def staged(self, engine: str | None) -> list[str]:
        """Return the prefixes below which this process will stage files for the requested engine."""
        return [f"staged/{uuid4().hex}"] if engine == "athena" and self.athena is not None else []

    def remove_left(self, sets: Objects, now: datetime, *, s3: Any) -> None:
        """Remove the files and tables that interrupted Athena builds left behind, see ``athena_leftovers``.

        Args:
            sets: The bucket of training sets.
            now: The current time.
            s3: A boto3 client of S3.
        """
        from mlops_runtime.features.athena_leftovers import remove_leftovers  # noqa: PLC0415 - imports the build modules

        if self.glue is not None:
            remove_leftovers(self.glue, self.database, sets, now, s3=s3)

    def builders(
        self, sets: Objects, manifests: Manifests, build: OpenBuild, *, staged: Sequence[str], s3: Any
    ) -> Builders:
        """Return the build functions by engine.

        Args:
            sets: The bucket of training sets.
            manifests: The manifests.
            build: The open build.
            staged: The result of ``staged``.
            s3: A boto3 client of S3.
        """

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
