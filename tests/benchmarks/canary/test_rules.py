"""The benchmark's rules equal the library's, over many traces at once."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.canary.rules import RULE, THETAS, Comparison, evidence, noises, rules
from benchmarks.canary.traces import FAMILIES, HISTORY, traces

from mlops_runtime.rollout import fleet_comparison
from mlops_runtime.rollout.fleet_comparison import Minute, compare
from mlops_runtime.rollout.live_history import Counts


@pytest.mark.parametrize(("family", "volume"), [(family, 600) for family in FAMILIES] + [("plain", 3), ("diurnal", 10)])
def test_the_evidence_is_that_of_the_library(family: str, volume: int) -> None:
    """Minute by minute, with the noise of each history, and rare calls joined until both fleets have calls."""
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
    """Two fleets without failures are stopped by none."""
    rng = np.random.default_rng(2)
    dead = rules(traces(rng, "plain", volume=6000, share=0.1, old=0.0, new=1.0, size=2))
    quiet = rules(traces(rng, "plain", volume=6000, share=0.1, old=0.0, new=0.0, size=2))
    assert all(stopped.all() for stopped in dead.values())
    assert not any(stopped.any() for stopped in quiet.values())


def test_traces_have_a_history_and_calls_of_both_fleets() -> None:
    """The number of calls follows the share."""
    found = traces(np.random.default_rng(3), "diurnal", volume=1000, share=0.5, old=0.01, new=0.01, size=4)
    assert found.history_calls.shape == (4, HISTORY)
    assert found.x.shape == found.m.shape == (4, 20)
    assert abs(found.n.sum() / (found.n.sum() + found.m.sum()) - 0.5) < 0.01


@pytest.mark.parametrize("volume", [60, 6_000])
@pytest.mark.parametrize("base", [0.0, 0.001, 0.05])
def test_the_edge_of_tolerance_is_stopped_in_less_than_one_percent(base: float, volume: int) -> None:
    """The theorem itself, uncut and without a warm-up: 4,000 rollouts of an hour, evaluated each minute."""
    size, rule = 4_000, replace(RULE, cut=1e9, warm_up=0)
    rng = np.random.default_rng((16, volume))
    comparison, highest = Comparison(size, np.zeros(size), rule), np.ones(size)
    for _ in range(60):
        n, m = rng.poisson(volume / 10, size), rng.poisson(volume * 9 / 10, size)
        x, y = rng.binomial(n, rule.ratio * (base + rule.extra)), rng.binomial(m, base)
        highest = np.maximum(highest, comparison.add(x, n, y, m))
    stopped = int((highest >= 1 / rule.false_alarm).sum())
    # 1 % of 4,000 and two standard deviations less would be 27
    assert stopped <= 27
