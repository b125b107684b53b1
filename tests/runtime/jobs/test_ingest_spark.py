"""Large batches and training sets on a real Spark with real Iceberg."""

import dataclasses
import io
import json
import os
import random
import urllib.request
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.table import Table
from tests.runtime import spark as local_spark
from tests.runtime.spark import shown

from mlops_runtime.features import ingest_ledger
from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.batch_ingest import KeyReusedError
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.group_json import declaration_json
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.parquet_size import Bounds
from mlops_runtime.features.point_in_time import GroupRows, point_in_time
from mlops_runtime.features.row_hashing import content_hash
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.table_commits import Retries, TableBusyError
from mlops_runtime.features.training_set_sql import SqlEntities, SqlGroup, SqlPlan, precondition, render
from mlops_runtime.jobs import ingest_spark
from mlops_runtime.jobs.ingest_spark import ingest

pytestmark = pytest.mark.spark

NOW = datetime(2017, 3, 1, tzinfo=UTC)
GROUP = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("sku", "long", "article")),
    features=(
        Feature("units", "double", "units", nullable=True, minimum=0),
        Feature("note", "string", "note", nullable=True),
    ),
    owner="demand",
    description="stock",
)


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """Return the shared session."""
    return local_spark.shared(tmp_path_factory.mktemp("spark"))


@pytest.fixture
def store(tmp_path):
    """Return a store whose table has one row."""
    client = FeatureStoreClient.local(tmp_path / "store", now=lambda: NOW)
    client.ingest(GROUP, rows(count=1, start=-1))
    return client


def at(hours: float) -> datetime:
    """Return a time in hours since the start of the year."""
    return datetime(2017, 1, 1, tzinfo=UTC) + timedelta(hours=hours)


def rows(count=400, start=0, **columns) -> pa.Table:
    """Return rows of ten stores over two months; every third without units."""
    numbers = range(start, start + count)
    table = {
        "store_id": [str(i % 10) for i in numbers],
        "sku": pa.array([i % 3 for i in numbers], pa.int32()),
        "event_time": pa.array([at(3 * i) for i in numbers], pa.timestamp("ms", "Asia/Kolkata")),
        "units": pa.array([None if i % 3 == 0 else float(abs(i)) for i in numbers], pa.float32()),
        "note": pa.array([f"n{i}" for i in numbers]).dictionary_encode(),
    }
    return pa.table({**table, **columns})


def put(folder, *tables) -> str:
    """Write Parquet objects with several row groups, and another object; return their prefix."""
    folder.mkdir()
    for i, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{i}.parquet", row_group_size=150)
    (folder / "_SUCCESS").write_text("")
    return folder.as_uri()


def content(table) -> list:
    """Return all rows without their batch, sorted."""
    return sorted(table.scan().to_arrow().drop_columns(["ingest_id"]).to_pylist(), key=str)


def test_a_large_batch_is_what_a_small_one_would_be(spark, store, tmp_path, monkeypatch):
    """Types are cast, the clock stamps rows, duplicates are merged; partitions and the single commit equal the client's."""
    monkeypatch.setattr(ingest_spark, "ROWS_A_TASK", 150)
    uri = put(tmp_path / "batch", rows(count=300), rows(count=150, start=250))
    assert ingest_spark._pieces(store.table("stock_v1").io, uri, GROUP).buckets == 4
    table = store.table("stock_v1")
    before = len(table.metadata.snapshots)
    done = ingest(spark, table, GROUP, uri, key="big", now=NOW)
    assert (done.rows, done.repeated, done.duplicate) == (400, 50, False)
    other = FeatureStoreClient.local(tmp_path / "other", now=lambda: NOW)
    other.ingest(GROUP, rows(count=1, start=-1))
    other.ingest(GROUP, rows())
    table = store.table("stock_v1")
    assert content(table) == content(other.table("stock_v1"))
    assert len(table.metadata.snapshots) == before + 1
    snapshot = table.current_snapshot()
    assert snapshot.snapshot_id == done.snapshot_id
    summary = snapshot.summary.additional_properties
    assert summary[ingest_ledger.KEY_HASH] == ingest_ledger.hash_of("big")
    assert summary[ingest_ledger.EVENT_TIME_MAX] == at(3 * 399).isoformat()
    assert summary[ingest_ledger.INGEST].startswith(f"{snapshot.sequence_number:019d}-")
    ids = set(table.scan(row_filter="event_time >= '2017-01-01T00:00:00+00:00'").to_arrow()["ingest_id"].to_pylist())
    assert ids == {summary[ingest_ledger.INGEST]}
    assert {file.file.partition[0] for file in table.scan().plan_files()} == {(2016 - 1970) * 12 + 11, 564, 565}


