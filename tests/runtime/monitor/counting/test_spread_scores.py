"""Scores of spread are those of a normal distribution cut at the bins' shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from mlops_runtime.monitor.counting.spread_scores import spread_scores


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12))
def test_scores_are_means_over_parts_of_a_normal_distribution(counts: list[int]) -> None:
    """By quadrature; and they average to 0 over the baseline."""
    bins = np.array(counts, dtype=np.float64)
    scores, shares = spread_scores(bins), bins / bins.sum()
    ends = stats.norm.ppf(np.clip(np.concatenate([[0], np.cumsum(shares)]), 0, 1))
    for score, share, low, high in zip(scores, shares, ends[:-1], ends[1:], strict=True):
        square = integrate.quad(lambda z: z * z * stats.norm.pdf(z), low, high)[0]
        assert score == pytest.approx(square / share - 1, abs=1e-6)
    assert (shares * scores).sum() == pytest.approx(0, abs=1e-9)


def test_empty_bins_have_the_scores_of_their_neighbours() -> None:
    """What lies outside the range counts as the outermost bin does; without any value there are none."""
    scores = spread_scores(np.array([0.0, 1, 0, 3, 3, 1, 0]))
    assert scores[0] == scores[1]
    assert scores[-1] == scores[-2]
    assert scores[2] == pytest.approx((scores[1] + scores[3]) / 2)
    assert spread_scores(np.zeros(3)).tolist() == [0, 0, 0]
