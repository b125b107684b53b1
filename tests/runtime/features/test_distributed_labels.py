"""Labels split by Spark's tasks have the rows, order and times of those split in memory."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime import spark as local_spark
from tests.runtime.spark import shown

from mlops_runtime.contracts.retraining import FeatureJoin, TrainingSetPlan
from mlops_runtime.features import distributed_build, split_set
from mlops_runtime.features.distributed_build import Files
from mlops_runtime.features.distributed_labels import DistributedLabels
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_pins import pin
from mlops_runtime.features.training_set_request import TrainingSetError

pytestmark = pytest.mark.spark

START = datetime(2017, 3, 10, tzinfo=UTC)  # New York's clocks change in the night to the 12th
NAN = float("nan")
STORE, SKU = Entity("store_id", "string", "store"), Entity("sku", "long", "article")
SALES = FeatureGroup(
    name="sales",
    entities=(STORE, SKU),
    features=(
        Feature("asked_at", "timestamp", "time of the prediction", nullable=True),
        Feature("units", "double", "sold", nullable=True),
        Feature("sold_out", "boolean", "nothing left", nullable=True),
        Feature("rival_id", "string", "next store", nullable=True),
    ),
    owner="o",
    description="d",
)
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(Feature("on_hand", "long", "units", nullable=True),),
    owner="o",
    description="d",
)
PLAN = TrainingSetPlan(
    name="demand",
    label_group="sales",
    timestamp="asked_at",
    label="units",
    labels=("units", "sold_out"),
    features={},
    joins=(FeatureJoin(group="stock", name="rival", columns=("on_hand",), on={"store_id": "rival_id"}),),
    holdout_days=1,
)


def at(hours: float) -> datetime:
    """Return a time in hours since the start."""
    return START + timedelta(hours=hours)


def labels(chance: random.Random, count: int, first: int) -> pa.Table:
    """Return labels with many restatements, unusual values and withdrawn labels."""
    requested = [chance.randrange(first, first + 50) for _ in range(count)]
    rows = pa.table(
        {
            "store_id": [chance.choice(["a", "ä", "B"]) for _ in range(count)],
            "sku": pa.array([chance.randrange(4) for _ in range(count)], pa.int64()),
            "event_time": [at(hours + 1) for hours in requested],
            "created_time": [at(hours + chance.choice([1, 1, 2, 9, 40])) for hours in requested],
            "asked_at": pa.array(
                [chance.choice([at(hours)] * 9 + [None]) for hours in requested], pa.timestamp("us", "UTC")
            ),
            "units": [chance.choice([None, NAN, -1.5, 0.1, 0.2, 7.0]) for _ in range(count)],
            "sold_out": [chance.choice([True, False, False, None]) for _ in range(count)],
            "rival_id": [chance.choice(["a", None, "nowhere"]) for _ in range(count)],
        }
    )
    by = ["store_id", "sku", "event_time", "created_time"]
    firsts = rows.append_column("n", pa.arange(0, count)).group_by(by).aggregate([("n", "min")])["n_min"]
    return rows.take(firsts.combine_chunks())


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """Return the shared session with a fixed number of shuffle partitions, so that there are several files."""
    session = local_spark.shared(tmp_path_factory.mktemp("spark"))
    before = {name: session.conf.get(name) for name in ("spark.sql.adaptive.enabled", "spark.sql.shuffle.partitions")}
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.shuffle.partitions", "4")
    yield session
    for name, value in before.items():
        session.conf.set(name, value)


@pytest.fixture(scope="module")
def store(spark, tmp_path_factory):
    """Return a store whose labels tie, also of foreign writers: rows of one ingest that differ only in values."""
    client = FeatureStoreClient.local(tmp_path_factory.mktemp("store"), now=lambda: at(1000))
    chance = random.Random(11)
    for first in (0, 40):
        client.backfill(SALES, labels(chance, 160, first))
    table = client.table("sales_v1")
    foreign = table.scan().to_arrow().slice(0, 60)
    units = foreign["units"].combine_chunks().take(pa.array(reversed(range(60))))
    table.append(foreign.set_column(foreign.column_names.index("units"), foreign.schema.field("units"), units))
    hours = chance.sample(range(80), 60)
    stock = pa.table(
        {"store_id": ["a"] * 60, "event_time": [at(each) for each in hours], "on_hand": pa.array(range(60), pa.int64())}
    )
    client.backfill(STOCK, stock.append_column("created_time", stock["event_time"]))
    for group in (SALES, STOCK):
        shown(spark, client.table(group.table_name))
    return client


def tasks(spark, folder: Path) -> DistributedLabels:
    """Return the labels written below a folder."""
    return DistributedLabels(spark, catalog="lake", files=Files(properties={}), staged=(folder / "rows").as_uri())


@pytest.mark.parametrize("change", [{}, {"history_days": 1}, {"labels": None, "holdout_days": 2}])
def test_tasks_split_as_memory_does(spark, store, tmp_path, change):
    """Newest versions follow the same tie order, with equal rows, order and types over several files."""
    plan, table = replace(PLAN, **change), store.table("sales_v1")
    columns = ("store_id", "sku", "rival_id", "asked_at", *plan.label_columns)
    pinned = pin(table, table.current_snapshot().snapshot_id, "t", columns)
    here = split_set.split_here(table, pinned, plan, at(80))
    there = tasks(spark, tmp_path)
    parts = there.split(table, pinned, plan, at(80))
    assert parts.times == here.times
    files = [pq.read_table(uri.removeprefix("file://")) for uri in there.uris]
    assert len(files) > 2
    rows = pa.concat_tables(files)
    assert rows.schema.equals(here.rows.schema, check_metadata=True)
    assert repr(rows.to_pylist()) == repr(here.rows.to_pylist())  # NaN does not equal itself
    assert parts.rows["sku"].to_pylist() == [0, 3]


def test_the_set_of_a_plan_has_the_bytes_of_duckdbs(spark, store, tmp_path):
    """Has naive predictions next to labels, in blocks that cross the tasks' files."""
    plan = replace(
        PLAN,
        labels=None,
        baselines=("naive_mean", "naive_last_by_sku", "naive_usual_by_store_id", "naive_median_by_sku"),
    )
    here = split_set.build(store.table, store.table_names(), plan, as_of=at(80), block=16)
    there = tasks(spark, tmp_path)
    ready = split_set.prepared(store.table, store.table_names(), plan, as_of=at(80), split=there.split)
    found = distributed_build.build(
        spark,
        ready.tables,
        ready.manifest,
        there.entities(ready.manifest),
        catalog="lake",
        files=Files(properties={}),
        staged=(tmp_path / "files").as_uri(),
        block=16,
    )
    assert replace(ready.manifest, output=found.output) == here.manifest
    written = {path: Path(uri.removeprefix("file://")).read_bytes() for path, uri in found.staged.items()}
    assert written == dict(here.files)
    assert len(there.uris) > 2