def test_lists_decimals_and_bytes_are_what_a_small_batch_has(spark, tmp_path):
    """Spark has vectors as lists; null and NaN stay inside them."""
    group = dataclasses.replace(
        GROUP,
        name="rich",
        features=(
            Feature("price", "decimal(9,2)", "price", nullable=True),
            Feature("tags", "list<string>", "tags", nullable=True),
            Feature("seen", "list<timestamp>", "seen", nullable=True),
            Feature("embedding", "vector(3)", "embedding", nullable=True),
            Feature("image", "binary", "image", nullable=True),
        ),
    )
    values = {
        "price": pa.array([Decimal("1.10"), None, Decimal("-0.50")], pa.decimal128(9, 2)),
        "tags": pa.array([["a", None, ""], None, []]),
        "seen": pa.array([[at(1), None], [], None], pa.list_(pa.timestamp("us", "UTC"))),
        "embedding": pa.array([[1.0, float("nan"), -0.0], None, [0.1, 0.2, 0.3]], pa.list_(pa.float32(), 3)),
        "image": pa.array([b"\0a", None, b""]),
    }
    batch = rows(count=3, **values).drop_columns(["units", "note"])
    uri = put(tmp_path / "batch", batch)
    small, large = (FeatureStoreClient.local(tmp_path / name, now=lambda: NOW) for name in ("small", "large"))
    small.ingest(group, batch)
    first = batch.slice(0, 1).set_column(2, "event_time", pa.array([at(-1)]))
    large.ingest(group, first)
    ingest(spark, large.table("rich_v1"), group, uri, key="big", now=NOW)
    keys = pa.table({"store_id": batch["store_id"], "sku": batch["sku"].cast(pa.int64())})
    one, other = small.latest(group, keys), large.latest(group, keys)
    assert one.schema == other.schema
    for name, expected in values.items():
        assert repr(one[name].to_pylist()) == repr(other[name].to_pylist()) == repr(expected.to_pylist())


def test_the_same_batch_is_one_effect_and_another_under_its_key_is_refused(spark, store, tmp_path):
    """A rerun is a duplicate for any layout of objects; other content under the key is a typed error."""
    table = store.table("stock_v1")
    ingest(spark, table, GROUP, put(tmp_path / "one", rows()), key="k", now=NOW)
    again = put(tmp_path / "again", rows(count=100, start=300), rows(count=300))
    later = ingest(spark, store.table("stock_v1"), GROUP, again, key="k", now=NOW + timedelta(hours=1))
    assert (later.rows, later.duplicate) == (0, True)
    other = put(tmp_path / "other", rows(count=399))
    with pytest.raises(KeyReusedError, match="idempotency key 'k' of stock_v1 was used at"):
        ingest(spark, store.table("stock_v1"), GROUP, other, key="k", now=NOW)
    assert store.table("stock_v1").scan().to_arrow().num_rows == 401


def test_a_bad_batch_changes_nothing_and_names_every_problem(spark, store, tmp_path, monkeypatch):
    """Problems of all row groups, and rows of different objects that repeat times with other values."""
    monkeypatch.setattr(ingest_spark, "ROWS_A_TASK", 150)
    good = rows()
    torn = rows(count=1, start=399, units=pa.array([7.5], pa.float32()))
    low = rows(count=1, start=400, units=pa.array([-1.0], pa.float32()))
    early = rows(count=1, start=2000)
    uri = put(tmp_path / "batch", good, torn, low, early)
    table = store.table("stock_v1")
    snapshot, files = table.current_snapshot(), sorted(tmp_path.glob("store/tables/**/*.parquet"))
    with pytest.raises(BatchError) as error:
        ingest(spark, table, GROUP, uri, key="bad", now=NOW)
    message = str(error.value)
    assert "rows repeat store_id, sku, event_time, created_time of another with other values" in message
    assert "feature 'units' is below minimum 0" in message
    assert "event_time is later than now" in message
    assert store.table("stock_v1").current_snapshot() == snapshot
    assert sorted(tmp_path.glob("store/tables/**/*.parquet")) == files


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((), "it has no rows; .* has 0 Parquet objects"),
        ((rows(count=0),), "it has no rows; .* has 1 Parquet objects"),
        ((rows().drop_columns(["sku"]),), "column 'sku' is missing"),
        ((rows(), rows(created_time=[NOW] * 400)), "created_time is in some of its objects and not in others"),
    ],
)
def test_fails_for_what_is_no_batch(spark, store, tmp_path, tables, message):
    """Rejects an empty batch, missing keys and incomplete backfills."""
    uri = put(tmp_path / "batch", *tables)
    with pytest.raises(BatchError, match=message):
        ingest(spark, store.table("stock_v1"), GROUP, uri, key="bad", now=NOW)


