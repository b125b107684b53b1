"""Which engines beyond this process a client knows, and how each builds a training set for it."""

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
    """What ``training_set.build`` calls for each engine that is known."""

    on_spark: "Callable[[Prepared], TrainingSet] | None"
    on_athena: "Callable[[Prepared], TrainingSet] | None"


@dataclass(frozen=True, slots=True)
class BuildEngines:
    """The Glue job that builds by Spark, and Athena.

    Args:
        glue: A boto3 client of Glue, for both.
        spark_job: Name of the job. ``None``: there is not one.
        athena: Runs statements. ``None``: sets are not asked of Athena.
        database: The database of the feature tables.
        properties: How files are reached, as ``table_catalog.glue_properties`` says.
        now: The store's clock.
    """

    glue: Any = None
    spark_job: str | None = None
    athena: AthenaRuns | None = None
    database: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], datetime] = _utc_now

    def staged(self, engine: str | None) -> list[str]:
        """Return the keys below which this process will stage files, by the engine that is asked for."""
        return [f"staged/{uuid4().hex}"] if engine == "athena" and self.athena is not None else []

    def remove_left(self, sets: Objects, now: datetime, *, s3: Any) -> None:
        """Remove what builds by Athena have left that were killed, see ``athena_leftovers``.

        Args:
            sets: Where sets belong.
            now: The time.
            s3: A boto3 client of S3.
        """
        from mlops_runtime.features.athena_leftovers import remove_leftovers  # noqa: PLC0415 - loads what builds sets

        if self.glue is not None:
            remove_leftovers(self.glue, self.database, sets, now, s3=s3)

    def builders(
        self, sets: Objects, manifests: Manifests, build: OpenBuild, *, staged: Sequence[str], s3: Any
    ) -> Builders:
        """Return what builds a set by each engine, and keeps it.

        Args:
            sets: Where sets belong.
            manifests: The manifests.
            build: The build that is open.
            staged: As ``staged`` answered.
            s3: A boto3 client of S3.
        """

        def on_spark(ready: "Prepared") -> "TrainingSet":
            from mlops_runtime.features.glue_build import GlueBuilder  # noqa: PLC0415 - loads what builds sets

            job = str(self.spark_job)
            return GlueBuilder(glue=self.glue, job=job, sets=sets, manifests=manifests).build(ready, build)

        def on_athena(ready: "Prepared") -> "TrainingSet":
            from mlops_runtime.features.athena_build import AthenaBuilder  # noqa: PLC0415 - loads what builds sets
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
