"""Our tails against scipy's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.monitor.drift.tails import binomial_tail, noncentral_chi2_tail, skewed_tail, wilson


@given(x=st.floats(0.01, 20_000), df=st.integers(1, 60), noncentrality=st.floats(0, 10_000))
def test_noncentral_chi_square_agrees_with_scipy(x: float, df: int, noncentrality: float) -> None:
    """Over all windows and effects that occur, to twelve digits, or to nothing where it is nothing."""
    expected = float(stats.ncx2.sf(x, df, noncentrality)) if noncentrality > 0 else float(stats.chi2.sf(x, df))
    assert noncentral_chi2_tail(x, df, noncentrality) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(x=st.floats(0.01, 400), df=st.integers(1, 60))
def test_central_chi_square_agrees_with_scipy_far_into_the_tail(x: float, df: int) -> None:
    """Relative accuracy holds where p-values decide Holm's smallest steps."""
    expected = float(stats.chi2.sf(x, df))
    got = noncentral_chi2_tail(x, df, 0)
    assert got == pytest.approx(expected, rel=1e-9) or (got == 0 and expected < 1e-60)


@pytest.mark.parametrize(("x", "df", "noncentrality"), [(90, 9, 5), (300, 9, 50), (1500, 20, 500), (60, 9, 0.5)])
def test_small_noncentral_tails_keep_their_digits(x: float, df: int, noncentrality: float) -> None:
    """A p-value of 1e-10 is not rounding noise."""
    expected = float(stats.ncx2.sf(x, df, noncentrality))
    assert noncentral_chi2_tail(x, df, noncentrality) == pytest.approx(expected, rel=1e-4)


def test_extreme_statistics_are_zero_or_one() -> None:
    """A million rows with every value moved is no overflow."""
    assert noncentral_chi2_tail(5e6, 9, 5000) == 0.0
    assert noncentral_chi2_tail(0, 9, 5000) == 1.0


@given(trials=st.integers(1, 50_000), share=st.floats(0, 1), probability=st.floats(1e-6, 1))
def test_binomial_agrees_with_scipy(trials: int, share: float, probability: float) -> None:
    """Both sides of the mean, both ends."""
    successes = round(share * trials)
    expected = float(stats.binom.sf(successes - 1, trials, probability))
    assert binomial_tail(successes, trials, probability) == pytest.approx(expected, rel=1e-6, abs=1e-11)


def test_binomial_edges() -> None:
    """Nothing needed, more than possible, impossible, certain."""
    assert [binomial_tail(*a) for a in ((0, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (5, 5, 1.0))] == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("successes", "trials", "probability"), [(60, 100_000, 1e-4), (3000, 100_000, 0.025), (25, 5000, 0.0005)]
)
def test_far_binomial_tails_keep_their_digits(successes: int, trials: int, probability: float) -> None:
    """The sum stops where nothing is left of it."""
    expected = float(stats.binom.sf(successes - 1, trials, probability))
    assert binomial_tail(successes, trials, probability) == pytest.approx(expected, rel=1e-9)


@given(z=st.floats(0, 12), skewness=st.floats(0.011, 2))
def test_skewed_tail_agrees_with_scipy(z: float, skewness: float) -> None:
    """Pearson's type III."""
    assert skewed_tail(z, skewness) == pytest.approx(float(stats.pearson3.sf(z, skewness)), rel=1e-6, abs=1e-15)


def test_without_skewness_it_is_the_normal() -> None:
    """Also where the tail is lighter than the normal's."""
    assert skewed_tail(3.0, 0.0) == skewed_tail(3.0, -1.0) == pytest.approx(float(stats.norm.sf(3.0)), rel=1e-12)


@given(trials=st.integers(1, 100_000), share=st.floats(0, 1))
def test_wilson_agrees_with_scipy(trials: int, share: float) -> None:
    """Both bounds."""
    successes = round(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def test_wilson_of_nothing_is_everything() -> None:
    """No trials, no knowledge."""
    assert wilson(0, 0) == (0.0, 1.0)
