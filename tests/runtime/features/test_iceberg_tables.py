"""Tables that say what they are, and rows of a snapshot."""

from dataclasses import replace

import pytest

from mlops_runtime.features.iceberg_tables import (
    FeatureTableError,
    TableMeaning,
)


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
