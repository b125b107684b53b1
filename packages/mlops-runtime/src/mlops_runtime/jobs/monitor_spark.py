"""The monitor's job for large windows, on Spark: capture objects are counted on all instances; the rest is the same job.

SageMaker's Spark container, with this package installed, runs
``from mlops_runtime.jobs.monitor_spark import main; sys.exit(main(sys.argv[1:]))`` with the arguments of
``mlops_runtime.jobs.monitor``. A task counts one part of an object like the job without Spark: the counts are identical bit
for bit.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/use-spark-processing-container.html
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mlops_runtime.jobs import monitor
from mlops_runtime.jobs.monitor_count import CountSettings, ObjectCounter, Outcome, attempt, collect
from mlops_runtime.jobs.monitor_parts import PART_BYTES, Part, parts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MOST_TASKS = 4096


def main(arguments: Sequence[str]) -> int:
    """Run the job. Returns the exit code; a user error is one line on standard error."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - only where Spark is

    spark = SparkSession.builder.appName("mlops-monitor").getOrCreate()
    return monitor.main(arguments, partial(count_objects, spark))


def count_objects(
    spark: "SparkSession", sizes: Mapping[str, int], settings: CountSettings, *, part_bytes: int = PART_BYTES
) -> dict[str, str]:
    """Count capture objects on Spark's executors and write their counts; return why objects were not counted, by their key."""
    todo = parts(sizes, part_bytes)
    tasks = spark.sparkContext.parallelize(todo, min(len(todo), _MOST_TASKS))
    # one partition at a time, so that the driver only has one task's counts in memory
    return collect(todo, tasks.mapPartitions(partial(_count, settings)).toLocalIterator(), ObjectCounter(settings))


def _count(settings: CountSettings, assigned: Iterator[Part]) -> Iterator[tuple[Part, Outcome]]:
    """Count the parts of one task, on a worker."""
    counter = ObjectCounter(settings)
    for part in assigned:
        yield part, attempt(counter, part)
