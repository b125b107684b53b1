"""Tables that say what they are, and rows of a snapshot."""

from dataclasses import replace

import pytest

from mlops_runtime.features.iceberg_tables import (
    FeatureTableError,
    TableMeaning,
    read_rows,
    same_entity,
)


def test_rows_are_those_known_in_the_window(filled):
    """Rows created later, of later events or of older ones are not read."""
    filled.client.ingest(filled.STOCK, filled.stock((4, 99, 12)))
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    rows = read_rows(
        table, snapshot, ("on_hand",), created_by=filled.day(11), event_by=filled.day(5), since=filled.day(3)
    )
    assert sorted(rows["on_hand"].to_pylist()) == [30, 40, 50]


def test_the_cut_is_on_the_created_time_and_inclusive(filled):
    """What `as_of` means: the event time does not count."""
    filled.client.ingest(filled.STOCK, filled.stock((19, 99, 3)), idempotency_key="announced ahead")
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    rows = read_rows(table, snapshot, ("on_hand",), created_by=filled.day(3))
    assert sorted(rows["on_hand"].to_pylist()) == [0, 10, 20, 30, 99]


def test_rows_of_one_entity_are_found(filled):
    """By each part of the key, times too."""
    table = filled.client.table("stock_v1")
    snapshot = table.current_snapshot().snapshot_id
    where = same_entity({"store_id": "1", "event_time": filled.day(4)})
    assert read_rows(table, snapshot, ("on_hand",), where=where)["on_hand"].to_pylist() == [40]
    assert read_rows(table, snapshot, ("on_hand",), where=same_entity({"store_id": "2"})).num_rows == 0


def test_tables_have_the_declared_partition_and_order(shop):
    """Day partitions, and files sorted by entity and event time."""
    daily = replace(shop.STOCK, name="daily", partition="day")
    shop.client.ingest(daily, shop.stock((2, 6, 2), (1, 5, 1), (1.5, 7, 2)))
    table = shop.client.table("daily_v1")
    assert [str(field.transform) for field in table.spec().fields] == ["day"]
    assert [table.schema().find_column_name(field.source_id) for field in table.sort_order().fields] == [
        "store_id",
        "event_time",
    ]
    files = [task.file for task in table.scan().plan_files()]
    assert sorted(file.record_count for file in files) == [1, 2]


def test_fails_when_a_table_does_not_say_what_it_is():
    """A table without our properties is no feature table."""
    with pytest.raises(
        FeatureTableError, match=r"table logs has no property mlops.group, mlops.version, mlops.entities"
    ):
        TableMeaning.of("logs", {})
