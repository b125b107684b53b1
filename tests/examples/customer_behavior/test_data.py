"""Purchases from real transactions: availability times, and no leakage of later data."""

from datetime import datetime

import pyarrow.compute as pc
import pytest
from examples.retail.customer_behavior import data
from examples.retail.customer_behavior.features import (
    CATEGORY_HISTORY,
    CATEGORY_PURCHASES,
    CATEGORY_TREND,
    DEMOGRAPHICS,
    GROUPS,
    INPUTS,
)
from examples.retail.transactions import connect, week_end, week_start

from mlops_runtime.features.batch_checks import checked
from mlops_runtime.features.store_client import FeatureStoreClient


def test_households_and_fortnights():
    """307 households; each fortnight has those with recent visits, in ten categories."""
    table = data.rows(CATEGORY_PURCHASES, 1, 60)
    assert len(set(table["household_id"].to_pylist())) == 307
    assert sorted(set(table["fortnight"].to_pylist())) == list(range(9, 53, 2))
    assert data.pairs_of(27).num_rows % len(data.CATEGORIES) == 0
    assert set(table["bought"].to_pylist()) == {0, 1}
    assert 0.2 < pc.mean(table["bought"]).as_py() < 0.3


def test_a_row_is_what_the_transactions_say():
    """Label, recency, frequency and spend of one household and category match a count over the transactions."""
    row = next(
        r for r in data.pairs_of(31).to_pylist() if r["category"] == "CHEESE" and r["purchases_8"] > 2 and r["bought"]
    )
    with connect() as connection:
        lines = connection.execute(
            "select week, basket_id, transaction_timestamp, sales_value from transactions join products using (product_id)"
            " where household_id = ? and product_category = 'CHEESE' and quantity > 0",
            [int(row["household_id"])],
        ).fetchall()
    before = [line for line in lines if 23 <= line[0] <= 30]
    last = max(time for _, _, time, _ in before)
    closed = datetime(2017, 7, 24, 5)
    assert row["purchases_8"] == len({basket for _, basket, _, _ in before})
    assert row["purchases_4"] == len({basket for week, basket, _, _ in before if week >= 27})
    assert row["spend_8"] == pytest.approx(sum(paid for _, _, _, paid in before))
    assert row["days_since_purchase"] == (closed.date() - last.date()).days
    assert any(week in (31, 32) for week, *_ in lines)


def test_rates_are_smoothed_towards_the_category():
    """Rates are never 0 or 1: two fortnights at the category's rate are added to a household's four."""
    for row in data.pairs_of(31).to_pylist():
        times = row["own_rate"] * 6 - 2 * row["category_rate"]
        assert times == pytest.approx(round(times), abs=1e-4)
        assert 0 < row["own_rate"] < 1


def test_nothing_of_the_future_is_known(monkeypatch: pytest.MonkeyPatch):
    """Removing the transactions from week 31 on leaves the requests of week 31 unchanged."""

    def connect_to_the_past():
        connection = connect()
        connection.execute("create table past as select * from transactions where week < 31")
        connection.execute("create or replace view transactions as select * from past")
        return connection

    monkeypatch.setattr(data, "connect", connect_to_the_past)
    then = data._fortnight_table.__wrapped__().filter(pc.field("fortnight") == 31)
    assert then.select(list(INPUTS)).to_pylist() == data.requests_for_fortnight(31)
    assert pc.sum(then["bought"]).as_py() == 0


def test_rows_become_known_in_time():
    """Purchases are known at the end of the second week, history at the end of the week before the first."""
    close = {
        group.name: set(data.rows(group, 31, 31)["created_time"].to_pylist())
        for group in (CATEGORY_PURCHASES, CATEGORY_HISTORY, CATEGORY_TREND, DEMOGRAPHICS)
    }
    assert close == {
        "category_purchases": {week_end(32)},
        "category_history": {week_end(30)},
        "category_trend": {week_end(30)},
        "demographics": {week_end(1)},
    }
    assert set(data.rows(CATEGORY_PURCHASES, 31, 31)["prediction_time"].to_pylist()) == {week_start(31)}


def test_requests_and_labels_are_in_one_order():
    """Request rows contain the model's inputs; fortnights start in odd weeks."""
    requests, labels = data.requests_for_fortnight(41), data.labels_for_fortnight(41)
    assert len(requests) == len(labels) == data.pairs_of(41).num_rows
    assert tuple(requests[0]) == INPUTS
    with pytest.raises(ValueError, match="fortnight must be an odd week from 9 to 51, got 30"):
        data.requests_for_fortnight(30)


def test_fortnights_ingested_one_by_one_are_those_ingested_at_once(tmp_path):
    """Both give the same rows; repeating it changes nothing."""
    clock = [week_start(15)]
    one, many = (FeatureStoreClient.local(tmp_path / name, now=lambda: clock[0]) for name in ("one", "many"))
    data.ingest_fortnights(one, 1, 13)
    clock[0] = week_start(11)
    data.ingest_fortnights(many, 1, 9)
    for fortnight in (11, 13):
        clock[0] = week_end(fortnight + 1)  # the earliest time at which the fortnight is known
        assert data.ingest_fortnights(many, fortnight, fortnight) > 0
        assert data.ingest_fortnights(many, fortnight, fortnight) == 0
    for group in GROUPS:
        names = [c.name for c in group.columns if c.name != "ingest_id"]
        key = [(name, "ascending") for name in (*group.entity_names, "event_time")]
        scans = [c.table(group.table_name).scan(selected_fields=tuple(names)).to_arrow() for c in (one, many)]
        assert scans[0].sort_by(key).to_pylist() == scans[1].sort_by(key).to_pylist()


def test_the_year_keeps_every_constraint():
    """The real data violate no constraint of their groups, and every number has a bound."""
    for group in GROUPS:
        rows = data.rows(group, data.FIRST_FORTNIGHT, data.LAST_FORTNIGHT)
        assert checked(group, rows, week_end(54)).num_rows == rows.num_rows > 0
        free = [f.name for f in group.features if (f.minimum, f.allowed, f.pattern) == (None, None, None)]
        assert free == (["prediction_time"] if group is GROUPS[0] else [])
