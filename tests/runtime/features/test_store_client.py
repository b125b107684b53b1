"""Ingests: one atomic append per batch, exactly once, also when writers race."""

from dataclasses import replace

import pytest

from mlops_runtime.features import batch_ingest
from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.feature_group import WRITE_PROPERTIES, Feature
from mlops_runtime.features.ingest_ledger import hash_of
from mlops_runtime.features.store_client import FeatureStoreClient, FeatureStoreError
from mlops_runtime.features.table_description import FeatureTableError


def count(shop, table="stock_v1") -> int:
    """Return the number of rows of a table."""
    return shop.new_client().table(table).scan().to_arrow().num_rows


def test_batch_is_one_snapshot_with_its_key(shop):
    """A batch is one append whose summary has the key; each row has the batch's ingest id."""
    done = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1), (2, 6, 2)), idempotency_key="first")
    table = shop.client.table("stock_v1")
    assert (done.rows, done.duplicate, done.table) == (2, False, "stock_v1")
    assert [s.snapshot_id for s in table.metadata.snapshots] == [done.snapshot_id]
    assert table.metadata.snapshots[0].summary.additional_properties["mlops.idempotency-key-sha256"] == hash_of("first")
    ids = set(table.scan().to_arrow()["ingest_id"].to_pylist())
    assert len(ids) == 1
    assert ids.pop().startswith("0000000000000000001-")


def test_same_key_is_written_once(shop):
    """A retried batch is recognised by its key and returns the first snapshot."""
    first = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="k")
    again = shop.new_client().ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="k")
    assert (again.duplicate, again.rows, again.snapshot_id) == (True, 0, first.snapshot_id)
    assert count(shop) == 1


def test_same_content_is_written_once_without_a_key(shop):
    """Without a key the content is the key, also if created_time is filled in later."""
    batch = shop.stock((1, 5, 1)).drop_columns(["created_time"])
    shop.client.ingest(shop.STOCK, batch)
    shop.set_day(21)
    assert shop.client.ingest(shop.STOCK, batch).duplicate
    assert not shop.client.ingest(shop.STOCK, shop.stock((1, 6, 1))).duplicate
    assert count(shop) == 2


def test_two_writers_with_one_key_write_once(shop, monkeypatch):
    """The check applies to the state of the commit: a writer that lost the race finds the other's key."""
    shop.client.ingest(shop.STOCK, shop.stock((0, 1, 0)))
    original, others = batch_ingest.data_files, []

    def data_files(*args, **kwargs):
        if not others:  # this writer found no key; now the other commits first
            others.append(None)
            others[0] = shop.new_client().ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="k")
        return original(*args, **kwargs)

    monkeypatch.setattr(batch_ingest, "data_files", data_files)
    mine = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="k")
    assert (mine.duplicate, others[0].duplicate) == (True, False)
    assert mine.snapshot_id == others[0].snapshot_id
    assert count(shop) == 2


def test_two_batches_are_both_written_when_one_is_overtaken(shop, monkeypatch):
    """An append that lost the race is retried on the new state."""
    original, others = batch_ingest.data_files, []

    def data_files(*args, **kwargs):
        if not others:
            others.append(shop.new_client)
            shop.new_client().ingest(shop.STOCK, shop.stock((2, 6, 2)))
        return original(*args, **kwargs)

    shop.client.ingest(shop.STOCK, shop.stock((0, 1, 0)))
    monkeypatch.setattr(batch_ingest, "data_files", data_files)
    assert not shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1))).duplicate
    assert count(shop) == 3


def test_retry_setting_is_not_written_to_the_table(shop):
    """Disabling pyiceberg's retries changes no property of the table."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)))
    properties = shop.new_client().table("stock_v1").properties
    assert {name for name in properties if name.startswith("commit.retry")} == set()
    assert properties.items() >= {**shop.STOCK.properties, **WRITE_PROPERTIES}.items()


def test_bad_batch_writes_nothing(shop):
    """A batch that fails its checks leaves no snapshot."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)))
    with pytest.raises(BatchError):
        shop.client.ingest(shop.STOCK, shop.stock((1, 5, 30)))
    assert len(shop.client.table("stock_v1").metadata.snapshots) == 1


def test_local_table_grows_a_column(shop):
    """A new nullable feature becomes a column, null in old rows."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)))
    grown = replace(shop.STOCK, features=(*shop.STOCK.features, Feature("colour", "string", "colour", nullable=True)))
    shop.client.ingest(grown, shop.stock((2, 6, 2)).append_column("colour", [["red"]]))
    rows = shop.client.table("stock_v1").scan().to_arrow().sort_by("event_time")
    assert rows["colour"].to_pylist() == [None, "red"]


def test_table_has_the_ids_and_partition_of_its_lock(shop):
    """Ids are those of the lock file, and the partition is the event time's month."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)))
    table = shop.client.table("stock_v1")
    assert [(f.field_id, f.name) for f in table.schema().fields] == list(
        enumerate(["store_id", "event_time", "created_time", "ingest_id", "on_hand"], 1)
    )
    assert [(p.field_id, p.source_id, str(p.transform)) for p in table.spec().fields] == [(1000, 2, "month")]
    assert table.metadata.format_version == 2


def test_latest_is_the_newest_row_known(shop):
    """For each entity the newest event's newest restatement counts; rows known later do not."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 1, 1), (2, 2, 2), (2, 3, 4), (1, 9, 5), (19, 7, 19)))
    shop.set_day(3)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [2]
    shop.set_day(4)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [3]
    shop.set_day(10)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == []  # older than its two days
    shop.set_day(19)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [7]


def test_fails_when_the_table_does_not_fit_its_group(shop):
    """The error has the difference to the deployed table."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)))
    shop.client._tables._local_lock = None  # as on Glue, where only CloudFormation creates and changes tables
    grown = replace(shop.STOCK, features=(*shop.STOCK.features, Feature("colour", "string", "colour", nullable=True)))
    with pytest.raises(FeatureTableError, match="column 'colour' is missing; deploy the feature store first"):
        shop.client.ingest(grown, shop.stock((2, 6, 2)).append_column("colour", [["red"]]))
    with pytest.raises(FeatureTableError, match=r"property mlops.ttl-seconds is '172800', declared is '86400'"):
        shop.client.ingest(replace(shop.STOCK, ttl=shop.STOCK.ttl / 2), shop.stock((2, 6, 2)))
    with pytest.raises(FeatureTableError, match="database features has no table other_v1; deploy the feature store"):
        shop.client.ingest(replace(shop.STOCK, name="other"), shop.stock((2, 6, 2)))


def test_a_folder_may_be_named_by_a_text(shop):
    """Like ``pathlib``."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)))

    assert FeatureStoreClient.local(str(shop.path)).table_names() == ("stock_v1",)


@pytest.mark.parametrize("path", ["", None, 5])
def test_fails_for_what_is_no_path(path):
    """No folder is created."""
    with pytest.raises(FeatureStoreError, match=f"path must be the path of a folder, got {path!r}"):
        FeatureStoreClient.local(path)
