"""Formatting of numbers in sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.wording import change, number, percent


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, "0 %"),
        (0.00012, "0.01 %"),
        (0.0012, "0.1 %"),
        (0.099, "9.9 %"),
        (0.0999, "10 %"),
        (1, "100 %"),
        (12.5, "1250 %"),
    ],
)
def test_percent(share: float, expected: str) -> None:
    """Two significant digits below 10 %, one below 0.1 %, whole percents above."""
    assert percent(share) == expected


@given(st.floats(-1e12, 1e12))
def test_numbers_are_read_back_to_three_digits(value: float) -> None:
    """Parsed values differ only beyond three digits."""
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.006)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (4.1, 4.59, "rose 12 %, from 4.1 to 4.59"),
        (0.0, 0.3, "rose from 0 to 0.3"),
        (2.0, -1.0, "fell from 2 to -1"),
        (3, 300, "rose 9900 %, from 3 to 300"),
    ],
)
def test_a_change_is_relative_where_that_says_something(before: float, after: float, expected: str) -> None:
    """Relative changes are used only between positive numbers."""
    assert change(before, after) == expected