def test_fails_for_what_is_no_parquet(spark, store, tmp_path):
    """The error has the object and the reason."""
    (tmp_path / "batch.parquet").write_text("store_id,sku")
    with pytest.raises(BatchError, match=r"batch\.parquet cannot be read as Parquet"):
        ingest(spark, store.table("stock_v1"), GROUP, (tmp_path / "batch.parquet").as_uri(), key="bad", now=NOW)


def test_fails_for_strings_that_a_dictionary_multiplies(spark, store, tmp_path, monkeypatch):
    """The memory of a row group is checked before a worker decodes it; the error has the alternative."""
    monkeypatch.setattr(ingest_spark, "_OF_A_ROW_GROUP", Bounds(rows=1000, bytes=100_000, decoded=300_000))
    notes = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array(["x" * 10_000]))
    uri = put(tmp_path / "batch", rows(count=1, start=500), rows(note=notes))
    with pytest.raises(
        BatchError,
        match=r"row group 0 of \S+: it has at least \d+ bytes decoded, the limit is 300000.*; write smaller row groups",
    ):
        ingest(spark, store.table("stock_v1"), GROUP, uri, key="bad", now=NOW)
    assert store.table("stock_v1").scan().to_arrow().num_rows == 1


class Overtaken:
    """Another writer commits between the last read of the table and a commit."""

    def __init__(self, monkeypatch, *writers):
        self.writers, self.calls = list(writers), 0
        original = Table._do_commit

        def commit(table, updates, requirements):
            self.calls += 1
            if self.writers:
                writer = self.writers.pop(0)
                with pytest.MonkeyPatch.context() as inner:
                    inner.setattr(Table, "_do_commit", original)
                    writer()
            return original(table, updates, requirements)

        monkeypatch.setattr(Table, "_do_commit", commit)


def test_two_jobs_with_one_key_have_one_effect(spark, store, tmp_path, monkeypatch):
    """The other commits after this job's check: this job checks again and removes its files."""
    uri = put(tmp_path / "batch", rows())
    Overtaken(monkeypatch, lambda: ingest(spark, store.table("stock_v1"), GROUP, uri, key="same", now=NOW))
    done = ingest(spark, store.table("stock_v1"), GROUP, uri, key="same", now=NOW)
    assert done.duplicate
    table = store.table("stock_v1")
    assert table.scan().to_arrow().num_rows == 401
    there = {file.file.file_path.removeprefix("file://") for file in table.scan().plan_files()}
    assert {str(path) for path in tmp_path.glob("store/tables/**/*.parquet")} == there


def test_an_overtaken_job_writes_again_with_the_number_of_its_commit(spark, store, tmp_path, monkeypatch):
    """Both commit, and ingest ids follow the order of commits."""
    uri = put(tmp_path / "batch", rows())
    Overtaken(monkeypatch, lambda: store.ingest(GROUP, rows(count=2, start=450), idempotency_key="small"))
    done = ingest(spark, store.table("stock_v1"), GROUP, uri, key="big", now=NOW)
    table = store.table("stock_v1")
    found = {
        entry.key_hash: table.snapshot_by_id(entry.snapshot_id).summary.additional_properties[ingest_ledger.INGEST]
        for entry in ingest_ledger.entries(table)
    }
    assert found[ingest_ledger.hash_of("small")] < found[ingest_ledger.hash_of("big")]
    assert set(table.scan().to_arrow()["ingest_id"].to_pylist()) == set(found.values())
    assert done.rows == 400


