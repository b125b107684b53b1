"""A tenth of the table of hours: what moves in all, one or half of them is found given the hour, and quiet windows are quiet."""

import pytest
from benchmarks.monitor.hours import CASES, Case, measured


@pytest.mark.parametrize(
    ("case", "shifts"),
    [
        (CASES[0], ("all +0.3 sd", "one hour +1.5 sd", "half +0.5, half -0.5 sd")),
        (CASES[3], ("all +0.3 sd", "half +0.5, half -0.5 sd")),
    ],
)
def test_hours_that_move_are_found(case: Case, shifts: tuple[str, ...]) -> None:
    """Windows of 5,000 rows: of 24 hours any one, of 168 with 30 rows each what moves more than one of them."""
    found = measured(case, 3, 4)
    assert found["quiet"] == 0
    assert {shift: found[shift] for shift in shifts} == dict.fromkeys(shifts, 4)
