"""A changed association is seen, changed margins are not."""

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import FeatureBaseline, PairBaseline, PairCounts
from mlops_runtime.monitor.drift.association import association, pair_name, same_odds_ratios
from mlops_runtime.monitor.drift.rules import Finding
from mlops_runtime.monitor.spec import MonitorSpec

GROUPS = (0, 1, 2, 3, 4, 5)
PRICE = FeatureBaseline(name="price", type="number", edges=(1.0, 2.0, 3.0, 4.0), counts=(9, 9, 9, 9, 9, 0))
STORE = FeatureBaseline(name="store", type="category", levels=("a", "b", "c", "d"), counts=(9, 9, 9, 9, 9, 0))


def table(random: np.random.Generator, rows: int, correlation: float, shift: float = 0.0) -> np.ndarray:
    """Return counts of two correlated numbers in five groups, and an empty group of nulls each."""
    x = random.normal(size=rows)
    y = correlation * x + np.sqrt(1 - correlation**2) * random.normal(size=rows)
    edges = np.array([-0.84, -0.25, 0.25, 0.84])
    cells = np.searchsorted(edges, x + shift) * 6 + np.searchsorted(edges, y - shift)
    return np.bincount(cells, minlength=36)


def judged(before: np.ndarray, after: np.ndarray, *, overdispersion: float = 1.0) -> Finding:
    """Return what the rule says."""
    pair = PairBaseline(
        first="price",
        second="store",
        first_groups=GROUPS,
        second_groups=GROUPS,
        counts=tuple(before.tolist()),
        overdispersion=overdispersion,
    )
    counts = PairCounts(first="price", second="store", counts=tuple(after.tolist()))
    return association(pair, counts, (PRICE, STORE), MonitorSpec())


def test_a_changed_correlation_is_seen_and_said() -> None:
    """From none to a half at 5,000 rows."""
    random = np.random.default_rng(1)
    finding = judged(table(random, 20_000, 0.0), table(random, 5000, 0.5))
    assert finding.p_value < 1e-12
    assert "more often than either alone explains" in finding.words()
    assert finding.words().startswith(
        ("price below 1 with store level 'a'", "price 4 and above with store other levels")
    )


def test_margins_may_move_as_they_like() -> None:
    """Both features shift by half a deviation, their association stays: quiet at every size."""
    random = np.random.default_rng(2)
    p_values = [
        judged(table(random, 20_000, 0.5), table(random, rows, 0.5, shift=0.5)).p_value
        for rows in (1000, 5000, 20_000)
        for _ in range(20)
    ]
    assert min(p_values) > 1e-3


def test_nothing_to_compare_is_quiet() -> None:
    """An empty window, and one in which a feature has one group only."""
    random = np.random.default_rng(3)
    before = table(random, 20_000, 0.3)
    one_row = np.zeros(36, dtype=int)
    one_row[:5] = 200
    assert judged(before, np.zeros(36, dtype=int)).p_value == judged(before, one_row).p_value == 1.0


def test_clustered_rows_count_for_less() -> None:
    """A design effect weakens it."""
    random = np.random.default_rng(4)
    before, after = table(random, 20_000, 0.0), table(random, 5000, 0.3)
    assert judged(before, after).p_value < judged(before, after, overdispersion=5.0).p_value


def test_the_fit_has_both_margins_and_common_odds_ratios() -> None:
    """Iterative proportions against their definition."""
    random = np.random.default_rng(5)
    tables = random.integers(5, 200, (2, 3, 4)).astype(float)
    fitted = same_odds_ratios(tables)
    for axis in range(3):
        assert fitted.sum(axis=axis) == pytest.approx(tables.sum(axis=axis), rel=1e-6)
    ratios = np.log(fitted[:, :-1, :-1] * fitted[:, 1:, 1:] / fitted[:, 1:, :-1] / fitted[:, :-1, 1:])
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-6)


def test_a_pair_has_a_name() -> None:
    """Both features."""
    assert pair_name(PairBaseline(first="a", second="b", first_groups=(), second_groups=(), counts=())) == "a x b"
