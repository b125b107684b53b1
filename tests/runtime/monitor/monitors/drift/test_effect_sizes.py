"""Effect sizes checked against scipy, and their values without drift."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.spatial import distance

from mlops_runtime.contracts.monitor_report import FeatureDrift
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.comparison import plain
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.effect_sizes import (
    area_between,
    effect_sizes,
    jensen_shannon,
    l_infinity,
    psi,
    wasserstein,
)
from mlops_runtime.monitor.spec import MonitorSpec

COUNTS = st.integers(2, 12).flatmap(
    lambda cells: st.tuples(
        *(st.lists(st.integers(0, 10_000), min_size=cells, max_size=cells).filter(any) for _ in range(2))
    )
)


def arrays(counts: tuple[list[int], list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides as floats."""
    return np.array(counts[0], dtype=float), np.array(counts[1], dtype=float)


@given(COUNTS)
def test_jensen_shannon_agrees_with_scipy(counts: tuple[list[int], list[int]]) -> None:
    """The distance to base 2; without drift its root is rounding error."""
    a, b = arrays(counts)
    assert jensen_shannon(a, b) == pytest.approx(float(distance.jensenshannon(a, b, base=2)), rel=1e-9, abs=1e-7)


@given(COUNTS)
def test_l_infinity_agrees_with_scipy(counts: tuple[list[int], list[int]]) -> None:
    """The Chebyshev distance of shares; for ordered cells it is the two-sample Kolmogorov-Smirnov statistic."""
    a, b = arrays(counts)
    expected = float(distance.chebyshev(a / a.sum(), b / b.sum()))
    assert l_infinity(a, b, ordered=False) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 1000))
def test_ordered_l_infinity_is_kolmogorov_smirnov(seed: int) -> None:
    """With one cell per value, the statistic by cells equals that by values."""
    random = np.random.default_rng(seed)
    x, y = random.integers(0, 8, 200), random.integers(0, 9, 150)
    found = l_infinity(
        np.bincount(x, minlength=9).astype(float), np.bincount(y, minlength=9).astype(float), ordered=True
    )
    assert found == pytest.approx(float(stats.ks_2samp(x, y).statistic), rel=1e-9)


@given(COUNTS, st.integers(0, 1000))
def test_wasserstein_agrees_with_scipy(counts: tuple[list[int], list[int]], seed: int) -> None:
    """Agrees for weighted samples on common points."""
    a, b = arrays(counts)
    points = np.sort(np.random.default_rng(seed).normal(size=len(a)))
    expected = float(stats.wasserstein_distance(points, points, a, b))
    assert wasserstein(points, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 1000))
def test_the_area_between_two_lines_agrees_with_quadrature(seed: int) -> None:
    """The area includes crossings within a segment."""
    random = np.random.default_rng(seed)
    points = np.sort(random.normal(size=8))
    first, second = (np.sort(random.random(8)) for _ in range(2))
    grid = np.union1d(points, np.linspace(points[0], points[-1], 20_001))
    gap = np.abs(np.interp(grid, points, first) - np.interp(grid, points, second))
    assert area_between(points, first, second) == pytest.approx(float(integrate.trapezoid(gap, grid)), rel=1e-4)


@given(COUNTS)
def test_psi_is_its_definition_less_its_bias(counts: tuple[list[int], list[int]]) -> None:
    """Agrees with the sum of scipy's two relative entropies, minus the bias."""
    a, b = arrays(counts)
    a, b = a[a + b > 0] + 0.5, b[a + b > 0] + 0.5
    raw = stats.entropy(a, b) + stats.entropy(b, a)
    bias = (len(a) - 1) * (1 / (a - 0.5).sum() + 1 / (b - 0.5).sum())
    assert psi(*arrays(counts)) == pytest.approx(max(0.0, raw - bias), rel=1e-9, abs=1e-9)


def test_psi_without_drift_is_near_zero_on_average() -> None:
    """Without drift, the bias correction keeps the PSI of small windows near zero on average."""
    random = np.random.default_rng(3)
    uniform = np.full(10, 0.1)
    raw = [
        psi(random.multinomial(20_000, uniform).astype(float), random.multinomial(300, uniform).astype(float))
        for _ in range(300)
    ]
    assert np.mean(raw) < 0.01
    assert 9 * (1 / 300 + 1 / 20_000) > 0.03


def test_nothing_is_no_distance() -> None:
    """An empty side has no distance."""
    some, none = np.array([1.0, 2.0]), np.zeros(2)
    assert psi(some, none) == jensen_shannon(none, some) == l_infinity(some, none, ordered=True) == 0.0


