"""``python -m benchmarks.features.distributed_labels COUNT``: the driver's cost for labels in memory and split by tasks.

COUNT labels of six columns with a group of the same number of rows, in a folder, by a local Spark of two cores. Each
mode runs in a process of its own. The driver's Python is that process; Java, which is both driver and executor here,
and the workers are other processes. Measured is the peak of its resident memory while labels are split and written for
tasks, above the memory before. The set that tasks build is compared with DuckDB's by content hash. Naive predictions of
split labels are made by the driver, from columns that it reads, and by tasks; each label has a customer of its own, so
a key has one row. Needs the folder ``share/spark`` of the environment, see ``.ci/run``.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.features.cases import cpu as used_here
from benchmarks.features.cases import peak
from benchmarks.features.distributed import BLOCK, DAY, START, cpu, history, times
from benchmarks.features.distributed import group as stock
from benchmarks.measure import load
from tests.runtime import spark as local_spark

from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features import distributed_build, split_set
from mlops_runtime.features.distributed_build import EntityFiles, Files
from mlops_runtime.features.distributed_labels import DistributedLabels
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_files import BESIDE, SPLITS, parquet_bytes

LABELS = FeatureGroup(
    name="sales",
    entities=(Entity("customer_id", "long", "customer"),),
    features=(
        Feature("asked_at", "timestamp", "time of the prediction"),
        Feature("units", "double", "sold"),
        Feature("price", "double", "price"),
        Feature("shop", "string", "shop"),
    ),
    owner="benchmark",
    description="labels",
    ttl=timedelta(days=400),
)
PLAN = TrainingSetPlan(
    name="sales",
    label_group="sales",
    timestamp="asked_at",
    label="units",
    labels=("units", "price", "shop"),
    features={"orders": ("spend", "visits", "tier")},
    holdout_days=10,
)
NAIVE = replace(PLAN, labels=None, baselines=("naive_median", "naive_mean", "naive_last_by_customer_id"))
HOW = ("memory", "tasks", "naive by the driver", "naive by tasks")
NOW = datetime(2020, 1, 1, tzinfo=UTC)
FILES = Files(properties={})


def filled(folder: Path, count: int) -> None:
    """Write the tables."""
    store, chance = FeatureStoreClient.local(folder, now=lambda: NOW), np.random.default_rng(3)
    store.backfill(stock("orders"), history(chance, count))
    for start in range(0, count, 1_000_000):
        size = min(1_000_000, count - start)
        requested = START + chance.integers(0, 95 * DAY, size)
        rows = {
            "customer_id": pa.array(range(start, start + size), pa.int64()),
            "event_time": times(requested + DAY),
            "created_time": times(requested + DAY),
            "asked_at": times(requested),
            "units": chance.random(size),
            "price": chance.random(size),
            "shop": np.array([f"shop {i}" for i in range(500)])[chance.integers(0, 500, size)],
        }
        store.backfill(LABELS, pa.table(rows))


def guessed_here(labels: DistributedLabels, manifest: TrainingSetManifest) -> EntityFiles:
    """Make naive predictions in this process, which reads their columns, and write them beside the labels."""
    paths = [uri.removeprefix("file://") for uri in labels.uris]
    columns = [PLAN.label, PLAN.timestamp, "split", "customer_id"]
    parts = [pq.read_table(path, columns=columns) for path in paths]
    names = NAIVE.baselines or ()
    rows, first = split_set.baselined(pa.concat_tables(parts), manifest).select(list(names)), 0
    for part, path in zip(parts, paths, strict=True):
        pq.write_table(rows.slice(first, part.num_rows), f"{path}{BESIDE}")
        first += part.num_rows
    beside = tuple(f"{uri}{BESIDE}" for uri in labels.uris)
    return EntityFiles(uris=labels.uris, timestamp=PLAN.timestamp, splits=SPLITS, last=tuple(names), beside=beside)


def built(how: str, folder: Path) -> None:
    """Build the set in one mode; print its cost."""
    store = FeatureStoreClient.local(folder / "store", now=lambda: NOW)
    spark = local_spark.session(folder / f"spark-{how}", cores=2, is_compiled=True)
    names = ["orders_v1", "sales_v1"]
    for name in names:
        local_spark.shown(spark, store.table(name))
    java = spark._jvm.java.lang.ProcessHandle.current().pid()
    spark.sql("select 1").collect()
    before, start, staged = peak(), cpu(java), folder / how
    own = used_here()
    digest, plan = "", NAIVE if how.startswith("naive") else PLAN
    if how != "memory":
        labels = DistributedLabels(spark, catalog="lake", files=FILES, staged=(staged / "rows").as_uri())
        ready = split_set.prepared(store.table, names, plan, as_of=NOW, split=labels.split)
        entities = guessed_here(labels, ready.manifest) if how == HOW[2] else labels.entities(ready.manifest)
        after, used, driver = peak(), cpu(java) - start, used_here() - own
        found = distributed_build.build(
            spark,
            ready.tables,
            ready.manifest,
            entities,
            catalog="lake",
            files=FILES,
            staged=(staged / "files").as_uri(),
            block=BLOCK,
        )
        digest = found.output.content_hash
    else:
        ready = split_set.prepared(store.table, names, PLAN, as_of=NOW)
        staged.mkdir()
        (staged / "rows.parquet").write_bytes(parquet_bytes(ready.rows))
        after, used, driver = peak(), cpu(java) - start, used_here() - own
    figures = {"before": before, "after": after, "spark": used, "driver": driver, "hash": digest}
    print(json.dumps(figures), flush=True)
    spark.stop()


def main(count: int) -> None:
    """Build in both modes, and print a row of the table for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filled(folder / "store", count)
        store = FeatureStoreClient.local(folder / "store", now=lambda: NOW)
        here = {
            plan.labels: split_set.build(store.table, store.table_names(), plan, as_of=NOW, block=BLOCK).manifest
            for plan in (PLAN, NAIVE)
        }
        for how in HOW:
            command = [sys.executable, "-m", "benchmarks.features.distributed_labels", how, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            own = here[NAIVE.labels if how.startswith("naive") else PLAN.labels]
            equal = {"": "-", own.output.content_hash: "yes"}.get(found["hash"], "NO")
            print(
                f"| {count:,} | {how} | {found['before']:.0f} | {found['after']:.0f} | {found['driver']:.1f} | "
                f"{found['spark']:.1f} | {equal} | {load()} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1] in HOW:
        built(sys.argv[1], Path(sys.argv[2]))
    else:
        for argument in sys.argv[1:]:
            main(int(argument))
