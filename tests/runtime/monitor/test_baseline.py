"""Baselines: bins, mass points, levels and the over-dispersion against its definition."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.baseline import BaselineError, category_baseline, cluster_codes, number_baseline
from mlops_runtime.monitor.cells import number_cells

FLOAT = st.floats(width=32, allow_infinity=False)


def test_a_continuous_feature_has_ten_bins_of_equal_mass() -> None:
    """Deciles of a continuous feature hold a tenth each; nulls have their own cell."""
    values = np.append(np.random.default_rng(1).normal(size=10_000), [np.nan] * 7).astype(np.float32)
    baseline = number_baseline("x", values)
    zero = baseline.edges.index(0.0)
    # two ends, nine deciles, zero and what is next to it
    assert len(baseline.edges) == 13
    assert (baseline.counts[0], baseline.counts[-2], baseline.counts[-1]) == (0, 0, 7)
    without_zero = [*baseline.counts[1:zero], sum(baseline.counts[zero : zero + 3]), *baseline.counts[zero + 3 : -2]]
    assert without_zero == pytest.approx([1000] * 10, abs=1)
    assert (baseline.mean, baseline.standard_deviation) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    """Sixty percent zeros stand apart from the small values beside them."""
    random = np.random.default_rng(1)
    values = np.where(random.random(5000) < 0.6, 0, random.exponential(5, 5000)).astype(np.float32)
    baseline = number_baseline("discount", values)
    zero = baseline.edges.index(0.0) + 1
    assert baseline.counts[zero] == int((values == 0).sum())


@given(arrays(np.float32, st.integers(0, 60), elements=FLOAT))
@example(np.array([np.finfo(np.float32).max], dtype=np.float32))
def test_every_value_is_counted_once_also_after_json(values: np.ndarray) -> None:
    """Counts add up to the rows, and the edges survive their JSON exactly."""
    baseline = number_baseline("x", values)
    again = from_json(FeatureBaseline, canonical_json(baseline))
    cells = number_cells(values, np.array(again.edges, dtype=np.float32))
    assert np.bincount(cells, minlength=len(again.counts)).tolist() == list(baseline.counts)
    assert sum(baseline.counts) == len(values)
    assert list(baseline.edges) == sorted(set(baseline.edges))


def test_the_twenty_most_frequent_levels_are_kept() -> None:
    """Ties go by name; the rest are cells of the tail; null is last."""
    values = [f"level {i:02d}" for i in range(30) for _ in range(2)] + ["top"] * 3 + [None, ""]
    baseline = category_baseline("x", values)
    assert baseline.levels == ("top", *(f"level {i:02d}" for i in range(19)))
    assert (baseline.counts[:20], sum(baseline.counts[20:52]), baseline.counts[52:]) == ((3, *[2] * 19), 22, (0, 2))
    assert (baseline.tail, len(baseline.known or ())) == (32, 11)


def test_cluster_codes_follow_equality() -> None:
    """Equal values of any type share a code."""
    assert cluster_codes(["b", "a", "b", None]).tolist() == [2, 1, 2, 0]


def test_fails_for_infinite_training_values() -> None:
    """Infinity is no value to compare with."""
    with pytest.raises(
        BaselineError, match="feature 'x' must be finite or null in the training split, got 1 infinite values"
    ):
        number_baseline("x", np.array([1, np.inf], dtype=np.float32))
