"""A slice of the retail year."""

import pytest
from benchmarks.monitor.windows import Rows, retail

from benchmarks.monitor import retail_year


@pytest.fixture(scope="module")
def rows() -> Rows:
    """A quarter of the households, the whole year."""
    return retail(4)


def test_prices_in_cents_are_named_in_their_first_window(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two days of November, given the conditions; with a quarter of the households these have too few baskets a day."""
    days = retail_year.windows(rows, "day")[:2]
    monkeypatch.setattr(retail_year, "windows", lambda *_: days)
    found = retail_year.unit_error(rows, "day", given=True, share=1.0)
    assert found["windows"] == 2
    assert found["found"]["sales_value"] == found["found"]["unit_price"] == 2


def test_a_baseline_sees_nothing_later_than_week_43(rows: Rows) -> None:
    """It has the rows of weeks 9 to 43; a year that lacks some of them is rejected."""
    expected = int(((rows.week >= 9) & (rows.week <= 43)).sum())
    late = rows.take(rows.week >= 40)
    with pytest.raises(AssertionError):
        retail_year.baseline_of(late, "day")
    assert retail_year.baseline_of(rows, "week").rows == expected
