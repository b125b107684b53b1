"""``python -m benchmarks.features.small_batches [folder|glue|optimized] [count]``: cost of an ingest of 100 rows after many.

Each mark is a row: CPU milliseconds of an ingest (median of the last 10, mean of the last 100), of a training set of
500 rows and of ``latest`` of one key; kilobytes written by an ingest (means of the last 10 and 100); snapshots, live
files, and stored megabytes. On Glue the client's own CPU counts, and bytes are those of the object versions in its
bucket, maintenance included. ``optimized`` is Glue with its compaction in PRODUCTION, run by ``table_compaction`` at
the same number of files.
"""

import resource
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
from benchmarks.measure import load
from pyiceberg.catalog.glue import GlueCatalog

from mlops_local.cloud import up
from mlops_runtime.features.feature_group import WRITE_PROPERTIES, Entity, Feature, FeatureGroup
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema, iceberg_sort_order
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.table_compaction import compact

DAY = 100  # ingests; on Glue maintenance runs once per day, like its schedule
COMPACTED = 16  # files of a partition at which Glue compacts
MARKS = (10, 50, 100, 250, 500, 1000)
ROWS, KEYS, HOUR = 100, 300, 3_600_000_000
START = int(datetime(2019, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
NOW = datetime(2020, 1, 1, tzinfo=UTC)
GROUP = FeatureGroup(
    name="clicks",
    entities=(Entity("customer_id", "long", "customer"),),
    features=tuple(Feature(f"v{i}", "double", "a number") for i in range(4)),
    owner="benchmarks",
    description="small batches",
)
BUCKET, DATABASE = "small-batches", "small_batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store, the bytes written to it so far, and the bytes stored below its tables."""

    client: FeatureStoreClient
    written: Callable[[], int]
    kept: Callable[[], int]


@dataclass(slots=True)
class Costs:
    """Costs of each ingest so far."""

    cpu: list[float] = field(default_factory=list)
    bytes: dict[int, int] = field(default_factory=dict)

    def kilobytes(self, number: int, last: int) -> int:
        """Return the mean kilobytes written by the last ingests before a mark."""
        first = max(0, number - last)
        return round((self.bytes[number] - self.bytes[first]) / (number - first) / 1e3)


def cpu() -> float:
    """Return the CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def times(values: "np.ndarray[Any, Any]") -> pa.Array:
    """Convert microseconds to timestamps."""
    return pa.array(values, pa.int64()).cast(pa.timestamp("us", "UTC"))


def batch(number: int) -> pa.Table:
    """Return one hour's rows."""
    random = np.random.default_rng(number)
    return pa.table(
        {
            "customer_id": random.integers(0, KEYS, ROWS),
            "event_time": times(START + number * HOUR + np.arange(ROWS) * 777),
            **{f"v{i}": random.random(ROWS) for i in range(4)},
        }
    )


@contextmanager
def folder() -> Iterator[Place]:
    """Return a store in a folder; bytes are those that this process writes."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)

        def written() -> int:
            return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])

        def kept() -> int:
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

        yield Place(client=FeatureStoreClient.local(path, now=lambda: NOW), written=written, kept=kept)


@contextmanager
def glue() -> Iterator[Place]:
    """Return a store on an embedded cloud of its own; bytes are those of all object versions in its bucket."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        cloud = up(Path(name))
        stack.callback(lambda: cloud.down(forget=True))
        environment = cloud.environment()
        common = {
            "endpoint_url": environment["AWS_ENDPOINT_URL"],
            "region_name": environment["AWS_REGION"],
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        s3 = boto3.client("s3", **common)
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        boto3.client("glue", **common).create_database(DatabaseInput={"Name": DATABASE})
        locked = FeatureLock().extend([GROUP]).table(GROUP)
        GlueCatalog("made", None, **glue_properties(environment)).create_table(
            (DATABASE, GROUP.table_name),
            iceberg_schema(GROUP, locked),
            location=f"s3://{BUCKET}/{DATABASE}/{GROUP.table_name}",
            partition_spec=iceberg_partition(locked),
            sort_order=iceberg_sort_order(GROUP, locked),
            properties=GROUP.properties | WRITE_PROPERTIES,
        )
        client = FeatureStoreClient.glue(
            database=DATABASE,
            environment=environment,
            now=lambda: NOW,
            manifests=f"s3://{BUCKET}/manifests",
            training_sets=f"s3://{BUCKET}",
            s3=s3,
        )

        def size(operation: str, member: str) -> int:
            pages = s3.get_paginator(operation).paginate(Bucket=BUCKET)
            return sum(each["Size"] for page in pages for each in page.get(member, ()))

        yield Place(
            client=client,
            written=lambda: size("list_object_versions", "Versions"),
            kept=lambda: size("list_objects_v2", "Contents"),
        )


def row(place: Place, costs: Costs, number: int) -> str:
    """Return the row of a mark."""
    random = np.random.default_rng(7)
    entities = pa.table(
        {
            "customer_id": random.integers(0, KEYS, 500),
            "event_timestamp": times(START + random.integers(0, 1500 * HOUR, 500)),
        }
    )
    one = pa.table({"customer_id": pa.array([5], pa.int64())})
    trained, looked_up = [], []
    for attempt in range(3):
        before = cpu()
        place.client.training_set(entities, [GROUP], name=f"s{number}-{attempt}")
        between = cpu()
        place.client.latest(GROUP, one)
        trained.append(between - before)
        looked_up.append(cpu() - between)
    table = place.client.table(GROUP.table_name)
    measured = [
        number,
        round(1000 * statistics.median(costs.cpu[-10:])),
        round(1000 * statistics.fmean(costs.cpu[-100:])),
        costs.kilobytes(number, 10),
        costs.kilobytes(number, 100),
        round(1000 * statistics.median(trained)),
        round(1000 * statistics.median(looked_up)),
        len(table.metadata.snapshots),
        len(list(table.scan().plan_files())),
        round(place.kept() / 1e6, 1),
    ]
    return f"| {' | '.join(map(str, measured))} |"


def optimize(place: Place) -> None:
    """Compact partitions with as many files as Glue's threshold; there are no other commits, so nothing is removed."""
    table = place.client.table(GROUP.table_name)
    files = Counter(str(task.file.partition) for task in table.scan().plan_files())
    if max(files.values()) >= COMPACTED:
        compact(table, print)


def main() -> None:
    """Ingest, and print a row at each mark."""
    where = sys.argv[1] if len(sys.argv) > 1 else "folder"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else MARKS[-1]
    print(
        "| after | ingest CPU ms | mean of 100 | ingest KB | mean of 100 | training set ms | `latest` ms | snapshots | files | MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    costs = Costs()
    with {"folder": folder, "glue": glue, "optimized": glue}[where]() as place:
        counted = {max(0, mark - back) for mark in MARKS for back in (0, 10, 100)}
        costs.bytes[0], aside = place.written(), 0
        for number in range(1, count + 1):
            rows, before = batch(number), cpu()
            place.client.ingest(GROUP, rows, idempotency_key=f"b{number}")
            costs.cpu.append(cpu() - before)
            if where != "folder" and number % DAY == 0:
                place.client.maintain()
            elif where == "optimized":
                optimize(place)
            if number in counted:
                costs.bytes[number] = place.written() - aside
            if number in MARKS:
                print(row(place, costs, number), flush=True)
                aside += place.written() - costs.bytes[number] - aside
        found = place.client.table(GROUP.table_name).scan().count()
        again = place.client.ingest(GROUP, batch(1), idempotency_key="b1")
    print(f"\n{where}: {found} rows, the first batch again: {'duplicate' if again.duplicate else 'WRITTEN'}; {load()}")


if __name__ == "__main__":
    main()
