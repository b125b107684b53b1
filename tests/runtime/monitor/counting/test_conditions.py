"""Strata: keys checked against Python's calendar and plain comparisons; unusable conditions are named."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import Condition
from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.counting.conditions import (
    ConditionError,
    RowKeys,
    check,
    check_clusters,
    combine,
    part,
    strata_of,
)

TYPES = {"price": "number", "store": "category"}
YEARS = np.arange("2015-01-01", "2017-01-05", dtype="datetime64[D]")


def keys_of(conditions: list[Condition], columns: dict[str, object], times: np.ndarray | None, rows: int) -> list[str]:
    """Return the key of each row."""
    codes, keys = combine([part(c, TYPES, columns, times, rows) for c in conditions], rows)  # type: ignore[arg-type]
    return [keys[code] for code in codes]


@given(st.lists(st.datetimes(datetime(1960, 1, 1), datetime(2060, 1, 1)), min_size=1, max_size=20))
def test_the_calendar_is_pythons(times: list[datetime]) -> None:
    """Hour, weekday, week of the month and ISO week agree with Python's calendar in UTC."""
    array = np.array(times, dtype="datetime64[s]")
    kinds = ("hour_of_day", "hour_of_week", "day_of_week", "week_of_month", "week_of_year")
    found = keys_of([Condition(name=kind, kind=kind) for kind in kinds], {}, array, len(times))  # type: ignore[arg-type]
    for key, at in zip(found, times, strict=True):
        day, week = at.strftime("%a"), (at.day - 1) // 7 + 1
        assert (
            key
            == f"{at.hour:02d}h|{day} {at.hour:02d}h|{day}|week {week}|week {at.replace(tzinfo=UTC).isocalendar().week:02d}"
        )


def test_columns_are_cut_or_taken_as_text() -> None:
    """Numbers are cut by edges or kept, text is kept; nulls and separators in values are escaped."""
    columns = {"price": [1.0, 5.0, 7.5, None], "store": ["a|b", "50%", None, "x"]}
    cut = Condition(name="price", edges=(5.0, 7.0))
    assert keys_of([cut], columns, None, 4) == ["below 5", "5 to 7", "7 or more", "null"]
    assert keys_of([Condition(name="price")], columns, None, 4) == ["1", "5", "7.5", "null"]
    assert keys_of([Condition(name="store")], columns, None, 4) == ["a%7Cb", "50%25", "null", "x"]
    assert keys_of([cut, Condition(name="store")], columns, None, 4)[0] == "below 5|a%7Cb"
    coded = {"store": Coded(np.array([1, -1]), ("a", "b"))}
    assert keys_of([Condition(name="store")], coded, None, 2) == ["b", "null"]


def test_what_is_no_text_is_not_null() -> None:
    """Rows with a boolean or an object belong to no stratum, not even to that of nulls."""
    columns = {"store": [True, {"a": 1}, None, "invalid", "%invalid"]}
    expected = ["%invalid", "%invalid", "null", "invalid", "%25invalid"]
    assert keys_of([Condition(name="store")], columns, None, 5) == expected


def test_rows_without_a_time_and_unknown_keys_are_of_no_stratum() -> None:
    """Rows without a time or with an unknown key get the index after the last stratum."""
    keys = RowKeys([Condition(name="day", kind="day_of_week")], TYPES, ["Mon", "Tue"])
    times = np.array(["2017-08-07", "2017-08-09", "NaT", "2017-08-08"], dtype="datetime64[s]")
    assert keys.need_times
    assert keys.find({}, times, 4).tolist() == [0, 2, 2, 1]
    assert keys.find({}, None, 2).tolist() == [2, 2]
    assert not RowKeys([Condition(name="price")], TYPES, []).need_times


def test_fails_for_conditions_that_cannot_be_used() -> None:
    """Rejects unusable conditions and reports all problems together."""
    wrong = [
        Condition(name="cost"),
        Condition(name="store", edges=(1.0,)),
        Condition(name="price", edges=(2.0, 1.0)),
        Condition(name="day", kind="day_of_week", edges=(1.0,)),
        Condition(name="day", kind="day_of_week"),
    ]
    with pytest.raises(ConditionError) as error:
        check(wrong, TYPES, None)
    for expected in (
        "condition 'day' is given twice; give it once",
        "condition 'cost' must be one of the model's columns, which are 'price', 'store'; or give it a kind",
        "condition 'store' is text and has edges (1.0,); leave them out",
        "condition 'price' must have finite edges that rise, got (2.0, 1.0)",
        "condition 'day' of kind 'day_of_week' has edges (1.0,); leave them out",
        "condition 'day' of kind 'day_of_week' needs the rows' times; name their column as timestamp",
    ):
        assert expected in str(error.value)


def test_the_week_of_the_year_needs_two_seasons() -> None:
    """Rejects the week of the year below two years of data, where season and one-off events are indistinguishable."""
    week = [Condition(name="week", kind="week_of_year")]
    with pytest.raises(ConditionError, match=r"needs two seasons, 728 days, got 727; use 'week_of_month'"):
        check(week, TYPES, YEARS[:728])
    check(week, TYPES, YEARS[:729])


@pytest.mark.parametrize(
    ("kind", "days", "fix"), [("hour_of_day", 14, "leave it out"), ("hour_of_week", 28, "use 'hour_of_day'")]
)
def test_hours_need_days_enough(kind: Any, days: int, fix: str) -> None:
    """Rejects hours that occur on too few days."""
    hours = np.datetime64("2017-08-01", "s") + np.arange(24 * days) * np.timedelta64(1, "h")
    condition = [Condition(name="hour", kind=kind)]
    with pytest.raises(ConditionError, match=rf"kind '{kind}' needs rows of {days} days, got {days - 1}; {fix}"):
        check(condition, TYPES, hours[:-24])
    check(condition, TYPES, hours)


def test_strata_of_hours_need_clusters_enough() -> None:
    """Rejects strata of hours with too few clusters, naming both numbers; other conditions are exempt."""
    strata = np.arange(24 * 3) % 24
    by_hour = [Condition(name="hour", kind="hour_of_day")]
    check_clusters(by_hour, np.arange(24 * 3), strata)
    check_clusters([Condition(name="store")], np.arange(24), strata[:24])
    with pytest.raises(ConditionError, match=r"got 24 clusters in 24 strata, which leave 0; train on more of them"):
        check_clusters(by_hour, np.arange(24), strata[:24])
    with pytest.raises(ConditionError, match=r"got 3 clusters in 24 strata, which leave 2;"):
        check_clusters(by_hour, np.arange(24 * 3) // 24, strata)


def test_fails_for_too_many_strata() -> None:
    """Rejects too many strata and names the condition that causes most of them."""
    columns = {"price": np.arange(500.0)}
    conditions = [Condition(name="day", kind="day_of_week"), Condition(name="price")]
    with pytest.raises(
        ConditionError, match=r"may make 400 strata, got 500: condition 'price' has 500 values; give it fewer edges"
    ):
        strata_of(conditions, TYPES, columns, YEARS[:500], 500)
    hours = np.arange("2017-01-02", "2017-02-01", dtype="datetime64[h]")
    by_hour = [Condition(name="hour", kind="hour_of_week"), Condition(name="week", kind="week_of_month")]
    with pytest.raises(ConditionError, match=r"condition 'hour' has 168 values; use day_of_week"):
        strata_of(by_hour, TYPES, {}, hours, len(hours))
    assert len(strata_of(by_hour[:1], TYPES, {}, hours, len(hours))) == 168
