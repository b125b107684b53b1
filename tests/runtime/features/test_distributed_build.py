"""Training sets written by Spark's tasks have DuckDB's content hash and bytes in every file."""

import hashlib
import io
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime import spark as local_spark
from tests.runtime.spark import shown

from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features import distributed_build, split_set, training_set
from mlops_runtime.features.distributed_build import EntityFiles, Files
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_pins import NO_SNAPSHOT
from mlops_runtime.features.training_set_files import SPLITS, parquet_bytes
from mlops_runtime.features.training_set_request import TrainingSetError, located, requested

pytestmark = pytest.mark.spark

START = datetime(2017, 3, 10, tzinfo=UTC)  # New York's clocks change in the night to the 12th
NAN = float("nan")


def at(hours: float) -> datetime:
    """Return a time in hours since the start."""
    return START + timedelta(hours=hours)


def group(name: str, entities: tuple[Entity, ...], features: tuple[Feature, ...], ttl=None) -> FeatureGroup:
    """Return a group whose features may be null."""
    nullable = tuple(replace(feature, nullable=True) for feature in features)
    return FeatureGroup(name=name, entities=entities, features=nullable, owner="o", description="d", ttl=ttl)


STORE, SKU = Entity("store_id", "string", "store"), Entity("sku", "long", "article")
STOCK = group(
    "stock",
    (STORE, SKU),
    (Feature("units", "double", "u"), Feature("note", "string", "n"), Feature("seen", "timestamp", "t")),
    timedelta(hours=30),
)
PRICES = group("prices", (SKU, STORE), (Feature("price", "decimal(9,2)", "p"), Feature("open", "boolean", "o")))
STORES = group(
    "stores",
    (STORE,),
    (
        Feature("near", "vector(2)", "v"),
        Feature("tags", "list<string>", "l"),
        Feature("image", "binary", "b"),
        Feature("since", "date", "d"),
        Feature("score", "float", "f"),
    ),
)
NEVER = group("never", (STORE,), (Feature("x", "int", "x"),))
GROUPS = (STOCK, PRICES, STORES, NEVER, GroupJoin(group=STORES, name="home", on={"store_id": "home_id"}))


def history(chance: random.Random, which: FeatureGroup, count: int) -> pa.Table:
    """Return rows of a few keys at whole hours, so that many tie, with unusual values."""
    values = {
        "units": pa.array([chance.choice([None, NAN, -0.0, 0.0, 1.5]) for _ in range(count)]),
        "note": pa.array([chance.choice([None, "", "ä", "b"]) for _ in range(count)]),
        "seen": pa.array([chance.choice([None, at(-9e5), at(1)]) for _ in range(count)], pa.timestamp("us", "UTC")),
        "price": pa.array([chance.choice([None, Decimal("-1.10"), Decimal("2.00")]) for _ in range(count)]).cast(
            pa.decimal128(9, 2)
        ),
        "open": pa.array([chance.choice([None, True, False]) for _ in range(count)]),
        "near": pa.array(
            [chance.choice([None, [1.0, NAN], [-0.0, 2.0]]) for _ in range(count)], pa.list_(pa.float32(), 2)
        ),
        "tags": pa.array([chance.choice([None, [], ["a", None, ""]]) for _ in range(count)], pa.list_(pa.string())),
        "image": pa.array([chance.choice([None, b"", b"\0\xff"]) for _ in range(count)], pa.binary()),
        "since": pa.array([chance.choice([None, date(1, 1, 1), date(9999, 12, 31)]) for _ in range(count)]),
        "score": pa.array([chance.choice([None, NAN, -0.0, 0.1]) for _ in range(count)], pa.float32()),
    }
    event = [chance.randrange(60) for _ in range(count)]
    keys = {"store_id": [str(chance.randrange(4)) for _ in range(count)], "sku": [chance.randrange(3)] * count}
    rows = pa.table(
        {
            **{name: keys[name] for name in which.entity_names},
            "event_time": [at(hours) for hours in event],
            "created_time": [at(hours + chance.choice([0, 0, 1, 20])) for hours in event],
            **{name: values[name] for name in which.feature_names},
        }
    )
    by = ["event_time", "created_time", *which.entity_names]
    firsts = rows.append_column("n", pa.arange(0, count)).group_by(by).aggregate([("n", "min")])["n_min"]
    return rows.take(firsts.combine_chunks())


