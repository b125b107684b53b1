"""The newest values, looked up by key or all of them."""

import pyarrow as pa
import pytest

from mlops_runtime.features.batch import BatchError


def test_keys_are_answered_in_their_order(filled):
    """With nulls where there is no row."""
    filled.set_day(9.5)
    found = filled.client.latest(filled.STOCK, pa.table({"store_id": ["2", "1", "2"]}))

    assert found.column_names == ["store_id", "event_time", "created_time", "ingest_id", "on_hand"]
    assert found["store_id"].to_pylist() == ["2", "1", "2"]
    assert found["on_hand"].to_pylist() == [None, 90, None]


def test_what_is_not_visible_yet_does_not_count(shop):
    """A row counts from the later of its two times."""
    shop.client.ingest(shop.STOCK, shop.stock((2, 1, 1), (5, 2, 3)))
    shop.set_day(4)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [1]
    shop.set_day(5)
    assert shop.client.latest(shop.STOCK)["on_hand"].to_pylist() == [2]


def test_a_table_without_rows_answers_nothing(shop):
    """Or nulls for the keys that are asked for."""
    shop.client._tables.writable(shop.STOCK)

    assert shop.client.latest(shop.STOCK).num_rows == 0
    assert shop.client.latest(shop.STOCK, pa.table({"store_id": ["1"]}))["on_hand"].to_pylist() == [None]


def test_fails_for_what_is_no_frame(filled):
    """As an ingest does."""
    with pytest.raises(BatchError, match="a pyarrow table, pandas or polars frame is needed"):
        filled.client.latest(filled.STOCK, {"store_id": ["1"]})
