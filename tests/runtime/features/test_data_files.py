"""Data files equal to pyiceberg's, written faster."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import _dataframe_to_data_files

from mlops_runtime.features.data_files import data_files, partitions
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup

ID = "0000000000000000002-0123456789abcdef"
DAY = 86_400_000_000
DAILY = FeatureGroup(
    name="daily_stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
    partition="day",
)


def rows_of(micros: list[int]) -> pa.Table:
    """Return rows of store 1 at times in microseconds since 1970."""
    times = pa.array(micros, pa.int64()).cast(pa.timestamp("us", "UTC"))
    return pa.table(
        {"store_id": ["1"] * len(micros), "event_time": times, "created_time": times, "on_hand": range(len(micros))}
    )


@pytest.fixture
def table(shop):
    """Return the table of stock, partitioned by month."""
    shop.client.ingest(shop.STOCK, shop.stock((0, 1, 1)))
    return shop.client.table("stock_v1")


def facts(file) -> tuple[object, ...]:
    """Return a file's manifest entry without name, path and size."""
    return (
        file.partition[0],
        file.record_count,
        file.lower_bounds,
        file.upper_bounds,
        file.null_value_counts,
    )


def test_files_are_those_of_pyiceberg(table):
    """Partitions, rows, bounds and content agree, also for times before 1970."""
    random = np.random.default_rng(5)
    rows = rows_of(random.integers(-400 * DAY, 400 * DAY, 5_000).tolist())
    given = rows.append_column("ingest_id", pa.array([ID] * rows.num_rows))
    given = given.select([field.name for field in table.schema().fields])
    kinds = table.schema().as_arrow()
    given = given.cast(pa.schema([pa.field(f.name, f.type, kinds.field(f.name).nullable) for f in given.schema]))

    ours = sorted(data_files(table.metadata, rows, table.io, ingest_id=ID), key=facts)
    theirs = sorted(_dataframe_to_data_files(table.metadata, given, table.io), key=facts)

    assert len(ours) > 20
    assert [facts(file) for file in ours] == [facts(file) for file in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert pq.read_table(one.file_path).equals(pq.read_table(other.file_path), check_metadata=True)


def test_rows_stay_in_their_order(table):
    """Each partition keeps the order and no row is lost."""
    rows = rows_of([40 * DAY, 0, 41 * DAY, 1, 42 * DAY])
    parts = partitions(table.metadata, rows)
    assert [(value, part["on_hand"].to_pylist()) for value, part in parts] == [(0, [1, 3]), (1, [0, 2, 4])]


def test_rows_of_one_partition_are_not_copied(table):
    """Applies to a typical batch."""
    rows = rows_of([0, DAY])
    assert partitions(table.metadata, rows) == [(0, rows)]
    assert partitions(table.metadata, rows)[0][1] is rows


def test_the_last_second_of_a_day_before_1970_is_of_that_day(shop):
    """The writer of pyiceberg assigns it to the next day, where its own reader does not find it."""
    shop.client.ingest(DAILY, shop.stock((0, 1, 1)))
    last = datetime(1969, 6, 30, 23, 59, 59, 500_000, tzinfo=UTC)
    rows = shop.stock((0, 2, 1)).set_column(1, "event_time", pa.array([last], pa.timestamp("us", "UTC")))

    shop.client.ingest(DAILY, rows)

    table = shop.client.table("daily_stock_v1")
    found = table.scan(row_filter="event_time < '1969-07-01T00:00:00+00:00'").to_arrow()
    assert found["on_hand"].to_pylist() == [2]
    assert {file.file.partition[0] for file in table.scan().plan_files()} == {-185, 17167}


def test_a_table_that_was_given_other_partitions_takes_rows(shop, table):
    """Uses pyiceberg's writer."""
    with table.update_spec() as update:
        update.add_identity("store_id")
    assert partitions(shop.client.table("stock_v1").metadata, rows_of([0])) is None

    shop.client.ingest(shop.STOCK, shop.stock((1, 2, 2)))

    found = shop.client.table("stock_v1").scan().to_arrow()
    assert sorted(found["on_hand"].to_pylist()) == [1, 2]


def test_a_large_batch_becomes_files_of_the_size_that_the_table_names(table):
    """Applies to each partition."""
    with table.transaction() as transaction:
        transaction.set_properties({"write.target-file-size-bytes": "20000"})
    files = list(data_files(table.metadata, rows_of(list(range(2_000))), table.io, ingest_id=ID))
    assert len(files) > 5
    assert sum(file.record_count for file in files) == 2_000
