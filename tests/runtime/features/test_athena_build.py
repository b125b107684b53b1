"""A training set joined by the embedded cloud's Athena has DuckDB's content hash and bytes.

Leftovers of a killed build are removed three days later, by maintenance and by the next build.
"""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyiceberg.catalog.glue import GlueCatalog

from mlops_runtime.contracts import content_hash
from mlops_runtime.features import athena_build, training_set
from mlops_runtime.features.athena_runs import AthenaError, AthenaRuns
from mlops_runtime.features.build_intent import ErasedDuringBuildError, OpenBuild
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.store_client import FeatureStoreClient, FeatureStoreError
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import SqlPlanError

START = datetime(2017, 1, 1, tzinfo=UTC)
STORE = Entity("store_id", "string", "store")
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(
        Feature("on_hand", "long", "units", nullable=True),
        Feature("share", "double", "share", nullable=True),
        Feature("seen_at", "timestamp", "when", nullable=True),
    ),
    ttl=timedelta(days=30),
    owner="demand",
    description="stock",
)
KINDS = FeatureGroup(
    name="kinds",
    entities=(STORE, Entity("day", "date", "day")),
    features=(
        Feature("flag", "boolean", "flag", nullable=True),
        Feature("small", "int", "int", nullable=True),
        Feature("half", "float", "float", nullable=True),
        Feature("note", "string", "text", nullable=True),
        Feature("on", "date", "date", nullable=True),
        Feature("price", "decimal(9,2)", "price", nullable=True),
        Feature("raw", "binary", "bytes", nullable=True),
        Feature("list", "list<double>", "list", nullable=True),
        Feature("times", "list<timestamp>", "times", nullable=True),
        Feature("vector", "vector(2)", "vector", nullable=True),
    ),
    owner="demand",
    description="kinds",
)
EMPTY = replace(STOCK, name="empty")


