"""The choice of an engine at its limits."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from mlops_runtime.features.engine_choice import (
    ENTITY_BYTES,
    ROW_BYTES,
    EngineError,
    Planned,
    choose,
    planned,
)
from mlops_runtime.features.source import scan_tasks

MEMORY = 1_000_000 * ROW_BYTES + 1_000 * ENTITY_BYTES


def table(rows: int, size: int = 1_000, name: str = "stock_v1") -> Planned:
    """Return a table with the given rows and bytes."""
    return Planned(table=name, rows=rows, bytes=size)


@pytest.mark.parametrize(
    ("tables", "entities", "engine"),
    [
        ([table(1_000_000)], 1_000, "duckdb"),
        ([table(1_000_001)], 1_000, "spark"),
        ([table(1_000_000)], 1_001, "spark"),
        # tables are read one at a time: two that fit singly are allowed
        ([table(1_000_000), table(1_000_000)], 1_000, "duckdb"),
        ([table(1_000_001, 1)], 1_000, "spark"),
        ([table(1, 1 << 50)], 1_000, "duckdb"),
        ([], 0, "duckdb"),
    ],
)
def test_sizes_decide(tables, entities, engine):
    """Required memory alone decides, not the bytes to read."""
    found = choose(tables, entities, memory=MEMORY)
    assert found.engine == engine
    assert found.rows == sum(t.rows for t in tables)


def test_the_reason_has_the_numbers():
    """Contains the bytes to read and the required memory."""
    found = choose([table(2_000_000, 3 << 30)], 1_000, memory=MEMORY)
    assert found.reason == (
        "248 MiB of memory for 1000 entity rows and 2000000 rows of stock_v1 do not fit into 124 MiB; 3.00 GiB to read"
    )


def test_a_forced_engine_is_taken_and_the_sizes_are_told():
    """Reports the sizes, so that the user sees the consequences."""
    found = choose([table(2_000_000, 3 << 30)], 1_000, memory=MEMORY, forced="duckdb")
    assert (found.engine, found.memory) == ("duckdb", 2_000_000 * ROW_BYTES + 1_000 * ENTITY_BYTES)
    assert "engine='duckdb' was requested for any size: 248 MiB" in found.reason


def test_small_sizes_are_no_zeros():
    """Sizes below a MiB are written as such."""
    found = choose([table(10)], 1, forced="spark")
    assert found.reason == (
        "engine='spark' was requested for any size: less than 1 MiB of memory for 1 entity rows and 10 rows of "
        "stock_v1, less than 1 MiB to read"
    )


def test_fails_with_every_problem():
    """Reports an unknown engine and missing memory together."""
    with pytest.raises(EngineError) as error:
        choose([], 0, memory=0, forced="presto")
    assert str(error.value) == (
        "engine must be one of duckdb, athena, spark, got 'presto'; memory must be a positive number of bytes, got 0"
    )


def test_a_scan_is_measured_by_metadata_and_filter(tmp_path):
    """Files excluded by the filter are not counted."""
    catalog = SqlCatalog("local", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri())
    catalog.create_namespace("features")
    days = [datetime(2017, 1, day, tzinfo=UTC) for day in (1, 2)]
    rows = pa.table({"event_time": pa.array(days[:1], pa.timestamp("us", "UTC"))})
    found = catalog.create_table("features.stock", rows.schema)
    found.append(pa.concat_tables([rows, rows]))
    found.append(pa.table({"event_time": pa.array(days[1:], pa.timestamp("us", "UTC"))}))
    whole = planned("stock", scan_tasks(found.scan()))
    late = planned("stock", scan_tasks(found.scan(row_filter="event_time >= '2017-01-02T00:00:00+00:00'")))
    assert (whole.rows, late.rows) == (3, 1)
    sizes = [path.stat().st_size for path in tmp_path.glob("**/*.parquet")]
    assert whole.bytes == sum(sizes)
    assert late.bytes in sizes
