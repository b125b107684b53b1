"""``python -m benchmarks.features.athena COUNT``: a training set of two groups joined by Athena, compared with DuckDB.

COUNT entity rows with two groups of the same number of rows, those of ``benchmarks.features.distributed``, in an
embedded cloud. Its Athena is DuckDB, so its seconds do not apply to AWS. CPU seconds are those of this process: the
whole build with DuckDB; sending, sorting, hashing and writing with Athena. Hashes and bytes of all files are compared.
"""

import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.features.distributed import BLOCK, DAY, START, group, history, times
from benchmarks.measure import load
from pyiceberg.catalog.glue import GlueCatalog

from mlops_local.cloud import up
from mlops_runtime.features import athena_build, training_set
from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema, iceberg_sort_order
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties

_BATCH = 250_000


def cpu() -> float:
    """Return the CPU seconds of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def main(count: int, folder: Path) -> None:
    """Build with both engines, and print a row of the table."""
    cloud = up(folder)
    try:
        s3, glue, environment = cloud.client("s3"), cloud.client("glue"), cloud.environment()
        for bucket in ("bench-tables", "bench-sets", "bench-answers"):
            s3.create_bucket(Bucket=bucket)
        glue.create_database(DatabaseInput={"Name": "bench"})
        catalog = GlueCatalog("bench", None, **glue_properties(environment))
        groups = [group("orders"), group("visits")]
        lock = FeatureLock().extend(groups)
        store = FeatureStoreClient.glue(
            database="bench",
            environment=environment,
            now=lambda: datetime(2020, 1, 1, tzinfo=UTC),
            manifests="s3://bench-sets/manifests",
            training_sets="s3://bench-sets",
            s3=s3,
            glue=glue,
            athena=AthenaRuns(cloud.client("athena"), output="s3://bench-answers"),
        )
        chance = np.random.default_rng(3)
        for each in groups:
            locked = lock.table(each)
            catalog.create_table(
                ("bench", each.table_name),
                iceberg_schema(each, locked),
                location=f"s3://bench-tables/bench/{each.table_name}",
                partition_spec=iceberg_partition(locked),
                sort_order=iceberg_sort_order(each, locked),
                properties=each.properties,
            )
            rows = history(chance, count)
            # unsigned zeros: the hash is the same, and the embedded cloud's Athena does not tell them apart
            rows = rows.set_column(rows.schema.get_field_index("spend"), "spend", pc.add(rows["spend"], 0.0))
            for start in range(0, count, _BATCH):
                store.backfill(each, rows.slice(start, _BATCH))
        moments = times(START + chance.integers(0, 95 * DAY, count))
        entities = pa.table({"customer_id": chance.integers(0, count // 10 + 500, count), "event_timestamp": moments})
        build = training_set.build
        training_set.build = lambda *given, **more: build(*given, **{**more, "block": BLOCK})
        athena_build.AthenaBuilder.__init__.__kwdefaults__["block"] = BLOCK
        before = cpu()
        here = store.training_set(entities, groups, name="both", engine="duckdb")
        duckdb, before, began = cpu() - before, cpu(), time.monotonic()
        found = store.training_set(entities, groups, name="both", engine="athena")
        used, wall = cpu() - before, time.monotonic() - began
        hashes = [each.manifest.output.content_hash for each in (found, here)]
        same = sum(found.files[path] == content for path, content in here.files.items())
        print(
            f"| {count:,} x 2 | {duckdb:.1f} | {used:.1f} | {wall:.0f} | {'yes' if hashes[0] == hashes[1] else 'NO'} | "
            f"{same} of {len(here.files)} files | {hashes[1][:16]} | load {load()} |",
            flush=True,
        )
    finally:
        cloud.down(forget=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as place:
            main(int(argument), Path(place))
