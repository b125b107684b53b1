"""Tail probabilities checked against scipy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.monitor.monitors.drift.tails import (
    binomial_tail,
    chi2_point,
    estimated_tail,
    noncentral_chi2_tail,
    skewed_tail,
    wilson,
)


@given(x=st.floats(0.01, 20_000), df=st.integers(1, 60), noncentrality=st.floats(0, 10_000))
def test_noncentral_chi_square_agrees_with_scipy(x: float, df: int, noncentrality: float) -> None:
    """Agrees to twelve digits, or to zero where it is zero, over all occurring windows and effects."""
    expected = float(stats.ncx2.sf(x, df, noncentrality)) if noncentrality > 0 else float(stats.chi2.sf(x, df))
    assert noncentral_chi2_tail(x, df, noncentrality) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(x=st.floats(0.01, 400), df=st.integers(1, 60))
def test_central_chi_square_agrees_with_scipy_far_into_the_tail(x: float, df: int) -> None:
    """The relative accuracy holds far into the tail, which decides Holm's smallest steps."""
    expected = float(stats.chi2.sf(x, df))
    got = noncentral_chi2_tail(x, df, 0)
    assert got == pytest.approx(expected, rel=1e-9) or (got == 0 and expected < 1e-60)


@pytest.mark.parametrize(("x", "df", "noncentrality"), [(90, 9, 5), (300, 9, 50), (1500, 20, 500), (60, 9, 0.5)])
def test_small_noncentral_tails_keep_their_digits(x: float, df: int, noncentrality: float) -> None:
    """A p-value of 1e-10 keeps its digits."""
    expected = float(stats.ncx2.sf(x, df, noncentrality))
    assert noncentral_chi2_tail(x, df, noncentrality) == pytest.approx(expected, rel=1e-4)


def test_extreme_statistics_are_zero_or_one() -> None:
    """A million rows with every value moved do not overflow."""
    assert noncentral_chi2_tail(5e6, 9, 5000) == 0.0
    assert noncentral_chi2_tail(0, 9, 5000) == 1.0


@given(trials=st.integers(1, 50_000), share=st.floats(0, 1), probability=st.floats(1e-6, 1))
def test_binomial_agrees_with_scipy(trials: int, share: float, probability: float) -> None:
    """Agrees on both sides of the mean and at both ends."""
    successes = round(share * trials)
    expected = float(stats.binom.sf(successes - 1, trials, probability))
    assert binomial_tail(successes, trials, probability) == pytest.approx(expected, rel=1e-6, abs=1e-11)


def test_binomial_edges() -> None:
    """Handles zero required, more than possible, impossible and certain successes."""
    assert [binomial_tail(*a) for a in ((0, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (5, 5, 1.0))] == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("successes", "trials", "probability"), [(60, 100_000, 1e-4), (3000, 100_000, 0.025), (25, 5000, 0.0005)]
)
def test_far_binomial_tails_keep_their_digits(successes: int, trials: int, probability: float) -> None:
    """The sum stops when terms no longer contribute."""
    expected = float(stats.binom.sf(successes - 1, trials, probability))
    assert binomial_tail(successes, trials, probability) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60)
@given(trials=st.integers(500_000, 5_000_000), exponent=st.floats(-6, -0.01), deviations=st.floats(-6, 9))
def test_binomial_of_millions_of_trials_keeps_nine_digits(trials: int, exponent: float, deviations: float) -> None:
    """Keeps the digits near the mean and far in the tail, where logarithms of factorials would cancel."""
    probability = 10**exponent
    middle = trials * probability
    successes = min(trials, max(0, round(middle + deviations * (middle * (1 - probability)) ** 0.5)))
    expected = float(stats.binom.sf(successes - 1, trials, probability))
    assert binomial_tail(successes, trials, probability) == pytest.approx(expected, rel=1e-9, abs=1e-100)


@settings(max_examples=60)
@given(df=st.floats(0.3, 60), exponent=st.floats(3, 7), deviations=st.floats(-6, 8))
def test_noncentral_chi_square_of_millions_keeps_nine_digits(df: float, exponent: float, deviations: float) -> None:
    """Keeps them at a non-centrality of 1e7, a small effect in a window of a billion rows."""
    noncentrality = 10**exponent
    x = max(0.01, df + noncentrality + deviations * (2 * (df + 2 * noncentrality)) ** 0.5)
    expected = float(stats.ncx2.sf(x, df, noncentrality))
    # scipy's own error is 6e-10 at 1e7
    assert noncentral_chi2_tail(x, df, noncentrality) == pytest.approx(expected, rel=1e-9)


