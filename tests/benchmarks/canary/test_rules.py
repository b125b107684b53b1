"""The benchmark's rules are those of the library, over many traces at once."""

import numpy as np
import pytest
from benchmarks.canary.rules import RULE, THETAS, evidence, noises, rules
from benchmarks.canary.traces import FAMILIES, HISTORY, traces

from mlops_runtime.rollout import fleet_comparison
from mlops_runtime.rollout.fleet_comparison import Minute, compare
from mlops_runtime.rollout.live_history import Counts


@pytest.mark.parametrize(("family", "volume"), [(family, 600) for family in FAMILIES] + [("plain", 3), ("diurnal", 10)])
def test_the_evidence_is_that_of_the_library(family: str, volume: int) -> None:
    """Minute by minute, with the noise of each history, and rare calls joined until both fleets were asked."""
    assert tuple(THETAS) == fleet_comparison._THETAS
    found = traces(
        np.random.default_rng(1), family, volume=volume, share=0.1, old=0.01, new=0.03 if volume == 600 else 0.9, size=3
    )
    ours = evidence(found, noises(found))
    for row in range(3):
        minutes = [
            Minute(new=Counts(calls=n, failed=x), old=Counts(calls=m, failed=y))
            for x, n, y, m in zip(*(v[row].tolist() for v in (found.x, found.n, found.y, found.m)), strict=True)
        ]
        history = [
            Counts(calls=m, failed=y)
            for m, y in zip(found.history_calls[row].tolist(), found.history_failed[row].tolist(), strict=True)
        ]
        for upto in (1, 2, 20):
            assert ours[row, upto - 1] == pytest.approx(compare(minutes[:upto], history=history, rule=RULE).against)


def test_a_dead_fleet_is_stopped_by_all_rules() -> None:
    """And two that never fail by none of them."""
    rng = np.random.default_rng(2)
    dead = rules(traces(rng, "plain", volume=6000, share=0.1, old=0.0, new=1.0, size=2))
    quiet = rules(traces(rng, "plain", volume=6000, share=0.1, old=0.0, new=0.0, size=2))
    assert all(stopped.all() for stopped in dead.values())
    assert not any(stopped.any() for stopped in quiet.values())


def test_traces_have_a_history_and_calls_of_both_fleets() -> None:
    """Calls follow the share."""
    found = traces(np.random.default_rng(3), "diurnal", volume=1000, share=0.5, old=0.01, new=0.01, size=4)
    assert found.history_calls.shape == (4, HISTORY)
    assert found.x.shape == found.m.shape == (4, 20)
    assert abs(found.n.sum() / (found.n.sum() + found.m.sum()) - 0.5) < 0.01