def stock(count: int) -> pa.Table:
    """Return rows with ties, nulls, NaN, and times with microseconds, also before 1970."""
    times = [START + timedelta(hours=n // 2) for n in range(count)]
    return pa.table(
        {
            "store_id": [str(n % 7) for n in range(count)],
            "event_time": times,
            "created_time": [time + timedelta(minutes=n % 3) for n, time in enumerate(times)],
            "on_hand": pa.array([None if n % 5 == 0 else n for n in range(count)], pa.int64()),
            "share": [(float("nan"), 1.5, 0.5, None)[n % 4] for n in range(count)],
            "seen_at": pa.array(
                [
                    None if n % 6 == 0 else datetime(1969, 12, 31, tzinfo=UTC) + timedelta(days=n * 90, microseconds=n)
                    for n in range(count)
                ],
                pa.timestamp("us", "UTC"),
            ),
        }
    )


def kinds(count: int) -> pa.Table:
    """Return rows of all other types."""
    rows = range(count)
    return pa.table(
        {
            "store_id": [str(n % 3) for n in rows],
            "day": [date(2017, 1, 1 + n % 5) for n in rows],
            "event_time": [START + timedelta(hours=n) for n in rows],
            "created_time": [START + timedelta(hours=n) for n in rows],
            "flag": [None if n % 3 == 0 else n % 2 == 0 for n in rows],
            "small": pa.array(rows, pa.int32()),
            "half": pa.array([n / 2 for n in rows], pa.float32()),
            "note": [f"é{n}" if n % 2 else None for n in rows],
            "on": [date(1, 1, 1 + n % 9) for n in rows],
            "price": pa.array([Decimal(n).scaleb(-2) for n in rows], pa.decimal128(9, 2)),
            "raw": [bytes([n % 256]) for n in rows],
            "list": [[float(n), None, float("nan")][: n % 4] for n in rows],
            "times": pa.array(
                [[START + timedelta(microseconds=n), None] for n in rows], pa.list_(pa.timestamp("us", "UTC"))
            ),
            "vector": pa.array([[n, 0.5] for n in rows], pa.list_(pa.float32(), 2)),
        }
    )


def asked(count: int) -> pa.Table:
    """Return entity rows with null keys and an extra column."""
    return pa.table(
        {
            "store_id": pa.array([None if n % 11 == 10 else str(n % 8) for n in range(count)], pa.string()),
            "day": pa.array([date(2017, 1, 1 + n % 6) for n in range(count)], pa.date32()),
            "event_timestamp": pa.array(
                [START + timedelta(hours=n, microseconds=n) for n in range(count)], pa.timestamp("us", "UTC")
            ),
            "label": pa.array([n / 3 for n in range(count)], pa.float64()),
        }
    )


@pytest.fixture(scope="module")
def store(cloud):
    """Return a store in Glue whose client has Athena."""
    s3, glue = cloud.client("s3"), cloud.client("glue")
    for bucket in ("athena-tables", "athena-sets", "athena-answers"):
        s3.create_bucket(Bucket=bucket)
    glue.create_database(DatabaseInput={"Name": "athena_store"})
    catalog = GlueCatalog("tests", None, **glue_properties(cloud.environment()))
    groups = (STOCK, KINDS, EMPTY)
    lock = FeatureLock().extend(groups)
    for group in groups:
        catalog.create_table(
            ("athena_store", group.table_name),
            iceberg_schema(group, lock.table(group)),
            location=f"s3://athena-tables/athena_store/{group.table_name}",
            partition_spec=iceberg_partition(lock.table(group)),
            properties=group.properties,
        )

    def client(**options):
        runs = AthenaRuns(cloud.client("athena"), output="s3://athena-answers")
        given = {"athena": runs, "glue": glue, "now": lambda: START + timedelta(days=60), **options}
        return FeatureStoreClient.glue(
            database="athena_store",
            environment=cloud.environment(),
            manifests="s3://athena-sets/manifests",
            training_sets="s3://athena-sets",
            s3=s3,
            **given,
        )

    client().ingest(STOCK, stock(200))
    client().ingest(KINDS, kinds(60))

    def left() -> list[str]:
        tables = [each["Name"] for each in glue.get_tables(DatabaseName="athena_store")["TableList"]]
        staged = s3.list_objects_v2(Bucket="athena-sets", Prefix="staged/").get("Contents", [])
        return [name for name in tables if name.startswith("mlops_rows")] + [each["Key"] for each in staged]

    yield SimpleNamespace(client=client(), new_client=client, s3=s3, glue=glue, left=left, cloud=cloud)
    # another test file creates it on the same cloud
    for each in glue.get_tables(DatabaseName="athena_store")["TableList"]:
        glue.delete_table(DatabaseName="athena_store", Name=each["Name"])
    glue.delete_database(Name="athena_store")
    for bucket in ("athena-tables", "athena-sets", "athena-answers"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for each in page.get("Contents", ()):
                s3.delete_object(Bucket=bucket, Key=each["Key"])


def same(found, wanted) -> None:
    """Assert that two sets are equal except for the engine."""
    assert found.manifest.output == wanted.manifest.output
    assert dict(found.files) == dict(wanted.files)
    assert replace(found.manifest, build=wanted.manifest.build) == wanted.manifest


@pytest.mark.parametrize("semantics", ["known_at", "event_time"])
def test_athenas_set_is_duckdbs(store, semantics):
    """Covers all types, ties, nulls, NaN, times before 1970, null keys, two keys, expiry, and a group without rows."""
    features = [STOCK, KINDS, EMPTY]
    wanted = store.client.training_set(asked(100), features, name="s", engine="duckdb", semantics=semantics)
    found = store.client.training_set(asked(100), features, name="s", engine="athena", semantics=semantics)
    same(found, wanted)
    assert (found.manifest.build.engine, found.manifest.build.engine_version) == ("athena", "Athena engine version 3")
    assert (found.rows.schema, found.rows.num_rows) == (wanted.rows.schema, 100)
    assert found.warnings == (
        "no entity row matched a row of group empty; request some of the rows with engine='duckdb', which reports why",
    )
    assert store.client.rebuild(found.id).verdict.value == "IDENTICAL"
    assert store.left() == []


def test_parts_are_sorted_and_cut_into_blocks(store, monkeypatch):
    """With more blocks than partitions per query, each partition has several blocks; given row ids keep their order."""
    rows = asked(230).append_column("row_id", pa.array(range(2300, 0, -10), pa.int64()))
    monkeypatch.setattr(athena_build, "BLOCK", 2)
    monkeypatch.setattr(athena_build.AthenaBuilder.__init__, "__kwdefaults__", {"block": 2})
    build = training_set.build
    monkeypatch.setattr(training_set, "build", lambda *given, **more: build(*given, block=2, **more))
    wanted = store.client.training_set(rows, [STOCK], name="blocks", engine="duckdb")
    found = store.client.training_set(rows, [STOCK], name="blocks", engine="athena")
    assert len(found.files) == 115
    same(found, wanted)


def test_zeros_of_either_sign_have_one_content_hash(store):
    """DuckDB, which runs the embedded Athena, may normalise zeros: bytes may differ, the content hash does not."""
    zeros = stock(9).set_column(4, "share", pa.array([-0.0] * 9)).set_column(0, "store_id", pa.array(["zero"] * 9))
    store.client.ingest(STOCK, zeros)
    rows = asked(30).set_column(0, "store_id", pa.array(["zero"] * 30))
    wanted = store.client.training_set(rows, [STOCK], name="zeros", engine="duckdb")
    found = store.client.training_set(rows, [STOCK], name="zeros", engine="athena")
    assert found.manifest.output.content_hash == wanted.manifest.output.content_hash


def test_sets_without_rows_need_no_query(store):
    """Without entity rows or feature rows no query runs."""
    for rows, features in ((asked(0), [STOCK]), (asked(5), [EMPTY])):
        wanted = store.client.training_set(rows, features, name="none", engine="duckdb")
        same(store.client.training_set(rows, features, name="none", engine="athena"), wanted)


def test_a_query_that_fails_leaves_nothing(store, monkeypatch):
    """Removes its files, table and open build; the same set can be built afterwards."""
    monkeypatch.setattr(athena_build, "_shown", lambda *_: iter(["nothing"]))
    with pytest.raises(AthenaError, match=r"ended FAILED: GENERIC_USER_ERROR"):
        store.client.training_set(asked(9), [STOCK], name="fails", engine="athena")
    assert (store.left(), store.client.builds.unclosed()) == ([], ())
    monkeypatch.undo()
    assert store.client.training_set(asked(9), [STOCK], name="fails", engine="athena").rows.num_rows == 9


def test_an_erasure_that_began_meanwhile_stops_it(store, monkeypatch):
    """The erasure's intent precedes the read of any state and names the staging path; nothing of the build is kept."""
    places = []

    def fenced(build: OpenBuild) -> None:
        places.extend(build.intent.places)
        store.client.builds.fence(build.intent.id, "e1")
        check(build)

    check = OpenBuild.check
    monkeypatch.setattr(OpenBuild, "check", fenced)
    with pytest.raises(ErasedDuringBuildError, match="erasure e1 began while"):
        store.client.training_set(asked(7), [STOCK], name="fenced", engine="athena")
    assert any(place.startswith("s3://athena-sets/staged/") for place in places)
    found = store.s3.list_objects_v2(Bucket="athena-sets", Prefix="sets/fenced/")
    assert (found.get("KeyCount"), store.left()) == (0, [])


def test_what_athena_cannot_do_is_refused_by_name(store, monkeypatch):
    """Rejects too many rows for its partitions, lifetimes with fractions of milliseconds, missing clients and rounded times."""
    monkeypatch.setattr(training_set, "ATHENA_ROWS", 4)
    with pytest.raises(
        TrainingSetError, match="training set s has 5 entity rows, and Athena can write at most 4 in parts"
    ):
        store.client.training_set(asked(5), [STOCK], name="s", engine="athena")
    monkeypatch.undo()
    with pytest.raises(
        TrainingSetError, match=r"this client has no Athena: pass athena= and glue= to FeatureStoreClient.glue"
    ):
        store.new_client(athena=None, glue=None).training_set(asked(5), [STOCK], name="s", engine="athena")
    with pytest.raises(FeatureStoreError, match="athena needs a boto3 client of Glue: pass glue="):
        store.new_client(glue=None)
    brief = replace(STOCK, name="brief", ttl=timedelta(microseconds=1500))
    catalog = GlueCatalog("tests", None, **glue_properties(store.cloud.environment()))
    for group in (brief, replace(STOCK, name="far")):
        locked = FeatureLock().extend([group]).table(group)
        catalog.create_table(
            ("athena_store", group.table_name),
            iceberg_schema(group, locked),
            location=f"s3://athena-tables/athena_store/{group.table_name}",
            properties=group.properties,
        )
    store.client.ingest(brief, stock(9))
    with pytest.raises(SqlPlanError, match="ttl of brief must be whole milliseconds for Athena"):
        store.client.training_set(asked(5), [brief], name="s", engine="athena")
    far = replace(STOCK, name="far")
    late = stock(9).set_column(
        5, "seen_at", pa.array([datetime(2150, 1, 1, 0, 0, 0, 7, UTC)] * 9, pa.timestamp("us", "UTC"))
    )
    store.client.ingest(far, late)
    with pytest.raises(AthenaError, match=r"the time 5,680,281,600 seconds from 1970 with fractional seconds"):
        store.client.training_set(asked(50), [far], name="s", engine="athena")
    assert store.left() == []


def test_the_statement_is_bound_by_athenas_limit(store, monkeypatch):
    """Rejects a wide plan by its size in bytes, without leaving the table of entity rows."""
    monkeypatch.setattr("mlops_runtime.features.athena_runs.MAX_STATEMENT", 500)
    with pytest.raises(AthenaError, match=r"an Athena statement has at most 500 bytes, this one has \d"):
        store.client.training_set(asked(5), [STOCK], name="s", engine="athena")
    assert store.left() == []
    assert content_hash(store.client.training_set(asked(5), [STOCK], name="s").manifest)


BUILD = """
import signal
import boto3
from datetime import timedelta
from tests.runtime.features.test_athena_build import START, STOCK, asked
from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.store_client import FeatureStoreClient

class Stalled(AthenaRuns):
    def run(self, statement):
        print("asked", flush=True)
        signal.pause()

client = FeatureStoreClient.glue(
    database="athena_store",
    now=lambda: START + timedelta(days=60),
    manifests="s3://athena-sets/manifests",
    training_sets="s3://athena-sets",
    s3=boto3.client("s3"),
    glue=boto3.client("glue"),
    athena=Stalled(boto3.client("athena"), output="s3://athena-answers"),
)
client.training_set(asked(9), [STOCK], name="killed", engine="athena")
"""


@pytest.fixture
def killed(store):
    """Kill a process during an Athena query; return its store, whose clients run on a later day."""
    environment = {**os.environ, **store.cloud.environment(), "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, "-c", BUILD], env=environment, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout.readline() == "asked\n"
        builder.send_signal(signal.SIGKILL)
    left = store.left()
    assert [each.partition("/")[0] for each in left if "rows" in each] == [left[0], "staged"]
    return store


def after(store, days):
    """Return a client that many days later."""
    return store.new_client(now=lambda: datetime.now(UTC) + timedelta(days=days))


def test_maintenance_removes_what_no_build_needs_any_more(killed):
    """Removes nothing of a build that may still run."""
    left = killed.left()
    after(killed, 2.9).maintain([])
    assert killed.left() == left

    after(killed, 3.1).maintain([])

    assert killed.left() == []
    after(killed, 3.1).maintain([])


def test_the_next_build_removes_it_too(killed):
    """Before it creates its own table."""
    built = after(killed, 3.1).training_set(asked(9), [STOCK], name="next", engine="athena")
    assert (built.rows.num_rows, killed.left()) == (9, [])
