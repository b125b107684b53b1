"""Which plan is chosen."""

import pytest

from mlops_runtime.features.plans import FAN_OUT_ROWS, Shape, Statistics, choose

DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("rows", "keys", "ttl", "plan", "estimate"),
    [
        (1_000_000, 100_000, None, "fan_out", 10),
        (10_000_000, 100_000, None, "frontier", 100),
        (10_000_000, 100_000, 9 * DAY, "fan_out", 10),
        (10_000_000, 100_000, 900 * DAY, "frontier", 100),
        (0, 0, None, "fan_out", 0),
    ],
)
def test_the_plan_goes_by_rows_a_key_inside_the_time_to_live(rows, keys, ttl, plan, estimate):
    """A short life makes a long history cheap to meet."""
    found = choose(Statistics(rows=rows, keys=keys, span=90 * DAY), Shape(keys=1, values=1, ttl=ttl))
    assert (found.plan, found.rows_a_key) == (plan, pytest.approx(estimate))
    assert f"fan_out up to {FAN_OUT_ROWS:.0f}" in found.reason


def test_rows_of_one_moment_have_no_span():
    """A table of one snapshot of all keys."""
    found = choose(Statistics(rows=50, keys=50, span=0), Shape(keys=1, values=1, ttl=0))
    assert found.rows_a_key == 1