def asked(chance: random.Random, count: int) -> pa.Table:
    """Return entity rows with extra columns, null and unknown keys, and ids with gaps."""
    return pa.table(
        {
            "small": pa.array([i % 200 for i in range(count)], pa.uint8()),
            "store_id": pa.array([chance.choice([None, "9", *"0123"]) for _ in range(count)], pa.string()),
            "event_timestamp": [at(chance.randrange(90)) for _ in range(count)],
            "sku": pa.array([chance.randrange(3) for _ in range(count)], pa.int16()),
            "home_id": [chance.choice("0123") for _ in range(count)],
            "row_id": pa.array(chance.sample(range(-50, 10 * count + 1), count), pa.int64()),
            "Store_ID": pa.array([f"n{i}" for i in range(count)], pa.string()),
        }
    )


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """Return the shared session, whose time zone is New York's."""
    return local_spark.shared(tmp_path_factory.mktemp("spark"))


@pytest.fixture(scope="module")
def store(spark, tmp_path_factory):
    """Return a store with ties, also of foreign writers: two rows of one ingest that differ only in values."""
    client = FeatureStoreClient.local(tmp_path_factory.mktemp("store"), now=lambda: at(1000))
    chance = random.Random(5)
    for which in (STOCK, PRICES, STORES):
        for count in (90, 60):
            client.backfill(which, history(chance, which, count))
        table = client.table(which.table_name)
        foreign = table.scan().to_arrow().slice(0, 40)
        twins = [foreign]
        for name in which.feature_names[-2:]:  # lists and bytes do not break ties
            place = foreign.column_names.index(name)
            values = foreign[name].combine_chunks().take(pa.array(reversed(range(40))))
            twins.append(foreign.set_column(place, foreign.schema.field(name), values))
        for twin in twins:
            table.append(twin)
        shown(spark, client.table(which.table_name))
    client._tables.writable(NEVER)
    return client


def files(folder: Path, built) -> dict[str, bytes]:
    """Return the content of the tasks' files by path in the set."""
    return {path: Path(uri.removeprefix("file://")).read_bytes() for path, uri in built.staged.items()}


def both(spark, folder: Path, ready, block: int, here, **entities):
    """Build by Spark; assert that output and bytes equal those of this process."""
    uri = folder / "rows.parquet"
    pq.write_table(ready.rows, uri, row_group_size=37)
    found = distributed_build.build(
        spark,
        ready.tables,
        ready.manifest,
        EntityFiles(uris=(uri.as_uri(),), **entities),
        catalog="lake",
        files=Files(properties={}),
        staged=(folder / "staged").as_uri(),
        block=block,
    )
    assert found.output == here.manifest.output
    assert files(folder, found) == dict(here.files)
    assert all(
        hashlib.sha256(here.files[file.path]).hexdigest() == file.sha256 and file.bytes == len(here.files[file.path])
        for file in found.output.files
    )
    return found


def ready_for(store, rows, **asked_for):
    """Return the request of a build."""
    request = requested(rows, GROUPS, name="shelves", **asked_for)
    found = located(store.table, store.table_names(), request)
    return training_set.prepared(found, request)


