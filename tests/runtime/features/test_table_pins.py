"""Tags that never move, and rows of a removed snapshot."""

from dataclasses import replace
from uuid import uuid4

import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import _dataframe_to_data_files

from mlops_runtime.features.feature_group import Feature
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_pins import pin, pinned_rows, tag_snapshot


def test_tag_is_given_once(filled):
    """Repeating the tag on the same snapshot changes nothing; another snapshot is an error."""
    table = filled.client.table("stock_v1")
    first = table.current_snapshot().snapshot_id
    tag_snapshot(table, first, "keep")
    location = filled.client.table("stock_v1").metadata_location
    tag_snapshot(filled.client.table("stock_v1"), first, "keep")
    assert filled.client.table("stock_v1").metadata_location == location
    second = filled.client.ingest(filled.STOCK, filled.stock((12, 1, 12))).snapshot_id
    with pytest.raises(FeatureTableError, match=f"tag keep of features.stock_v1 names snapshot {first}, not {second}"):
        tag_snapshot(table, second, "keep")


def test_tag_is_given_although_another_writer_was_faster(filled):
    """A tag on an outdated state is retried on the newest."""
    table = filled.client.table("stock_v1")
    first = table.current_snapshot().snapshot_id
    filled.new_client().ingest(filled.STOCK, filled.stock((12, 1, 12)))
    tag_snapshot(table, first, "keep")
    assert filled.client.table("stock_v1").metadata.refs["keep"].snapshot_id == first


def test_fails_to_pin_a_snapshot_that_is_not_there(filled):
    """A pin describes an existing snapshot."""
    with pytest.raises(FeatureTableError, match=r"table features\.stock_v1 has no snapshot 7; read a newer one"):
        pin(filled.client.table("stock_v1"), 7, "keep", ("on_hand",))


def test_a_snapshot_that_was_expired_gets_no_tag(filled):
    """Its sequence number pins it."""
    tag_snapshot(filled.client.table("stock_v1"), 7, "late")
    assert "late" not in filled.client.table("stock_v1").metadata.refs


def test_the_newest_eight_tags_are_kept(filled):
    """Tags of other origins stay at any age; the new tag is one of the eight."""
    table = filled.client.table("stock_v1")
    table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "theirs").commit()
    for number in range(10):
        done = filled.client.ingest(filled.STOCK, filled.stock((10 + number / 2, 1, 12)))
        tag_snapshot(table, done.snapshot_id, f"ts-{number}")
    tags = set(filled.client.table("stock_v1").metadata.refs) - {"main"}
    assert tags == {"theirs", *(f"ts-{number}" for number in range(2, 10))}


def expire_all(table) -> None:
    """Remove every snapshot except the current one."""
    table.refresh()
    for name in set(table.metadata.refs) - {"main"}:
        table.manage_snapshots().remove_tag(name).commit()
    gone = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id != table.current_snapshot().snapshot_id]
    table.maintenance.expire_snapshots().by_ids(gone).commit()


def test_rows_of_a_pin_are_those_of_its_snapshot_whatever_came_since(filled):
    """After more rows and a widened, a new and a removed column, names, types and values are the former ones."""
    group = replace(filled.STOCK, name="grown", features=(Feature("a", "int", "a"), Feature("b", "float", "b")))
    first = {"store_id": ["1"], "event_time": [filled.day(1)], "a": [1], "b": [0.5]}
    filled.client.ingest(group, pa.table(first))
    table = filled.client.table("grown_v1")
    pinned = pin(table, table.current_snapshot().snapshot_id, None, ("a", "b"))
    before = pinned_rows(table, pinned, ("store_id", "a", "b")).read()
    wide = (Feature("a", "long", "a"), Feature("b", "double", "b"), Feature("c", "int", "c", nullable=True))
    filled.client.ingest(replace(group, features=wide), pa.table({**first, "a": [2**40], "c": [1]}))
    table.refresh()
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as rewritten:
        rows, files = table.scan().to_arrow(), [task.file for task in table.scan().plan_files()]
        for file in files:
            rewritten.delete_data_file(file)
        for file in _dataframe_to_data_files(table.metadata, rows, table.io, uuid4()):
            rewritten.append_data_file(file)
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("b")
    expire_all(table)

    assert table.snapshot_by_id(pinned.snapshot_id) is None
    after = pinned_rows(table, pinned, ("store_id", "a", "b")).read()
    assert after.schema == before.schema
    assert after.to_pylist() == before.to_pylist() == [{"store_id": "1", "a": 1, "b": 0.5}]


def test_an_expired_snapshot_whose_schema_is_gone_is_an_error(filled):
    """The error names the missing schema."""
    table = filled.client.table("stock_v1")
    pinned = pin(table, table.current_snapshot().snapshot_id, "t", ("on_hand",))
    lost = replace(pinned, snapshot_id=7, schema_id=9)
    reason = r"snapshot 7 of table stock_v1 \(tag t\) has expired, and schema 9 of its columns was removed"
    with pytest.raises(FeatureTableError, match=reason):
        pinned_rows(table, lost, ("on_hand",))