def test_a_job_that_is_always_overtaken_is_told_and_leaves_no_files(spark, store, tmp_path, monkeypatch):
    """After its attempts the writer gives up and leaves the table unchanged."""
    uri = put(tmp_path / "batch", rows(count=20))
    monkeypatch.setattr("mlops_runtime.features.table_commits.RETRIES", Retries(tries=2, sleep=[].append))
    writers = [lambda i=i: store.ingest(GROUP, rows(count=1, start=450 + i)) for i in range(2)]
    Overtaken(monkeypatch, *writers)
    with pytest.raises(TableBusyError, match="stock_v1 is busy: 2 tries"):
        ingest(spark, store.table("stock_v1"), GROUP, uri, key="big", now=NOW)
    table = store.table("stock_v1")
    assert table.scan().to_arrow().num_rows == 3
    there = {file.file.file_path.removeprefix("file://") for file in table.scan().plan_files()}
    assert {str(path) for path in tmp_path.glob("store/tables/**/*.parquet")} == there


class Cloud:
    """Buckets, a Glue table, and a bus with recorded events, on moto."""

    def __init__(self, endpoint: str) -> None:
        common = {"endpoint_url": endpoint, "region_name": "us-east-1"}
        self.s3, self.events = boto3.client("s3", **common), boto3.client("events", **common)
        self.sqs = boto3.client("sqs", **common)
        for bucket in ("incoming", "tables", "assets"):
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_object(Bucket="assets", Key="groups.json", Body=declaration_json([GROUP]).encode())
        boto3.client("glue", **common).create_database(DatabaseInput={"Name": "features"})
        locked = FeatureLock().extend([GROUP]).table(GROUP)
        self.catalog = GlueCatalog("foreign", None, **glue_properties(os.environ))
        self.catalog.create_table(
            ("features", GROUP.table_name),
            iceberg_schema(GROUP, locked),
            location="s3://tables/features/stock_v1",
            partition_spec=iceberg_partition(locked),
            properties=GROUP.properties,
        )
        self.events.create_event_bus(Name="unit")
        self.queue = self.sqs.create_queue(QueueName="heard")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.events.put_rule(Name="all", EventBusName="unit", EventPattern='{"source": [{"prefix": "mlops"}]}')
        self.events.put_targets(Rule="all", EventBusName="unit", Targets=[{"Id": "q", "Arn": arn}])

    def run(self, name: str, table="stock_v1") -> int:
        """Run the job as Glue starts it."""
        arguments = {
            "batch_uri": f"s3://incoming/incoming/{table}/{name}.parquet",
            "table": table,
            "idempotency_key": name,
            "now": NOW.isoformat(),
            "declaration_uri": "s3://assets/groups.json",
            "database": "features",
            "unit": "demand",
            "event_bus": "unit",
            "JOB_NAME": "ingest",
        }
        return ingest_spark.main([part for key, value in arguments.items() for part in (f"--{key}", value)])

    def deliver(self, name: str, batch: pa.Table) -> None:
        """Put a batch at its delivery location."""
        target = io.BytesIO()
        pq.write_table(batch, target, row_group_size=150)
        self.s3.put_object(Bucket="incoming", Key=f"incoming/stock_v1/{name}.parquet", Body=target.getvalue())

    def received_events(self) -> list[tuple[str, str]]:
        """Return detail type and outcome of the events so far."""
        messages = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(message["Body"]) for message in messages]
        return sorted((body["detail-type"], body["detail"]["outcome"]) for body in bodies)