@pytest.mark.parametrize(
    ("count", "block", "asked_for"),
    [
        (129, 128, {}),
        (300, 41, {"semantics": "event_time", "as_of": at(40)}),
        (40, 1 << 20, {}),
        (0, 8, {}),
    ],
)
def test_tasks_write_the_very_files_of_duckdb(spark, store, tmp_path, count, block, asked_for):
    """Covers ties, NaN, -0.0, null, empty strings, all types, null and sparse keys, one row above a block, and no rows."""
    ready = ready_for(store, asked(random.Random(count), count), **asked_for)
    here = training_set.assemble(ready.tables, ready.manifest, ready.rows, block=block)
    found = both(spark, tmp_path, ready, block, here, timestamp="event_timestamp")
    assert len(found.output.files) == max(1, -(-count // block))
    assert found.output.matched["never_v1"] == 0
    if count > 100:
        assert 0 < found.output.matched["stock_v1"] < found.output.matched["stores_v1"] < count


def test_a_set_that_is_split_has_a_file_for_each_split_of_a_block(spark, store, tmp_path):
    """Naive predictions are computed last, as in memory."""
    plan = TrainingSetPlan(
        name="demand",
        label_group="stock",
        timestamp="seen",
        label="units",
        features={"costs": ("price",)},
        holdout_days=1,
        baselines=("naive_mean_by_store_id",),
    )
    labels = pa.table(
        {
            "store_id": [str(i % 4) for i in range(60)],
            "sku": pa.array([i % 3 for i in range(60)], pa.int64()),
            "event_time": [at(i + 1) for i in range(60)],
            "seen": [at(i) for i in range(60)],
            "units": [float(i) for i in range(60)],
            "note": [""] * 60,
        }
    )
    labelled = FeatureStoreClient.local(tmp_path / "labels", now=lambda: at(1000))
    labelled.backfill(STOCK, labels.append_column("created_time", labels["event_time"]))
    labelled.backfill(replace(PRICES, name="costs"), history(random.Random(1), PRICES, 90))
    shown(spark, labelled.table("costs_v1"))
    here = split_set.build(labelled.table, labelled.table_names(), plan, as_of=at(500), block=16)
    ready = split_set.prepared(labelled.table, labelled.table_names(), plan, as_of=at(500))
    ready = replace(ready, rows=split_set.baselined(ready.rows, ready.manifest))
    found = both(spark, tmp_path, ready, 16, here, timestamp="seen", splits=SPLITS, last=("naive_mean_by_store_id",))
    assert {file.path.partition("/")[0] for file in found.output.files} == set(SPLITS)
    assert len(found.output.files) > len(SPLITS)


def test_fails_when_a_snapshot_is_gone_or_blocks_are_missing(spark, store, tmp_path, monkeypatch):
    """No manifest names the written files."""
    ready = ready_for(store, asked(random.Random(2), 20))
    pinned = [
        replace(each, snapshot_id=7) if each.snapshot_id != NO_SNAPSHOT else each for each in ready.manifest.features
    ]
    gone = replace(ready, manifest=replace(ready.manifest, features=tuple(pinned)))
    here = training_set.assemble(ready.tables, ready.manifest, ready.rows, block=8)
    with pytest.raises(FeatureTableError, match=r"snapshot 7 of table stock_v1 .* has expired; request the set again"):
        both(spark, tmp_path, gone, 8, here, timestamp="event_timestamp")
    answers = distributed_build._answers
    monkeypatch.setattr(distributed_build, "_answers", lambda *given: answers(*given)[1:])
    with pytest.raises(
        TrainingSetError, match="2 blocks of 12 rows were written for 3 of 20 entity rows; build the set again"
    ):
        both(spark, tmp_path, ready, 8, here, timestamp="event_timestamp")


def test_an_erasure_takes_what_a_killed_build_staged(spark, tmp_path):
    """The erasure scans the files of all attempts, which no manifest names."""
    client = FeatureStoreClient.local(tmp_path / "store", now=lambda: at(1000))
    client.backfill(STORES, history(random.Random(3), STORES, 60))
    shown(spark, client.table("stores_v1"))
    rows = pa.table({"store_id": ["1", "2"], "event_timestamp": [at(80), at(80)]})
    found = located(client.table, client.table_names(), requested(rows, [STORES], name="lost"))
    ready = training_set.prepared(found, requested(rows, [STORES], name="lost"))
    uri = tmp_path / "rows.parquet"
    pq.write_table(ready.rows, uri)
    staged = tmp_path / "store" / "training_sets" / "staged" / "lost" / "files"
    distributed_build.build(
        spark,
        ready.tables,
        ready.manifest,
        EntityFiles(uris=(uri.as_uri(),), timestamp="event_timestamp"),
        catalog="lake",
        files=Files(properties={}),
        staged=staged.as_uri(),
        block=1,
    )
    there = [path for path in staged.rglob("*") if path.is_file()]
    assert sorted(pq.read_table(path)["store_id"][0].as_py() for path in there) == ["1", "2"]
    client.erase({"store_id": "1"}, reason="asked", in_use=())
    left = [path for path in staged.rglob("*") if path.is_file()]
    assert [pq.read_table(path)["store_id"].to_pylist() for path in left] == [["2"]]


def test_parquet_of_entity_rows_has_the_statistics_that_bound_what_is_read() -> None:
    """The statistics limit the scan: feature rows after the last entity row are not read."""
    rows = pa.table({"event_timestamp": pa.array([at(3), at(1)], pa.timestamp("us", "UTC"))})
    metadata = pq.read_metadata(io.BytesIO(parquet_bytes(rows)))
    assert distributed_build._within([metadata], "event_timestamp") == (at(1), at(3))
    none = pq.read_metadata(io.BytesIO(parquet_bytes(rows.slice(0, 0))))
    assert distributed_build._within([none], "event_timestamp") is None
