"""Quantiles of Student's t are those of another library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_runtime.retraining.student import student_quantile


@given(st.floats(0.001, 0.99999), st.floats(1, 5000))
def test_quantiles_are_those_of_scipy(share: float, degrees: float) -> None:
    """Whole or broken degrees, either side."""
    assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-7, abs=1e-9)


def test_the_median_is_nothing() -> None:
    """And the other side mirrors it."""
    assert student_quantile(0.5, 3) == pytest.approx(0.0, abs=1e-9)
    assert student_quantile(0.025, 7) == -student_quantile(0.975, 7)
