"""Tags that never move, and what they pin."""

import pytest

from mlops_runtime.features.iceberg_tables import FeatureTableError
from mlops_runtime.features.table_pins import pin, tag_snapshot


def test_tag_is_given_once(filled):
    """The same tag on the same snapshot is no change; on another it is an error, not a move."""
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
    """A tag made from an old state is made on the newest."""
    table = filled.client.table("stock_v1")
    first = table.current_snapshot().snapshot_id
    filled.new_client().ingest(filled.STOCK, filled.stock((12, 1, 12)))
    tag_snapshot(table, first, "keep")
    assert filled.client.table("stock_v1").metadata.refs["keep"].snapshot_id == first


def test_fails_to_pin_without_the_tag(filled):
    """A pin needs the tag that keeps it."""
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    with pytest.raises(FeatureTableError, match=rf"table features.stock_v1 has no snapshot {snapshot} with tag keep"):
        pin(table, snapshot, "keep", ("on_hand",))
