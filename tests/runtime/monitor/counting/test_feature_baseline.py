"""Feature baselines: bins, point masses, range ends, levels and their tail."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import edges_of, number_cells
from mlops_runtime.monitor.counting.feature_baseline import (
    BaselineError,
    category_baseline,
    number_baseline,
    unseen_share,
)
from mlops_runtime.monitor.counting.tail_cells import tenths


def test_unseen_levels_are_foreseen() -> None:
    """The estimated rate of unseen levels matches the next rows, for independent rows and for clusters."""
    random = np.random.default_rng(9)
    shares = 1 / np.arange(1, 5001)
    levels = random.choice(5000, 40_000, p=shares / shares.sum())
    first, later = levels[:20_000], levels[20_000:]
    assert unseen_share(first, None) == pytest.approx((~np.isin(later, first)).mean(), rel=0.1)
    owners = np.arange(2000)
    # half of each cluster's rows have a level of their own
    own = np.where(random.random((2000, 10)) < 0.5, 5000 + owners[:, None], random.integers(0, 50, (2000, 10)))
    assert unseen_share(own.ravel(), np.repeat(owners, 10)) == pytest.approx(0.5, abs=0.02)
    assert unseen_share(np.full(3, -1), None) == 0.0


FLOAT = st.floats(width=32, allow_infinity=False)


def test_a_continuous_feature_has_ten_bins_of_equal_mass() -> None:
    """Deciles hold a tenth each, six more edges split the outer ones, and nulls have their own cell."""
    values = np.append(np.random.default_rng(1).normal(size=10_000), [np.nan] * 7).astype(np.float32)
    whole = number_baseline("x", values)
    assert whole.counts[1:5] == (100, 150, 250, 499)
    assert whole.counts[-6:-2] == (501, 250, 150, 100)
    baseline = tenths(whole)
    zero = baseline.edges.index(0.0)
    # two ends, nine deciles, zero and the next value
    assert len(baseline.edges) == 13
    assert (baseline.counts[0], baseline.counts[-2], baseline.counts[-1]) == (0, 0, 7)
    without_zero = [*baseline.counts[1:zero], sum(baseline.counts[zero : zero + 3]), *baseline.counts[zero + 3 : -2]]
    assert without_zero == pytest.approx([1000] * 10, abs=1)
    assert (baseline.mean, baseline.standard_deviation) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    """Sixty percent zeros have a bin apart from the small values next to them."""
    random = np.random.default_rng(1)
    values = np.where(random.random(5000) < 0.6, 0, random.exponential(5, 5000)).astype(np.float32)
    baseline = number_baseline("discount", values)
    zero = baseline.edges.index(0.0) + 1
    assert baseline.counts[zero] == int((values == 0).sum())


@given(arrays(np.float32, st.integers(0, 60), elements=FLOAT))
@example(np.array([np.finfo(np.float32).max], dtype=np.float32))
def test_every_value_is_counted_once_also_after_json(values: np.ndarray) -> None:
    """Counts add up to the number of rows, and the edges survive JSON exactly."""
    baseline = number_baseline("x", values)
    again = from_json(FeatureBaseline, canonical_json(baseline))
    cells = number_cells(values, edges_of(again))
    assert np.bincount(cells, minlength=len(again.counts)).tolist() == list(baseline.counts)
    assert sum(baseline.counts) == len(values)
    assert list(baseline.edges) == sorted(set(baseline.edges))


def test_the_twenty_most_frequent_levels_are_kept() -> None:
    """Ties are broken by name; other levels are tail cells, and null is last."""
    values = [f"level {i:02d}" for i in range(30) for _ in range(2)] + ["top"] * 3 + [None, ""]
    baseline = category_baseline("x", values)
    assert baseline.levels == ("top", *(f"level {i:02d}" for i in range(19)))
    assert (baseline.counts[:20], sum(baseline.counts[20:52]), baseline.counts[52:]) == ((3, *[2] * 19), 22, (0, 2))
    assert (baseline.tail, len(baseline.known or ())) == (32, 11)


def test_infinite_training_values_are_counted_apart() -> None:
    """Infinite training values of either sign are counted, in no cell or cluster; the baseline is of the finite rows."""
    values, clusters = np.array([1, np.inf, 2, -np.inf, 5, 4], dtype=np.float32), np.array([0, 0, 0, 1, 1, 1])
    found = number_baseline("x", values, clusters=clusters, strata=clusters)
    finite = np.isfinite(values)
    rest = number_baseline("x", values[finite], clusters=clusters[finite], strata=clusters[finite])
    assert found == replace(rest, infinite=2)
    assert number_baseline("x", np.array([np.inf])).counts == (0, 0)


def test_fails_for_training_values_that_are_not_numbers() -> None:
    """Rejects text in a numeric column."""
    with pytest.raises(BaselineError, match="feature 'x' must be a number or null in the training split, got 1 other"):
        number_baseline("x", ["1", "high"])


@given(
    arrays(
        np.float32,
        st.integers(1, 80),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False) | st.just(0.0),
    )
)
def test_bins_are_what_their_rules_say(values: np.ndarray) -> None:
    """Bins follow their rules: empty outer bins, a separate zero, and numpy's percentiles and quantiles."""
    baseline = number_baseline("x", values)
    counts = baseline.counts
    assert (baseline.bounded, counts[0], counts[-2]) == (True, 0, 0)
    edges = np.array(baseline.edges)
    assert edges[0] == values.min()
    assert edges[-1] > values.max()
    distinct, number = np.unique(values.astype(np.float64), return_counts=True)
    alone = set(distinct[number * 10 >= len(values)].tolist()) | ({0.0} if values.min() <= 0 <= values.max() else set())
    for value in alone:
        cell = int(np.searchsorted(edges, value, side="right"))
        assert counts[cell] == int((values == value).sum())
    deciles = np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf")
    assert set(deciles.astype(np.float64).tolist()) <= set(baseline.edges)
    quantiles = np.quantile(values.astype(np.float64), np.arange(101) / 100)
    np.testing.assert_allclose(np.array(baseline.quantiles), quantiles, rtol=1e-9, atol=1e-30)


