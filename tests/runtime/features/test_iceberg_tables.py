"""Self-describing tables, and rows of a snapshot."""

from dataclasses import replace

from mlops_runtime.features.feature_group import Feature
from mlops_runtime.features.iceberg_tables import described


def test_tables_have_the_declared_partition_and_order(shop):
    """Partitions are days, and files are sorted by entity and event time."""
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


def test_a_table_describes_itself(shop):
    """Descriptions, columns of every schema and ordered snapshots come from its metadata alone."""
    codes = Feature("codes", "list<string>", "codes", nullable=True)
    shop.client.ingest(replace(shop.STOCK, tags=("core", "shelf")), shop.stock((1, 5, 1)))
    first = shop.client.table("stock_v1").current_snapshot()
    grown = replace(shop.STOCK, tags=("core", "shelf"), features=(*shop.STOCK.features, codes))
    shop.client.ingest(grown, shop.stock((2, 6, 2)))
    table = shop.client.table("stock_v1")

    found = described(table)

    assert (found.name, found.uuid, found.owner) == ("stock_v1", str(table.metadata.table_uuid), "demand")
    assert (found.description, found.tags, found.is_feature_table) == ("stock", ("core", "shelf"), True)
    assert list(found.columns) == [field.name for field in table.schema().fields]
    assert (found.columns["on_hand"], found.columns["codes"]) == ("units on hand", "codes")
    assert found.all_columns == set(found.columns)
    assert found.sequences == {each.snapshot_id: each.sequence_number for each in table.metadata.snapshots}
    assert found.sequences[first.snapshot_id] == 1
