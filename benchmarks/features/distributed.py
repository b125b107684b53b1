"""``python -m benchmarks.features.distributed COUNT``: a training set of two groups by tasks of a local Spark, and by DuckDB.

COUNT entity rows with two groups of the same number of rows, in a folder. CPU seconds of DuckDB are those of this
process for join, hash and files; those of Spark are of its Java process and Python workers once its session has
started. Hashes and bytes of all files are compared. Needs the folder ``share/spark`` of the environment, see
``.ci/run``.
"""

import hashlib
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.measure import load
from tests.runtime import spark as local_spark

from mlops_runtime.features import distributed_build, training_set
from mlops_runtime.features.distributed_build import EntityFiles, Files
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_request import located, requested

BLOCK = 1 << 18  # several files for a million rows
START, DAY = 1_546_300_800_000_000, 86_400_000_000
_TICKS = os.sysconf("SC_CLK_TCK")


def group(name: str) -> FeatureGroup:
    """Return a group of three nullable features."""
    return FeatureGroup(
        name=name,
        entities=(Entity("customer_id", "long", "customer"),),
        features=(
            Feature("spend", "double", "spend", nullable=True),
            Feature("visits", "int", "visits", nullable=True),
            Feature("tier", "string", "tier"),
        ),
        owner="benchmark",
        description=name,
        ttl=timedelta(days=40),
    )


def times(values: Any) -> pa.Array:
    """Convert microseconds to timestamps."""
    return pa.array(values, pa.int64()).cast(pa.timestamp("us", "UTC"))


def history(chance: Any, count: int) -> pa.Table:
    """Return rows of a tenth as many customers over 90 days, some late, with NaN, -0.0 and null."""
    event = START + chance.integers(0, 90 * DAY, count)
    late = np.where(chance.random(count) < 0.05, chance.integers(1, 2 * DAY, count), 0)
    spend = chance.random(count)
    spend[chance.random(count) < 0.01] = np.nan
    spend[chance.random(count) < 0.01] = -0.0
    return pa.table(
        {
            "customer_id": chance.integers(0, count // 10, count),
            "event_time": times(event),
            "created_time": times(event + late),
            "spend": pa.array(spend, mask=chance.random(count) < 0.02),
            "visits": pa.array(chance.integers(0, 99, count), pa.int32(), mask=chance.random(count) < 0.02),
            "tier": np.array(["gold", "silver", "", "brönze"])[chance.integers(0, 4, count)],
        }
    )


def cpu(root: int) -> float:
    """Return the CPU seconds of a process and its descendants."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents[number], used[number] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS

    def below(number: int) -> bool:
        return number == root or (number in parents and below(parents[number]))

    return sum(seconds for number, seconds in used.items() if below(number))


def main(count: int) -> None:
    """Build with both engines, and print a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = FeatureStoreClient.local(root / "store", now=lambda: datetime(2020, 1, 1, tzinfo=UTC))
        chance, groups = np.random.default_rng(3), [group("orders"), group("visits")]
        for each in groups:
            store.backfill(each, history(chance, count))
        moments = times(START + chance.integers(0, 95 * DAY, count))
        entity_rows = pa.table(
            {"customer_id": chance.integers(0, count // 10 + 500, count), "event_timestamp": moments}
        )
        request = requested(entity_rows, groups, name="both")
        ready = training_set.prepared(located(store.table, store.table_names(), request), request)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        here = training_set.assemble(ready.tables, ready.manifest, ready.rows, block=BLOCK)
        duckdb = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        content = ready.content
        assert content is not None
        entities = root / "entities.parquet"
        entities.write_bytes(content)
        spark = local_spark.session(root / "spark", cores=2, is_compiled=True)
        for table in ready.tables.values():
            local_spark.shown(spark, table)
        java = spark._jvm.java.lang.ProcessHandle.current().pid()
        spark.sql("select 1").collect()
        start, began = cpu(java), time.monotonic()
        found = distributed_build.build(
            spark,
            ready.tables,
            ready.manifest,
            EntityFiles(uris=(entities.as_uri(),), timestamp="event_timestamp"),
            catalog="lake",
            files=Files(properties={}),
            staged=(root / "staged").as_uri(),
            block=BLOCK,
        )
        wall, used = time.monotonic() - began, cpu(java) - start
        written = {path: Path(uri.removeprefix("file://")).read_bytes() for path, uri in found.staged.items()}
        same = {path: hashlib.sha256(each).digest() for path, each in written.items()} == {
            path: hashlib.sha256(each).digest() for path, each in here.files.items()
        }
        is_equal = found.output.content_hash == here.manifest.output.content_hash
        print(
            f"| {count:,} x 2 | {duckdb:.1f} | {used:.1f} | {wall:.0f} | {'yes' if is_equal else 'NO'} | "
            f"{'yes' if same else 'NO'}, {len(written)} files | load {load()} |",
            flush=True,
        )
        spark.stop()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        main(int(argument))
