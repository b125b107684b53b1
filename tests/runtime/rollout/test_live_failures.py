"""When the live model provably fails."""

import numpy as np
import pytest

from mlops_runtime.rollout.live_failures import is_broken
from mlops_runtime.rollout.live_history import Counts


@pytest.mark.parametrize(
    ("calls", "failed", "broken"),
    [(0, 0, False), (19, 19, False), (20, 20, True), (10_000, 1000, False), (10_000, 1200, True), (100, 20, False)],
)
def test_a_tenth_of_the_answers_must_fail_beyond_chance(calls: int, failed: int, broken: bool) -> None:
    """Few calls prove nothing."""
    assert is_broken(Counts(calls=calls, failed=failed)) is broken


def test_a_model_that_fails_a_tenth_is_called_broken_by_chance_alone() -> None:
    """At most one time in three hundred, at any number of calls."""
    random = np.random.default_rng(16)
    for calls in (200, 1000, 20_000):
        draws = random.binomial(calls, 0.1, 5000)
        assert sum(is_broken(Counts(calls=calls, failed=int(failed))) for failed in draws) <= 17
