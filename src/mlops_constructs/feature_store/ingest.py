"""How a feature store takes batches that arrive as objects."""

from dataclasses import dataclass, field
from typing import Literal

import aws_cdk as cdk

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_size, check_type, check_whole

# an idempotency key is remembered at least as long, so that a batch which is still there is never ingested twice
REMEMBERED_DAYS = 90
_WORKER_TYPES = ("G.1X", "G.2X", "G.4X", "G.8X")


@checked("InvalidGlueIngestJob")
@dataclass(frozen=True, slots=True, kw_only=True)
class GlueIngestJob:
    """A Glue Spark job for batches over the limits of the function.

    Args:
        worker_type: Size of a worker. Default: ``G.1X``, four processors and 16 GB.
        number_of_workers: Number of workers, at least two, the driver among them. Default: 3.
        timeout: Longest run, from 5 minutes to 24 hours. Default: 2 hours.
        max_concurrent_runs: Runs at the same time, at most; further batches wait in the queue, at last among its dead letters.
            Default: 3.

    Raises:
        ValidationError: If a number is not possible; with every problem.

    Example:
        >>> GlueIngestJob(number_of_workers=10).worker_type
        'G.1X'
    """

    worker_type: Literal["G.1X", "G.2X", "G.4X", "G.8X"] = "G.1X"
    number_of_workers: int = 3
    timeout: cdk.Duration = field(default_factory=lambda: cdk.Duration.hours(2))
    max_concurrent_runs: int = 3

    def __post_init__(self) -> None:
        problems = [
            check_whole("number_of_workers", self.number_of_workers, minimum=2, maximum=299),
            check_duration(
                "timeout",
                self.timeout,
                minimum=cdk.Duration.minutes(5),
                maximum=cdk.Duration.hours(24),
                whole="minutes",
            ),
            check_whole("max_concurrent_runs", self.max_concurrent_runs, minimum=1, maximum=50),
            None
            if self.worker_type in _WORKER_TYPES
            else f"worker_type must be one of {', '.join(_WORKER_TYPES)}, got {self.worker_type!r}",
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidGlueIngestJob", found)


@checked("InvalidFeatureIngest")
@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureIngest:
    """Batches as Parquet objects ``incoming/<table>/<idempotency key>.parquet`` in a bucket of their own, ingested as they arrive.

    The function's wheels are a layer: ``"build": "mlops assets build --layer monitor --layer features"`` in ``cdk.json``.

    Args:
        max_rows: Rows of a batch, at most; what a larger one becomes says ``job``. Default: 1,000,000.
        max_object_size: Size of a batch, in the object and decompressed, at most, whole MiB from 1 to 512; its rows in memory may
            take three times as much. Default: 64 MiB.
        memory_size: Memory of the function, whole MiB from 1,024 to 10,240; a million rows of eight doubles took 0.8 GB.
            Default: 3,008 MiB, the most that a new account allows.
        job: What ingests batches over the limits. Default: they are rejected.
        retention: How long delivered batches and reports of rejected ones are kept, whole days from 1 to 90. Default: 30 days.

    Raises:
        ValidationError: If a number is not possible; with every problem.

    Example:
        >>> FeatureIngest(max_rows=200_000).max_object_size.to_mebibytes()
        64
    """

    max_rows: int = 1_000_000
    max_object_size: cdk.Size = field(default_factory=lambda: cdk.Size.mebibytes(64))
    memory_size: cdk.Size = field(default_factory=lambda: cdk.Size.mebibytes(3008))
    retention: cdk.Duration = field(default_factory=lambda: cdk.Duration.days(30))
    job: GlueIngestJob | None = None

    def __post_init__(self) -> None:
        mebibytes = cdk.Size.mebibytes
        problems = [
            check_whole("max_rows", self.max_rows, minimum=1, maximum=100_000_000),
            check_size("max_object_size", self.max_object_size, minimum=mebibytes(1), maximum=mebibytes(512)),
            check_size("memory_size", self.memory_size, minimum=mebibytes(1024), maximum=mebibytes(10240)),
            check_duration(
                "retention",
                self.retention,
                minimum=cdk.Duration.days(1),
                maximum=cdk.Duration.days(REMEMBERED_DAYS),
                whole="days",
            ),
            check_type("job", self.job, GlueIngestJob, allowed="a GlueIngestJob(...), or left out"),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidFeatureIngest", found)