def sizes(before: object, after: object, kind: str) -> FeatureDrift:
    """Return the effect sizes of two columns."""
    columns = {"x": before}
    baseline = fit_baseline(columns, types={"x": kind}, training_set_id="t", created="")  # type: ignore[arg-type, dict-item]
    feature = baseline.features[0]
    counts = count_columns({"x": after}, baseline).features[0]  # type: ignore[dict-item]
    compared = plain(feature, counts)
    return effect_sizes(compared, compared.cells)


def test_numbers() -> None:
    """Mean shift in standard deviations, area between CDFs, largest difference at an edge, and nulls with their interval."""
    random = np.random.default_rng(1)
    before, after = random.lognormal(2, 0.5, 20_000), random.lognormal(2.2, 0.5, 5000)
    after[:250] = np.nan
    found = sizes(before, after, "number")
    known = after[~np.isnan(after)]
    assert found.mean_shift == pytest.approx((known.mean() - before.mean()) / before.std(), rel=1e-5)
    assert found.wasserstein == pytest.approx(float(stats.wasserstein_distance(before, known)), rel=0.05)
    assert found.l_infinity == pytest.approx(float(stats.ks_2samp(before, known).statistic), abs=0.02)
    assert 0.1 < found.psi < 0.7
    assert found.null_rate is not None
    interval = stats.binomtest(250, 5000).proportion_ci(method="wilson")
    assert (found.null_rate.value, found.null_rate.baseline, found.null_rate.rows) == (0.05, 0.0, 5000)
    assert (found.null_rate.low, found.null_rate.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_a_unit_error_is_as_far_as_its_mean() -> None:
    """With all values out of range, the distance comes from the sums, since the cells cannot give it."""
    random = np.random.default_rng(2)
    before, after = random.lognormal(2, 0.5, 5000), random.lognormal(2, 0.5, 5000) * 100
    found = sizes(before, after, "number")
    assert found.wasserstein == pytest.approx(float(stats.wasserstein_distance(before, after)), rel=0.02)
    assert found.l_infinity == pytest.approx(1.0, abs=0.01)


def test_categories() -> None:
    """New levels have their rate; a category has no mean and no Wasserstein distance."""
    random = np.random.default_rng(3)
    before = random.choice(["a", "b", "c"], 5000, p=[0.5, 0.3, 0.2]).tolist()
    after = random.choice(["a", "b", "c", "d"], 1000, p=[0.45, 0.3, 0.2, 0.05]).tolist()
    found = sizes(before, after, "category")
    assert (found.mean_shift, found.wasserstein) == (None, None)
    assert found.new_rate is not None
    assert found.new_rate.value == pytest.approx(0.05, abs=0.02)
    assert found.new_rate.baseline == 0.0
    assert found.l_infinity == pytest.approx(0.05, abs=0.03)


def test_nothing_moved_is_nothing() -> None:
    """A window equal to the baseline, and one without rows, have no effect."""
    values = np.random.default_rng(4).normal(size=5000)
    same = sizes(values, values, "number")
    assert (same.psi, same.l_infinity, same.mean_shift) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert same.wasserstein == pytest.approx(0.0, abs=1e-3)
    empty = sizes(values, values[:0], "number")
    assert (empty.psi, empty.wasserstein, empty.null_rate) == (0.0, None, None)


def test_quiet_windows_stay_below_the_ordinary_index_where_clusters_are_few() -> None:
    """With nine clusters in the baseline and five in the window, about 95 % of 300 quiet windows stay below it.

    The feature varies in all its levels.
    """
    random, below = np.random.default_rng(95), 0

    def drawn(clusters: int) -> list[str]:
        shares = random.dirichlet(np.full(8, 4.0), clusters)
        return [f"level {level}" for of in shares for level in random.choice(8, 250, p=of)]

    for _ in range(30):
        clusters = np.repeat(np.arange(9), 250)
        baseline = fit_baseline(
            {"x": drawn(9)}, types={"x": "category"}, training_set_id="t", created="", clusters=clusters
        )
        for _ in range(10):
            (found, *_) = decide(baseline, count_columns({"x": drawn(5)}, baseline), MonitorSpec())
            assert found.raw_psi is not None
            assert found.ordinary_psi is not None
            below += found.raw_psi <= found.ordinary_psi
    assert 0.92 <= below / 300 <= 0.98