@pytest.mark.parametrize(
    ("change", "as_of", "message"),
    [
        ({}, at(-1), "no label of sales_v1 was known at"),
        ({"holdout_days": 90}, at(80), "no rows for train; labels known at .* change holdout_days"),
        (
            {"baselines": ("naive_mean_by_rival__on_hand",), "labels": None},
            at(80),
            "have features as keys, .* omit them",
        ),
    ],
)
def test_fails_as_memory_does(spark, store, tmp_path, change, as_of, message):
    """The messages are equal; a baseline computed from a feature needs DuckDB."""
    there = tasks(spark, tmp_path)
    with pytest.raises(TrainingSetError, match=message):
        there.entities(
            split_set.prepared(
                store.table, store.table_names(), replace(PLAN, **change), as_of=as_of, split=there.split
            ).manifest
        )


def test_fails_where_a_label_was_known_before_its_prediction(spark, store, tmp_path):
    """Such a label leaves nothing to predict."""
    early = FeatureStoreClient.local(tmp_path / "store", now=lambda: at(1000))
    rows = labels(random.Random(1), 20, 0)
    early.backfill(
        replace(SALES, name="early"),
        rows.set_column(rows.column_names.index("asked_at"), "asked_at", [[at(99)] * rows.num_rows]),
    )
    early.backfill(STOCK, pa.table({"store_id": ["a"], "event_time": [at(0)], "created_time": [at(0)], "on_hand": [1]}))
    shown(spark, early.table("early_v1"))
    with pytest.raises(
        TrainingSetError, match="labels were known before their asked_at, so there is nothing to predict"
    ):
        split_set.prepared(
            early.table,
            early.table_names(),
            replace(PLAN, label_group="early"),
            as_of=at(200),
            split=tasks(spark, tmp_path).split,
        )
