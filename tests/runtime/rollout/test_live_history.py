"""Statistics of the live fleet's minutes."""

import numpy as np
import pytest

from mlops_runtime.rollout.live_history import Counts, own_noise, total, usual_share

HOURS = 240


def history(shares: np.ndarray, calls: int, seed: int = 7) -> list[Counts]:
    """Return minutes of a fleet that fails by chance at each of the shares."""
    failed = np.random.default_rng(seed).binomial(calls, np.clip(shares, 0, 1))
    return [Counts(calls=calls, failed=int(each)) for each in failed]


def test_counts_are_added() -> None:
    """The sum of nothing has no calls."""
    assert total([]) == Counts()
    assert total([Counts(calls=10, failed=1), Counts(calls=5)]) == Counts(calls=15, failed=1)
    assert (Counts().share, Counts(calls=4, failed=1).share) == (0.0, 0.25)


def test_chance_is_no_noise() -> None:
    """Binomial failures alone show none at any volume."""
    for calls in (60, 6_000, 1_000_000):
        assert own_noise(history(np.full(HOURS, 0.01), calls)) < 0.001


def test_noise_of_a_fifth_is_found() -> None:
    """A share that varies by 20 % between minutes gives a c² of about 0.04, less its own uncertainty."""
    wandering = 0.05 * np.random.default_rng(1).gamma(25, 1 / 25, HOURS)
    assert 0.01 < own_noise(history(wandering, 100_000)) < 0.06


def test_a_slow_change_is_no_noise() -> None:
    """A share that rises over hours is compared with neighbouring minutes."""
    assert own_noise(history(np.linspace(0.01, 0.05, HOURS), 100_000)) < 0.001


def test_bursts_cannot_blind_the_rule() -> None:
    """At most 0.1 is used for any history."""
    bursts = np.where(np.arange(HOURS) % 3 == 0, 0.5, 0.001)
    assert own_noise(history(bursts, 100_000)) == pytest.approx(0.1)


def test_less_than_an_hour_says_nothing_of_noise() -> None:
    """Nor does a fleet without failures."""
    assert own_noise(history(np.tile([0.0, 0.1], 29), 10_000)) == 0.0
    assert own_noise([Counts(calls=1000)] * HOURS) == 0.0


def test_the_usual_share_forgets_the_wildest_windows() -> None:
    """One window of an outage is not usual."""
    minutes = [Counts(calls=1000, failed=10)] * 235 + [Counts(calls=1000, failed=900)] * 5
    assert usual_share(minutes) == pytest.approx((2350 + 4500 + 3) / 240_000)


def test_a_high_hour_is_usual() -> None:
    """A tenth of the time exceeds the 5 % that are excluded."""
    minutes = [Counts(calls=1000, failed=10)] * 216 + [Counts(calls=1000, failed=200)] * 24
    assert usual_share(minutes) == pytest.approx(0.2)


def test_few_calls_exclude_little() -> None:
    """Sixty calls without a failure leave 5 %; no calls leave everything."""
    assert usual_share([Counts(calls=1)] * 60) == pytest.approx(0.05)
    assert usual_share([Counts(calls=1, failed=1)]) == 1.0
    assert usual_share([Counts()] * HOURS) is None
