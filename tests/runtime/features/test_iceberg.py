"""Tags that never move, and tables that say what they are."""

import pytest

from mlops_runtime.features.iceberg import FeatureTableError, TableMeaning, pin, read_rows, snapshot_with, tag_snapshot


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
    with pytest.raises(FeatureTableError, match=r"table features.stock_v1 has no snapshot with tag keep"):
        pin(filled.client.table("stock_v1"), "keep", ("on_hand",))


def test_rows_are_those_known_in_the_window(filled):
    """Rows created later, of later events or of older ones are not read."""
    filled.client.ingest(filled.STOCK, filled.stock((4, 99, 12)))
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    rows = read_rows(table, snapshot, ("on_hand",), known_by=filled.day(5), since=filled.day(3))
    assert sorted(rows["on_hand"].to_pylist()) == [30, 40, 50]


def test_unknown_key_has_no_snapshot(filled):
    """A key that no batch had is found nowhere."""
    assert snapshot_with(filled.client.table("stock_v1"), "mlops.idempotency-key", "never") is None


def test_fails_when_a_table_does_not_say_what_it_is():
    """A table without our properties is no feature table."""
    with pytest.raises(
        FeatureTableError, match=r"table logs has no property mlops.group, mlops.version, mlops.entities"
    ):
        TableMeaning.of("logs", {})
