"""The newest values, looked up by key or all of them."""

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from pyiceberg.types import DoubleType

from mlops_runtime.features.batch import BatchError
from mlops_runtime.features.group import Feature
from mlops_runtime.features.planner import PlanError


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


def test_a_feature_newer_than_the_newest_batch_is_null(filled):
    """A deployment adds the column before anybody fills it."""
    with filled.client.table("stock_v1").update_schema() as update:
        update.add_column("price", DoubleType())
    price = Feature("price", "double", "dollars", nullable=True)
    group = replace(filled.STOCK, features=(*filled.STOCK.features, price))

    filled.set_day(9.5)
    row = filled.client.latest(group).to_pylist()[0]
    assert (row["on_hand"], row["price"]) == (90, None)


def test_fails_without_a_key(filled):
    """By name."""
    with pytest.raises(PlanError, match="entity rows have no column 'store_id', which is a key of stock"):
        filled.client.latest(filled.STOCK, pa.table({"shop": ["1"]}))


def test_the_time_to_live_is_the_tables(filled):
    """As for training sets: a declaration that is ahead of what is deployed changes neither."""
    for ttl, bound in ((None, "inclusive"), (timedelta(hours=1), "inclusive"), (timedelta(days=2), "exclusive")):
        group = replace(filled.STOCK, ttl=ttl, ttl_bound=bound)
        for now in (11, 11.1):
            filled.set_day(now)
            built = filled.client.training_set(filled.asked((now, "1")), {"stock": ["on_hand"]}, name="s")
            found = filled.client.latest(group, pa.table({"store_id": ["1"]}))
            assert (
                found["on_hand"].to_pylist() == built.rows["stock__on_hand"].to_pylist() == [90 if now == 11 else None]
            )
