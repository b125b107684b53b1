"""A tenth of the hours benchmark: shifts of all, one or half of the hours are found given the hour; others are quiet."""

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
    """Windows of 5,000 rows: any single hour of 24; of 168 hours with 30 rows each only shifts of more than one hour."""
    found = measured(case, 3, 4)
    assert found["quiet"] == 0
    assert {shift: found[shift] for shift in shifts} == dict.fromkeys(shifts, 4)