def test_the_largest_number_has_an_edge_above() -> None:
    """Two to the 128th, which no 32-bit float reaches, bounds the largest number and survives JSON."""
    baseline = number_baseline("x", np.array([1, np.finfo(np.float32).max], dtype=np.float32))
    assert baseline.edges[-1] == 2.0**128
    assert from_json(FeatureBaseline, canonical_json(baseline)) == baseline
    assert edges_of(baseline)[-1] == np.inf


def test_a_constant_and_an_empty_feature() -> None:
    """A constant has one cell and one on either side; a column without values has one bin and null."""
    constant = number_baseline("x", np.full(9, 3, dtype=np.float32))
    assert (constant.counts, constant.edges[0], constant.standard_deviation) == ((0, 9, 0, 0), 3.0, 0.0)
    none = number_baseline("x", np.full(9, np.nan, dtype=np.float32))
    assert (none.counts, none.edges, none.mean, none.quantiles) == ((0, 9), (), None, None)
    text = category_baseline("x", [None] * 9)
    assert (text.counts, text.levels, text.tail, text.known) == ((0, 9), (), 0, ())


@pytest.mark.parametrize(
    ("levels", "tail", "known"), [(20, 0, 0), (21, 32, 1), (52, 32, 32), (53, 64, 33), (10_021, 64, None)]
)
def test_a_tail_is_as_long_as_it_must_be(levels: int, tail: int, known: int | None) -> None:
    """The tail has no cells if all levels are kept, few for few others; up to ten thousand levels are stored by CRC-32."""
    baseline = category_baseline("x", [f"level {index}" for index in range(levels)] * 2)
    assert (baseline.tail, None if baseline.known is None else len(baseline.known)) == (tail, known)
    assert len(baseline.counts) == 20 + tail + 2
    assert (sum(baseline.counts), baseline.counts[-2]) == (2 * levels, 0)


def test_levels_that_cannot_be_written_are_of_the_tail() -> None:
    """A lone surrogate and very long text count in the tail without a name."""
    baseline = category_baseline("x", ["\ud800"] * 5 + ["n" * 1000] * 4 + ["a"] * 2)
    assert (baseline.levels, baseline.tail, sum(baseline.counts[1:-2])) == (("a",), 32, 9)
    assert from_json(FeatureBaseline, canonical_json(baseline)) == baseline
