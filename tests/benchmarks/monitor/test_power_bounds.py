"""Power of a test that knows the shift: at least ours, and below the goal where `docs/benchmarks.md` says so."""

import numpy as np
import pytest
from benchmarks.monitor.campaign import SPEC, fit
from benchmarks.monitor.hours import OF_AN_HOUR
from benchmarks.monitor.power import BASELINE_ROWS
from benchmarks.monitor.power_bounds import BOUNDED, HOUR, MOVED, bounded, critical, error_of, freedom_of, hour_bounds
from benchmarks.monitor.windows import PAIRS, independent

# of one feature of thirty
LEVEL = SPEC.significance / 30


@pytest.mark.parametrize("shift", BOUNDED)
def test_ours_finds_no_more_than_a_test_that_knows_the_share(shift: str) -> None:
    """On the same windows: its p-value is ours of that share, without the cost of other rules and cells."""
    found = bounded(fit(independent(BASELINE_ROWS, 611_953), pairs=PAIRS), shift, 0, 6)
    assert 0 < found["ours"] <= found["bound"] <= 6


def test_an_hour_that_is_not_known_costs_power() -> None:
    """Each test that knows less has less power, and one that learns the hour's deviation less than the goal."""
    found = hour_bounds(HOUR, MOVED, LEVEL)
    assert found.halved < found.learned < 0.95 < found.tried < found.known < 1
    # the test that assumes equal deviations reaches the goal with two thirds of the significance or more
    assert hour_bounds(HOUR, MOVED, 0.65 * LEVEL).tried < 0.95 < hour_bounds(HOUR, MOVED, 0.68 * LEVEL).tried
    smaller = hour_bounds(HOUR, 1.0, LEVEL)
    assert (smaller.known, smaller.learned) < (found.known, found.learned)


def test_the_bound_of_an_hour_is_what_its_test_finds() -> None:
    """Student's t of drawn hours exceeds its critical value as often as the bound says, and at the margin as rarely."""
    random, windows = np.random.default_rng(5), 20_000
    times, rows = HOUR.times, HOUR.rows

    def statistics(moved: float) -> np.ndarray:
        """Student's t of samples with a known design effect: squares within and between clusters by their weight."""
        values = random.normal(size=(windows, times + 1, rows)) + random.normal(0, OF_AN_HOUR, (windows, times + 1, 1))
        values[:, -1] += moved
        means = values.mean(axis=2)
        before, after = means[:, :-1].mean(axis=1), means[:, -1]
        effect = 1 + rows * OF_AN_HOUR**2
        squares = ((values - means[..., None]) ** 2).sum(axis=(1, 2))
        squares += rows / effect * ((means[:, :-1] - before[:, None]) ** 2).sum(axis=1)
        deviation = np.sqrt(squares / freedom_of(HOUR))
        return (after - before) / (deviation * error_of(HOUR))

    level = 1 - (1 - LEVEL) ** (1 / HOUR.hours)
    assert (statistics(MOVED) > critical(HOUR, level)).mean() == pytest.approx(
        hour_bounds(HOUR, MOVED, LEVEL).learned, abs=0.006
    )
    assert (statistics(SPEC.minimum_effect**0.5) > critical(HOUR, 0.01)).mean() == pytest.approx(0.01, abs=0.0025)
