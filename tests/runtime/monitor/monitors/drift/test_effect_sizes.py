"""The distances against scipy's, and what they are where nothing moved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.spatial import distance

from mlops_runtime.monitor.drift.distances import area_between, jensen_shannon, l_infinity, psi, wasserstein

COUNTS = st.integers(2, 12).flatmap(
    lambda cells: st.tuples(
        *(st.lists(st.integers(0, 10_000), min_size=cells, max_size=cells).filter(any) for _ in range(2))
    )
)


def arrays(counts: tuple[list[int], list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the two sides as floats."""
    return np.array(counts[0], dtype=float), np.array(counts[1], dtype=float)


@given(COUNTS)
def test_jensen_shannon_agrees_with_scipy(counts: tuple[list[int], list[int]]) -> None:
    """The distance to base 2; its root is rounding noise where nothing moved."""
    a, b = arrays(counts)
    assert jensen_shannon(a, b) == pytest.approx(float(distance.jensenshannon(a, b, base=2)), rel=1e-9, abs=1e-7)


@given(COUNTS)
def test_l_infinity_agrees_with_scipy(counts: tuple[list[int], list[int]]) -> None:
    """Chebyshev's distance of the shares; of ordered cells the two-sample Kolmogorov-Smirnov statistic."""
    a, b = arrays(counts)
    expected = float(distance.chebyshev(a / a.sum(), b / b.sum()))
    assert l_infinity(a, b, ordered=False) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 1000))
def test_ordered_l_infinity_is_kolmogorov_smirnov(seed: int) -> None:
    """Cell by cell the same as value by value, where cells are the values."""
    random = np.random.default_rng(seed)
    x, y = random.integers(0, 8, 200), random.integers(0, 9, 150)
    found = l_infinity(
        np.bincount(x, minlength=9).astype(float), np.bincount(y, minlength=9).astype(float), ordered=True
    )
    assert found == pytest.approx(float(stats.ks_2samp(x, y).statistic), rel=1e-9)


@given(COUNTS, st.integers(0, 1000))
def test_wasserstein_agrees_with_scipy(counts: tuple[list[int], list[int]], seed: int) -> None:
    """Weighted samples on common points."""
    a, b = arrays(counts)
    points = np.sort(np.random.default_rng(seed).normal(size=len(a)))
    expected = float(stats.wasserstein_distance(points, points, a, b))
    assert wasserstein(points, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 1000))
def test_the_area_between_two_lines_agrees_with_quadrature(seed: int) -> None:
    """Crossings within a piece are seen."""
    random = np.random.default_rng(seed)
    points = np.sort(random.normal(size=8))
    first, second = (np.sort(random.random(8)) for _ in range(2))
    grid = np.union1d(points, np.linspace(points[0], points[-1], 20_001))
    gap = np.abs(np.interp(grid, points, first) - np.interp(grid, points, second))
    assert area_between(points, first, second) == pytest.approx(float(integrate.trapezoid(gap, grid)), rel=1e-4)


@given(COUNTS)
def test_psi_is_its_definition_less_its_bias(counts: tuple[list[int], list[int]]) -> None:
    """Against the sum of scipy's two relative entropies."""
    a, b = arrays(counts)
    a, b = a[a + b > 0] + 0.5, b[a + b > 0] + 0.5
    raw = stats.entropy(a, b) + stats.entropy(b, a)
    bias = (len(a) - 1) * (1 / (a - 0.5).sum() + 1 / (b - 0.5).sum())
    assert psi(*arrays(counts)) == pytest.approx(max(0.0, raw - bias), rel=1e-9, abs=1e-9)


def test_psi_without_drift_is_near_zero_on_average() -> None:
    """The bias is taken off: a small window without drift does not look moved."""
    random = np.random.default_rng(3)
    uniform = np.full(10, 0.1)
    raw = [
        psi(random.multinomial(20_000, uniform).astype(float), random.multinomial(300, uniform).astype(float))
        for _ in range(300)
    ]
    assert np.mean(raw) < 0.01
    assert 9 * (1 / 300 + 1 / 20_000) > 0.03


def test_nothing_is_no_distance() -> None:
    """An empty side says nothing."""
    some, none = np.array([1.0, 2.0]), np.zeros(2)
    assert psi(some, none) == jensen_shannon(none, some) == l_infinity(some, none, ordered=True) == 0.0
