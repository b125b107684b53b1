"""What a test that knows the shift finds: at least what ours does, and below the goal where `docs/benchmarks.md` says so."""

import pytest
from benchmarks.monitor.campaign import fit
from benchmarks.monitor.power import BASELINE_ROWS
from benchmarks.monitor.power_bounds import BOUNDED, HOUR, bounded, hour_bounds
from benchmarks.monitor.windows import PAIRS, independent


@pytest.mark.parametrize("shift", BOUNDED)
def test_ours_finds_no_more_than_a_test_that_knows_the_share(shift: str) -> None:
    """Of the same windows: its p-value is ours of that share without what other rules and cells cost."""
    found = bounded(fit(independent(BASELINE_ROWS, 611_953), pairs=PAIRS), shift, 0, 6)
    assert 0 < found["ours"] <= found["bound"] <= 6


def test_an_hour_that_is_not_known_costs_power() -> None:
    """The bound of all hours is below that of the one, and both rise with the shift."""
    known, tried = hour_bounds(HOUR, 1.5, 0.01 / 30)
    assert hour_bounds(HOUR, 1.0, 0.01 / 30) < (known, tried)
    assert 0.95 < tried < known < 1
