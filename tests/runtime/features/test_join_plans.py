"""The choice of a join plan."""

import pytest

from mlops_runtime.features.join_plans import Shape, Statistics, choose

DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("entities", "rows", "keys", "ttl", "plan", "met"),
    [
        (100_000, 1_000_000, 100_000, None, "fan_out", 5),
        (100_000, 1_000_000, 45_455, None, "fan_out", 11),
        (100_000, 1_000_000, 45_000, None, "frontier", 11.1),
        (1_000_000, 10_000_000, 100_000, None, "frontier", 50),
        (1_000_000, 10_000_000, 100_000, 9 * DAY, "fan_out", 10),
        (1_000_000, 10_000_000, 100_000, 900 * DAY, "frontier", 50),
        # few entity rows may be joined with a long history
        (1_000, 1_000_000, 1_000, None, "fan_out", 500),
        (0, 0, 0, None, "fan_out", 0),
    ],
)
def test_the_plan_goes_by_the_pairs_that_would_meet(entities, rows, keys, ttl, plan, met):
    """Never more pairs than rows; a short lifetime makes a long history cheap to join."""
    found = choose(
        Statistics(entity_rows=entities, rows=rows, keys=keys, span=90 * DAY), Shape(keys=1, values=1, ttl=ttl)
    )
    assert (found.plan, found.rows_a_key) == (plan, pytest.approx(met, rel=0.01))
    assert found.pairs == pytest.approx(entities * met, rel=0.01)
    assert f"fan_out up to {entities + rows}" in found.reason


def test_rows_of_one_moment_have_no_span():
    """Covers a table of one snapshot of all keys."""
    found = choose(Statistics(entity_rows=9, rows=50, keys=50, span=0), Shape(keys=1, values=1, ttl=0))
    assert (found.plan, found.rows_a_key) == ("fan_out", 0.5)
