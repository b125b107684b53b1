"""Prices and units from real transactions: availability times, and no leakage of later data."""

import pyarrow.compute as pc
import pytest
from examples.retail.dynamic_pricing import data
from examples.retail.dynamic_pricing.features import (
    GROUP_SALES,
    GROUPS,
    INPUTS,
    PRICE_HISTORY,
    PRICE_PLAN,
    SALES_HISTORY,
    SEGMENT,
)
from examples.retail.transactions import connect, week_end, week_start

from mlops_runtime.features.batch_checks import checked
from mlops_runtime.features.store_client import FeatureStoreClient


def test_series_and_weeks():
    """409 series of 35 product groups have a row in each of the weeks 10 to 53; a third of them are promotion weeks."""
    table = data.rows(GROUP_SALES, 1, 60)
    assert table.num_rows == 409 * 44
    assert len(set(table["product_group"].to_pylist())) == 35
    assert pc.min_max(table["week"]).as_py() == {"min": 10, "max": 53}
    assert 0.25 < pc.mean(data._week_table()[SEGMENT]).as_py() < 0.35


def test_history_ends_before_the_week():
    """The history of week 31 ends with week 30; the usual price is the mean of the eight list prices before."""
    before = {week: data.labels_for_week(week) for week in range(23, 31)}
    for row, *units in zip(data.requests_for_week(31), *before.values(), strict=True):
        assert row["units_lag_1"] == units[-1]
        assert row["units_mean_4"] == pytest.approx(sum(units[-4:]) / 4)
        assert row["units_mean_8"] == pytest.approx(sum(units) / 8)
    lists = {}
    for week in range(23, 32):
        for row in data.requests_for_week(week):
            lists.setdefault(row["product_group"], {})[week] = row
    for weeks in lists.values():
        prices = [weeks[week]["planned_price"] for week in range(23, 31)]
        assert weeks[31]["usual_price"] == pytest.approx(sum(prices) / 8, abs=2e-4)
        assert weeks[31]["last_price_ratio"] == pytest.approx(prices[-1] / weeks[31]["usual_price"], abs=2e-3)


def test_nothing_of_the_future_is_in_the_history(monkeypatch: pytest.MonkeyPatch):
    """Changing week 31 and removing all later weeks leaves the history of week 31 unchanged in every series."""

    def connect_to_another_week_31():
        connection = connect()
        connection.execute(
            "create table past as select * replace (if(week = 31, 5, 1) * sales_value as sales_value,"
            " if(week = 31, 2, 1) * quantity as quantity) from transactions where week <= 31"
        )
        connection.execute("create or replace view transactions as select * from past")
        return connection

    def history(table):
        names = (*SALES_HISTORY.feature_names, *PRICE_HISTORY.feature_names)
        rows = table.filter(pc.field("week") == 31).to_pylist()
        return {(row["store_id"], row["product_group"]): {name: row[name] for name in names} for row in rows}

    monkeypatch.setattr(data, "connect", connect_to_another_week_31)
    then, now = history(data._week_table.__wrapped__()), history(data._week_table())
    common = then.keys() & now.keys()
    assert len(common) > 100
    assert {key: then[key] for key in common} == {key: now[key] for key in common}


def test_rows_become_known_in_time():
    """Sales are known at the end of their week, history and plan at the end of the week before."""
    close = {
        group.name: set(data.rows(group, 31, 31)["created_time"].to_pylist())
        for group in (GROUP_SALES, SALES_HISTORY, PRICE_PLAN)
    }
    assert close == {
        "group_sales": {week_end(31)},
        "sales_history": {week_end(30)},
        "price_plan": {week_end(30)},
    }


def test_requests_and_labels_are_in_one_order():
    """Request rows contain the model's inputs; labels are the units of the same series."""
    requests, labels = data.requests_for_week(40), data.labels_for_week(40)
    assert len(requests) == len(labels) == 409
    assert tuple(requests[0]) == INPUTS
    assert SEGMENT not in INPUTS
    assert [row["units_lag_1"] for row in data.requests_for_week(41)] == labels
    with pytest.raises(ValueError, match="week must be from 10 to 53, got 54"):
        data.requests_for_week(54)


def test_weeks_ingested_one_by_one_are_the_weeks_ingested_at_once(tmp_path):
    """Both give the same rows; repeating it changes nothing."""
    clock = [week_start(14)]
    one, many = (FeatureStoreClient.local(tmp_path / name, now=lambda: clock[0]) for name in ("one", "many"))
    data.ingest_weeks(one, 1, 13)
    clock[0] = week_start(12)
    data.ingest_weeks(many, 1, 11)
    for week in (12, 13):
        clock[0] = week_end(week)  # the earliest time at which the week is known
        assert data.ingest_weeks(many, week, week) == 409 * 3 + 35 * 2
        assert data.ingest_weeks(many, week, week) == 0
    for group in GROUPS:
        names = [c.name for c in group.columns if c.name != "ingest_id"]
        key = [(name, "ascending") for name in (*group.entity_names, "event_time")]
        scans = [c.table(group.table_name).scan(selected_fields=tuple(names)).to_arrow() for c in (one, many)]
        assert scans[0].sort_by(key).to_pylist() == scans[1].sort_by(key).to_pylist()


def test_the_year_keeps_every_constraint():
    """The real data violate no constraint of their groups, and every number has a bound."""
    for group in GROUPS:
        rows = data.rows(group, data.FIRST_WEEK, data.LAST_WEEK)
        assert checked(group, rows, week_end(54)).num_rows == rows.num_rows > 0
        free = [f.name for f in group.features if (f.minimum, f.allowed, f.pattern) == (None, None, None)]
        assert free == (["prediction_time"] if group is GROUPS[0] else [])