def test_noncentral_chi_square_agrees_with_two_poisson_variables() -> None:
    """P(X > x) = P(Poisson(x / 2) < df / 2 + Poisson(noncentrality / 2)) for even degrees, in 80 bits, to eleven digits."""
    noncentrality, df, x = 1e7, 10, 1e7 + 20_000
    half, y = noncentrality / 2, x / 2
    low, high = int(half - 14 * half**0.5), int(y + 14 * half**0.5)

    def weights(mean: float) -> np.ndarray[Any, Any]:
        logs = np.cumsum(np.log(np.longdouble(mean) / np.arange(low, high + 1).astype(np.longdouble)))
        found = np.exp(logs - logs.max())
        return found / found.sum()

    below = np.concatenate([[0.0], np.cumsum(weights(y))])
    places = np.minimum(np.arange(high + 1 - low) + df // 2, len(below) - 1)
    expected = float((weights(half) * below[places]).sum())
    assert noncentral_chi2_tail(x, df, noncentrality) == pytest.approx(expected, rel=2e-11)


@given(z=st.floats(0, 12), skewness=st.floats(0.011, 2))
def test_skewed_tail_agrees_with_scipy(z: float, skewness: float) -> None:
    """Agrees for Pearson's type III distribution."""
    assert skewed_tail(z, skewness) == pytest.approx(float(stats.pearson3.sf(z, skewness)), rel=1e-6, abs=1e-15)


def test_without_skewness_it_is_the_normal() -> None:
    """Without skewness it is the normal tail, also where the tail is lighter than the normal's."""
    assert skewed_tail(3.0, 0.0) == skewed_tail(3.0, -1.0) == pytest.approx(float(stats.norm.sf(3.0)), rel=1e-12)


@given(trials=st.integers(1, 100_000), share=st.floats(0, 1))
def test_wilson_agrees_with_scipy(trials: int, share: float) -> None:
    """Both bounds agree."""
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def test_wilson_of_nothing_is_everything() -> None:
    """Without trials the interval is 0 to 1."""
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("df", [0.05, 0.5, 1.0, 2.0, 9.0, 200.0])
def test_the_point_of_a_chi_square_agrees_with_scipy(df: float) -> None:
    """Agrees to 1 %, also for fractional degrees of freedom."""
    assert chi2_point(df) == pytest.approx(float(stats.chi2.ppf(0.95, df)), rel=0.01)


@pytest.mark.parametrize("df", [2.0, 9.0, 40.0])
@pytest.mark.parametrize("freedom", [4.0, 8.0, 19.0, 200.0])
def test_the_point_of_an_estimated_chi_square_agrees_with_scipy(df: float, freedom: float) -> None:
    """Agrees with F to 3 ‰; below two degrees of freedom, of either kind, it is at least F's."""
    assert chi2_point(df, freedom) == pytest.approx(float(df * stats.f.isf(0.05, df, freedom)), rel=0.035)
    assert chi2_point(0.5, freedom) >= float(0.5 * stats.f.isf(0.05, 0.5, freedom)) * 0.99
    assert chi2_point(df, 1e9) == pytest.approx(chi2_point(df))
    assert np.isfinite(chi2_point(df, 0.0))


@pytest.mark.parametrize("freedom", [4, 9, 19, 39, 200])
@pytest.mark.parametrize("z", [2.0, 4.0, 6.0])
def test_estimated_variances_make_student_and_fisher(freedom: int, z: float) -> None:
    """Estimated variances turn normal tails into t and chi-square tails into F; certain results and known variances do not."""
    tail = estimated_tail(lambda ratio: skewed_tail(z * np.sqrt(ratio), 0.0), freedom)
    assert tail == pytest.approx(float(stats.t.sf(z, freedom)), rel=0.02)
    whole = estimated_tail(lambda ratio: noncentral_chi2_tail(9 * z * ratio, 9, 0), freedom)
    assert whole == pytest.approx(float(stats.f.sf(z, 9, freedom)), rel=0.02)
    assert estimated_tail(lambda ratio: skewed_tail(z * np.sqrt(ratio), 0.0), None) == skewed_tail(z, 0.0)
    assert estimated_tail(lambda _: 0.3, freedom) == 0.3
    assert estimated_tail(lambda ratio: 0.01 * ratio, 0) == 1.0


def test_a_non_central_tail_is_averaged_too() -> None:
    """Agrees with the mean over many drawn variances, which scale the statistic and its non-centrality."""
    ratios = np.random.default_rng(5).chisquare(19, 20_000) / 19
    expected = float(stats.ncx2.sf(60 * ratios, 9, 12 * ratios).mean())
    found = estimated_tail(lambda ratio: noncentral_chi2_tail(60 * ratio, 9, 12 * ratio), 19)
    assert found == pytest.approx(expected, rel=0.05)
