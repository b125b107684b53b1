"""The retail data: weeks, series, availability times, and no leakage of later data."""

import pyarrow.compute as pc
import pytest
from examples.retail.demand_forecasting import data
from examples.retail.demand_forecasting.features import DEMAND_HISTORY, GROUPS, INPUTS, WEEK_PLAN, WEEKLY_DEMAND
from examples.retail.transactions import week_end, week_start

from mlops_runtime.features.batch_checks import checked
from mlops_runtime.features.store_client import FeatureStoreClient


def test_series_and_weeks():
    """738 series have a row in each of the weeks 9 to 53."""
    table = data.rows(WEEKLY_DEMAND, 1, 60)
    assert table.num_rows == 738 * 45
    assert pc.min_max(table["week"]).as_py() == {"min": 9, "max": 53}
    assert pc.min(table["units"]).as_py() == 0


def test_history_ends_before_the_week():
    """The history of week 31 ends with week 30; the mean covers the eight weeks before."""
    before = {week: data.labels_for_week(week) for week in range(23, 31)}
    for row, *units in zip(data.requests_for_week(31), *before.values(), strict=True):
        assert row["units_lag_1"] == units[-1]
        assert row["units_lag_4"] == units[-4]
        assert row["units_mean_8"] == pytest.approx(sum(units) / 8)


def test_rows_become_known_in_time():
    """Demand is known at the end of its week, history at the end of the week before, the plan another week earlier."""
    close = {
        group.name: set(data.rows(group, 31, 31)["created_time"].to_pylist())
        for group in (WEEKLY_DEMAND, DEMAND_HISTORY, WEEK_PLAN)
    }
    assert close == {
        "weekly_demand": {week_end(31)},
        "demand_history": {week_end(30)},
        "week_plan": {week_end(29)},
    }


def test_requests_and_labels_are_in_one_order():
    """Request rows contain the model's inputs; labels are the units of the same series."""
    requests, labels = data.requests_for_week(40), data.labels_for_week(40)
    assert len(requests) == len(labels) == 738
    assert tuple(requests[0]) == INPUTS
    assert [row["units_lag_1"] for row in data.requests_for_week(41)] == labels
    assert 0 < data.naive_error(40) < 1
    with pytest.raises(ValueError, match="week must be from 9 to 53, got 54"):
        data.requests_for_week(54)


def test_weeks_ingested_one_by_one_are_the_weeks_ingested_at_once(tmp_path):
    """Both give the same rows; repeating it changes nothing."""
    clock = [week_start(13)]
    one, many = (FeatureStoreClient.local(tmp_path / name, now=lambda: clock[0]) for name in ("one", "many"))
    data.ingest_weeks(one, 1, 12)
    clock[0] = week_start(11)
    assert data.ingest_weeks(many, 1, 10) == 738 * (2 + 3 + 4)
    for week in (11, 12):
        clock[0] = week_end(week)  # the earliest time at which the week is known
        assert data.ingest_weeks(many, week, week) == 738 * 3
        assert data.ingest_weeks(many, week, week) == 0
    for group in GROUPS:
        names = [c.name for c in group.columns if c.name != "ingest_id"]
        key = [(name, "ascending") for name in (*group.entity_names, "event_time")]
        assert [*_rows(one, group, names, key)] == [*_rows(many, group, names, key)]


def _rows(client, group, names, key):
    return client.table(group.table_name).scan(selected_fields=tuple(names)).to_arrow().sort_by(key).to_pylist()


def test_the_year_keeps_every_constraint():
    """The real data violate no constraint of their groups, and every number has a bound."""
    for group in GROUPS:
        rows = data.rows(group, data.FIRST_WEEK, data.LAST_WEEK)
        assert checked(group, rows, week_end(54)).num_rows == rows.num_rows > 0
        free = [f.name for f in group.features if (f.minimum, f.allowed, f.pattern) == (None, None, None)]
        assert free == (["prediction_time"] if group is GROUPS[0] else [])