@pytest.fixture
def cloud(monkeypatch):
    """Return a cloud configured by the process's environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    # servers of a process share their state
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST"))
    yield Cloud(f"http://{host}:{port}")
    server.stop()


def test_the_job_ingests_or_rejects_what_was_delivered(spark, cloud, capsys):
    """As Glue runs it, with S3 and the Glue catalog: a bad batch gets a report and an event, a good one an event."""
    cloud.deliver("good", rows())
    cloud.deliver("bad", rows(count=2, start=2000))
    assert (cloud.run("good"), cloud.run("bad"), cloud.run("good")) == (0, 0, 0)
    table = cloud.catalog.load_table(("features", "stock_v1"))
    assert table.scan().to_arrow().num_rows == 400
    assert len(table.metadata.snapshots) == 1
    report = json.loads(cloud.s3.get_object(Bucket="incoming", Key="rejected/stock_v1/bad.json")["Body"].read())
    assert "event_time is later than now" in report["problems"][0]
    assert cloud.received_events() == [
        ("MLOps Features Ingested", "INGESTED"),
        ("MLOps Features Ingested", "INGESTED"),
        ("MLOps Features Rejected", "REJECTED"),
    ]
    assert "rejected, nothing was written" in capsys.readouterr().err


def test_fails_for_an_unknown_table_before_anything_starts(spark, cloud, capsys):
    """The error lists the declared tables."""
    assert cloud.run("good", table="stok_v1") == 1
    assert "--table must be one of stock_v1, got 'stok_v1'" in capsys.readouterr().err


HISTORY = dataclasses.replace(
    GROUP,
    name="history",
    features=(Feature("units", "double", "units", nullable=True), Feature("note", "string", "note", nullable=True)),
)


def history(count: int, first: int, seed: int) -> pa.Table:
    """Return late, restated, null and NaN values; few stores and hours make ties frequent."""
    chance, seen = random.Random(seed), {}
    for _ in range(count):
        key = (str(chance.randrange(4)), chance.randrange(2), at(chance.randrange(12)), at(chance.randrange(first, 16)))
        seen[key] = (chance.choice([None, float("nan"), 0.0, 1.0, 2.0]), chance.choice([None, "x", "y"]))
    names = ("store_id", "sku", "event_time", "created_time", "units", "note")
    columns = zip(*(key + values for key, values in seen.items()), strict=True)
    return pa.table(dict(zip(names, map(list, columns), strict=True)))


@pytest.mark.parametrize("semantics", ["known_at", "event_time"])
def test_sparks_training_set_has_the_content_hash_of_duckdbs(spark, store, semantics):
    """Over pyiceberg's tables at pinned snapshots, cut by ``as_of``, in any session time zone."""
    for seed, first in ((1, 0), (2, 6)):
        store.ingest(HISTORY, history(150, first, seed))
    table = store.table("history_v1")
    chance = random.Random(7)
    rows = pa.table(
        {
            "row_id": pa.arange(0, 120, 1),
            "store_id": [str(chance.randrange(5)) for _ in range(120)],
            "other_store": [str(chance.randrange(5)) for _ in range(120)],
            "sku": [chance.randrange(2) for _ in range(120)],
            "at": pa.array([at(chance.randrange(18)) for _ in range(120)], pa.timestamp("us", "UTC")),
        }
    )
    labels = store._tables._catalog.create_table_if_not_exists(f"features.labels_{semantics}", rows.schema)
    labels.append(rows)
    pinned = table.scan(
        snapshot_id=table.current_snapshot().snapshot_id, row_filter=f"created_time <= '{at(13).isoformat()}'"
    )
    known = GroupRows(
        name="history",
        entities=("store_id", "sku"),
        columns=("units", "note"),
        ttl=timedelta(hours=3),
        ttl_inclusive=False,
        rows=pinned.to_arrow(),
        names={"units": "history__units"},
    )
    other = dataclasses.replace(known, columns=("note",), names={"note": "other__note"}, keys=("other_store", "sku"))
    wanted = point_in_time(rows, "at", [known, other], semantics=semantics)
    spark_table = shown(spark, table)
    store.ingest(HISTORY, history(150, 0, 3))
    shown(spark, store.table("history_v1"))
    group = SqlGroup(
        name="history",
        table=spark_table,
        entities={"store_id": "string", "sku": "long"},
        columns={"units": "double", "note": "string"},
        ttl=timedelta(hours=3),
        ttl_inclusive=False,
        names={"units": "history__units"},
    )
    plan = SqlPlan(
        entities=SqlEntities(
            table=shown(spark, labels),
            timestamp="at",
            columns={"store_id": "string", "other_store": "string", "sku": "long", "at": "timestamp"},
        ),
        groups=(
            group,
            dataclasses.replace(
                group, columns={"note": "string"}, names={"note": "other__note"}, keys={"store_id": "other_store"}
            ),
        ),
        semantics=semantics,
        as_of=at(13),
        within=(at(0), at(17)),
    )
    checked = spark.sql(precondition(plan, "spark", catalog="lake")).collect()[0]
    assert tuple(checked) == (120, 120, 0)
    found = pa.Table.from_batches(spark.sql(render(plan, "spark", catalog="lake"))._collect_as_arrow())
    assert found["row_id"].to_pylist() == list(range(120))
    assert content_hash(found.cast(wanted.schema)) == content_hash(wanted)
    assert 0 < wanted["note"].null_count < 120
    # the pinned snapshot is older; at the table's head the result differs
    assert spark.table(f"lake.features.{spark_table.table}").count() > pinned.to_arrow().num_rows
