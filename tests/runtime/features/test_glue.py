"""The client on Glue and S3, on the embedded cloud and moto, read back by pyiceberg's own catalog."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.table.statistics import StatisticsFile

from mlops_local.cloud import Cloud
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema, iceberg_sort_order
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.source import DamagedFileError
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import Tables, glue_properties

DATABASE = "glue_features"
DAY = datetime(2017, 1, 1, tzinfo=UTC)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(
        Feature("on_hand", "long", "units on hand"),
        Feature("price", "decimal(9,2)", "price", nullable=True),
        Feature("embedding", "vector(2)", "embedding", nullable=True),
    ),
    owner="demand",
    description="stock",
)


@pytest.fixture(scope="module", params=["embedded", "moto"])
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Return the environment of a cloud."""
    if request.param == "embedded":
        yield request.getfixturevalue("cloud").environment()
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    # moto has no column statistics
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tables, "forget_statistics", lambda *_: None)
        yield _of_moto(server)
    server.stop()


def _of_moto(server: ThreadedMotoServer) -> dict[str, str]:
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    return {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1", **keys}


@pytest.fixture(scope="module")
def store(environment: dict[str, str]) -> SimpleNamespace:
    """Return a client with versioned buckets, and pyiceberg's catalog."""
    common = {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
    s3, glue = boto3.client("s3", **common), boto3.client("glue", **common)
    for bucket in ("glue-tables", "glue-sets"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    glue.create_database(DatabaseInput={"Name": DATABASE})
    catalog = GlueCatalog("foreign", None, **glue_properties(environment))
    locked = FeatureLock().extend([STOCK]).table(STOCK)
    catalog.create_table(
        (DATABASE, STOCK.table_name),
        iceberg_schema(STOCK, locked),
        location=f"s3://glue-tables/{DATABASE}/{STOCK.table_name}",
        partition_spec=iceberg_partition(locked),
        sort_order=iceberg_sort_order(STOCK, locked),
        properties=STOCK.properties,
    )
    client = FeatureStoreClient.glue(
        database=DATABASE,
        environment=environment,
        now=lambda: DAY + timedelta(days=20),
        manifests="s3://glue-sets/manifests",
        training_sets="s3://glue-sets",
        s3=s3,
    )
    return SimpleNamespace(client=client, catalog=catalog, s3=s3)


def stock(store_id: str, *days: int) -> pa.Table:
    """Return stock: the day's number in units, at a price of that plus a half."""
    times = [DAY + timedelta(days=n) for n in days]
    return pa.table(
        {
            "store_id": [store_id] * len(days),
            "event_time": times,
            "created_time": times,
            "on_hand": days,
            "price": [Decimal(n) + Decimal("0.5") for n in days],
            "embedding": [[float(n), float("nan")] for n in days],
        }
    )


def test_another_catalog_reads_what_the_client_wrote_by_tag_and_snapshot(store: SimpleNamespace) -> None:
    """The tag of a training set selects its rows, whatever came later; the manifest names its snapshot."""
    store.client.ingest(STOCK, stock("1", 1, 2))
    entities = pa.table({"store_id": ["1", "2"], "event_timestamp": [DAY + timedelta(days=15)] * 2})
    built = store.client.training_set(entities, [STOCK], name="shelves")
    assert not store.client.ingest(STOCK, stock("2", 3), idempotency_key="k").duplicate
    assert store.client.ingest(STOCK, stock("2", 3), idempotency_key="k").duplicate

    table = store.catalog.load_table((DATABASE, STOCK.table_name))

    (pinned,) = built.manifest.features
    tagged = table.scan(snapshot_id=table.snapshot_by_name(pinned.tag).snapshot_id).to_arrow()
    at_snapshot = table.scan(snapshot_id=pinned.snapshot_id).to_arrow()
    assert tagged["on_hand"].to_pylist() == at_snapshot["on_hand"].to_pylist() == [1, 2]
    assert sorted(table.scan().to_arrow()["on_hand"].to_pylist()) == [1, 2, 3]
    assert built.rows["stock__on_hand"].to_pylist() == [2, None]
    assert built.rows["stock__price"].to_pylist() == [Decimal("2.50"), None]
    assert repr(built.rows["stock__embedding"].to_pylist()) == "[[2.0, nan], None]"
    assert repr(sorted(table.scan().to_arrow()["embedding"].to_pylist())) == "[[1.0, nan], [2.0, nan], [3.0, nan]]"
    assert store.client.rebuild(built.id).verdict is Verdict.IDENTICAL


def test_a_damaged_state_of_a_table_is_named(store: SimpleNamespace) -> None:
    """The error has the object named by the catalog, which pyiceberg's error lacks."""
    location = store.client.table("stock_v1").metadata_location
    bucket, _, key = location.removeprefix("s3://").partition("/")
    whole = store.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    store.s3.put_object(Bucket=bucket, Key=key, Body=whole[: len(whole) // 2])
    try:
        with pytest.raises(DamagedFileError, match=f"^file {location} of table stock_v1 cannot be read: .*restore it"):
            store.client.table("stock_v1")
    finally:
        store.s3.put_object(Bucket=bucket, Key=key, Body=whole)


def test_an_erasure_leaves_no_version_of_any_file(store: SimpleNamespace) -> None:
    """Versioned buckets keep deleted files, so each version is removed."""
    store.client.ingest(STOCK, stock("canary-4711", 5))
    entities = pa.table({"store_id": ["canary-4711"], "event_timestamp": [DAY + timedelta(days=15)]})
    built = store.client.training_set(entities, [STOCK], name="canary")
    assert _versions_with(store.s3, b"canary-4711")

    record = store.client.erase({"store_id": "canary-4711"}, reason="ticket", in_use=())

    assert built.id in record.used_by
    assert _versions_with(store.s3, b"canary-4711") == []
    assert store.client.rebuild(built.id).verdict is Verdict.IMPOSSIBLE
    assert (
        "canary-4711"
        not in store.catalog.load_table((DATABASE, STOCK.table_name)).scan().to_arrow()["store_id"].to_pylist()
    )


def _versions_with(s3: object, text: bytes) -> list[str]:
    found = []
    for bucket in ("glue-tables", "glue-sets"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for version in page.get("Versions", ()):
                body = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])["Body"].read()
                if text in body:
                    found.append(version["Key"])
    return found


def test_an_erasure_takes_what_a_bucket_keeps_of_deleted_files(store: SimpleNamespace) -> None:
    """Writers that lost a race delete manifests and files, whose bounds and rows a versioned bucket keeps."""
    store.client.ingest(STOCK, stock("planted-entity", 4))
    table, place = store.client.table(STOCK.table_name), f"{DATABASE}/{STOCK.table_name}"
    (file,) = (task.file.file_path for task in table.scan("store_id == 'planted-entity'").plan_files())
    rows = store.s3.get_object(Bucket="glue-tables", Key=file.removeprefix("s3://glue-tables/"))["Body"].read()
    for name in ("data/overtaken.parquet", "metadata/overtaken-m0.avro", "metadata/overtaken.metadata.json"):
        store.s3.put_object(Bucket="glue-tables", Key=f"{place}/{name}", Body=rows)
        store.s3.delete_object(Bucket="glue-tables", Key=f"{place}/{name}")

    done = store.client.erase({"store_id": "planted-entity"}, reason="T-1", in_use=())

    assert done.pending == ()
    kept = store.s3.list_object_versions(Bucket="glue-tables", Prefix=place)
    keys = {each["Key"].rpartition("/")[2] for each in (*kept["Versions"], *kept.get("DeleteMarkers", ()))}
    assert {key for key in keys if key.startswith("overtaken")} == {"overtaken.metadata.json"}


def test_an_erasure_takes_statistics_of_values(store: SimpleNamespace, cloud: Cloud) -> None:
    """Covers minimum and maximum values in the catalog, and sketches in the table's files, named or not."""
    client, place = store.client, f"s3://glue-tables/{DATABASE}/{STOCK.table_name}/metadata"
    if client.table(STOCK.table_name).io.properties.get("s3.endpoint") != cloud.endpoint_url:
        pytest.skip("moto has no statistics of columns")
    glue, of = cloud.client("glue"), {"DatabaseName": DATABASE, "TableName": STOCK.table_name}
    client.ingest(STOCK, stock("sketched", 6))
    table = client.table(STOCK.table_name)
    snapshot = table.current_snapshot()
    for name in ("named.stats", "loose.stats"):
        store.s3.put_object(Bucket="glue-tables", Key=f"{place}/{name}".removeprefix("s3://glue-tables/"), Body=b"PFA1")
    with table.update_statistics() as update:
        update.set_statistics(
            StatisticsFile(
                snapshot_id=snapshot.snapshot_id,
                statistics_path=f"{place}/named.stats",
                file_size_in_bytes=4,
                file_footer_size_in_bytes=0,
                blob_metadata=[],
            )
        )
    numbers = {"MinimumValue": 1, "MaximumValue": 6, "NumberOfNulls": 0, "NumberOfDistinctValues": 2}
    reported = {"Type": "LONG", "LongColumnStatisticsData": numbers}
    entry = {"ColumnName": "on_hand", "ColumnType": "bigint", "AnalyzedTime": DAY, "StatisticsData": reported}
    glue.update_column_statistics_for_table(**of, ColumnStatisticsList=[entry])
    client.maintain()
    assert client.table(STOCK.table_name).metadata.statistics

    assert client.erase({"store_id": "sketched"}, reason="T-1", in_use=()).pending == ()

    assert client.table(STOCK.table_name).metadata.statistics == []
    kept = store.s3.list_objects_v2(Bucket="glue-tables", Prefix=f"{DATABASE}/{STOCK.table_name}")["Contents"]
    assert [each["Key"] for each in kept if each["Key"].endswith(".stats")] == []
    left = glue.get_column_statistics_for_table(**of, ColumnNames=["on_hand"])
    assert left["ColumnStatisticsList"] == []
