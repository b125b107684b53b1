"""Tags written without pyiceberg and read by it, on the embedded cloud and moto."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pyiceberg.catalog.glue import GlueCatalog

from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema, iceberg_sort_order
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.snapshot_tags import SnapshotTagError, SnapshotTags, tables_of, with_tag
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.training_set_request import TrainingSetError

DATABASE = "tagged_features"
BUCKET = "tagged-tables"
_NUMBER = itertools.count(1)
METADATA: dict[str, Any] = {
    "snapshots": [{"snapshot-id": 1}, {"snapshot-id": 2}],
    "refs": {"main": {"snapshot-id": 2, "type": "branch"}, "old": {"snapshot-id": 1, "type": "tag"}},
    "last-updated-ms": 1000,
    "metadata-log": [{"timestamp-ms": n, "metadata-file": str(n)} for n in range(3)],
    "properties": {"write.metadata.previous-versions-max": "2"},
}


@pytest.fixture(params=["embedded", "moto"])
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Return the environment of a cloud."""
    if request.param == "embedded":
        yield request.getfixturevalue("cloud").environment()
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    yield {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1", **keys}
    server.stop()


@pytest.fixture
def store(environment: dict[str, str], shop: SimpleNamespace) -> SimpleNamespace:
    """Return the shop's tables in their own Glue database, with ten days of rows."""
    common: dict[str, Any] = {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
    s3, glue = boto3.client("s3", **common), boto3.client("glue", **common)
    database = f"{DATABASE}_{next(_NUMBER)}"
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET)
    glue.create_database(DatabaseInput={"Name": database})
    catalog = GlueCatalog("foreign", None, **glue_properties(environment))
    for group in (shop.SALES, shop.STOCK):
        locked = FeatureLock().extend([group]).table(group)
        catalog.create_table(
            (database, group.table_name),
            iceberg_schema(group, locked),
            location=f"s3://{BUCKET}/{database}/{group.table_name}",
            partition_spec=iceberg_partition(locked),
            sort_order=iceberg_sort_order(group, locked),
            properties=group.properties,
        )
    client = FeatureStoreClient.glue(database=database, environment=environment, now=lambda: shop.day(30))
    client.ingest(shop.SALES, shop.sales(*((n, float(n), n + 1) for n in range(10))))
    client.ingest(shop.STOCK, shop.stock(*((n, n * 10, n) for n in range(10))))
    return SimpleNamespace(client=client, catalog=catalog, s3=s3, glue=glue, database=database, shop=shop)


def pin(store: SimpleNamespace, glue: Any = None, tables: tuple[str, ...] = ("sales_v1", "stock_v1")) -> str:
    """Tag the snapshots of the shop's plan."""
    tags = SnapshotTags(glue=store.glue if glue is None else glue, s3=store.s3, database=store.database)
    return tags.pin(store.shop.PLAN, tables, as_of=store.shop.day(6.5), now=store.shop.day(31)).tag


def test_a_job_that_is_told_the_tag_builds_what_it_would_have_built(store: SimpleNamespace) -> None:
    """The tag selects the snapshots of its time, whatever is appended later; the manifest equals that of a self-tagging build."""
    shop = store.shop
    tag = pin(store)
    store.client.ingest(shop.STOCK, shop.stock((11, 1, 11)))
    built = store.client.split_training_set(shop.PLAN, as_of=shop.day(6.5), tag=tag)
    table = store.catalog.load_table((store.database, "stock_v1"))
    assert built.manifest.features[0].tag == tag
    assert table.snapshot_by_name(tag).snapshot_id == built.manifest.features[0].snapshot_id
    assert table.current_snapshot().snapshot_id != built.manifest.features[0].snapshot_id
    assert sorted(table.scan().to_arrow()["on_hand"].to_pylist()) == sorted([*range(0, 100, 10), 1])
    assert table.metadata.metadata_log[-2].metadata_file != table.metadata.metadata_log[-1].metadata_file


def test_the_tag_is_the_one_that_a_build_gives_itself(store: SimpleNamespace) -> None:
    """The set has one id for either tagger; a repeat writes nothing."""
    shop = store.shop
    tag = pin(store)
    location = store.catalog.load_table((store.database, "stock_v1")).metadata_location
    assert pin(store) == tag
    assert store.catalog.load_table((store.database, "stock_v1")).metadata_location == location
    reported = store.client.split_training_set(shop.PLAN, as_of=shop.day(6.5), tag=tag)
    assert store.client.split_training_set(shop.PLAN, as_of=shop.day(6.5)).id == reported.id


@pytest.mark.parametrize("environment", ["embedded"], indirect=True)  # moto compares no versions
def test_another_writers_commit_is_not_lost(store: SimpleNamespace) -> None:
    """If the table changed between read and commit, it is read again; rows of the other commit stay."""
    shop = store.shop

    class Overtaken:
        exceptions = store.glue.exceptions
        waiting = True

        def get_table(self, **request: Any) -> Any:
            return store.glue.get_table(**request)

        def update_table(self, **request: Any) -> Any:
            if self.waiting and request["TableInput"]["Name"] == "stock_v1":
                self.waiting = False
                store.client.ingest(shop.STOCK, shop.stock((12, 2, 12)))
            return store.glue.update_table(**request)

    tag = pin(store, Overtaken())
    table = store.catalog.load_table((store.database, "stock_v1"))
    assert 2 in table.scan().to_arrow()["on_hand"].to_pylist()
    assert table.snapshot_by_name(tag).snapshot_id == table.current_snapshot().parent_snapshot_id


def test_fails_for_a_tag_of_another_plan_or_none(store: SimpleNamespace) -> None:
    """The job reports the problem of its tag."""
    shop = store.shop
    tag = pin(store)
    with pytest.raises(TrainingSetError, match=f"tag {tag} is not that of this plan"):
        store.client.split_training_set(replace(shop.PLAN, holdout_days=3), as_of=shop.day(6.5), tag=tag)
    with pytest.raises(TrainingSetError, match="no tag ts-0 in sales_v1, stock_v1"):
        store.client.split_training_set(shop.PLAN, as_of=shop.day(6.5), tag="ts-0")


def test_adds_one_reference_and_keeps_the_log_of_files_short() -> None:
    """The rest of the metadata is unchanged, and its time does not decrease."""
    changed = with_tag(METADATA, "s3://b/3", 1, "new", now=datetime.fromtimestamp(0).astimezone())
    reference = {"snapshot-id": 1, "type": "tag", "max-ref-age-ms": 91 * 86_400_000}
    assert changed["refs"] == {**METADATA["refs"], "new": reference}
    assert changed["metadata-log"] == [
        METADATA["metadata-log"][-1],
        {"timestamp-ms": 1000, "metadata-file": "s3://b/3"},
    ]
    assert changed["last-updated-ms"] == 1000
    assert changed["snapshots"] == METADATA["snapshots"]


def test_the_newest_eight_tags_are_kept() -> None:
    """Tags of other origins, without an age, are kept."""
    snapshots = [{"snapshot-id": number, "sequence-number": 100 - number} for number in range(12)]
    metadata = {**METADATA, "snapshots": snapshots, "refs": {"theirs": {"snapshot-id": 11, "type": "tag"}}}
    for number in reversed(range(12)):
        metadata = with_tag(metadata, "s3://b/3", number, f"ts-{number}", now=datetime.fromtimestamp(9).astimezone())
    assert set(metadata["refs"]) == {"theirs", *(f"ts-{number}" for number in range(8))}


@pytest.mark.parametrize(
    ("snapshot", "tag", "reason"), [(3, "new", "no longer has snapshot 3"), (2, "old", "names snapshot 1")]
)
def test_fails_for_what_was_expired_or_named_otherwise(snapshot: int, tag: str, reason: str) -> None:
    """A tag is never moved."""
    with pytest.raises(SnapshotTagError, match=reason):
        with_tag(METADATA, "s3://b/3", snapshot, tag, now=datetime.fromtimestamp(9).astimezone())


def test_tables_are_named_by_themselves_or_by_their_groups(shop: SimpleNamespace) -> None:
    """Only tables of the plan are accepted."""
    assert tables_of(shop.PLAN, ["sales_v1", "stock_v1", "weather_v1"]) == ("sales_v1", "stock_v1")
