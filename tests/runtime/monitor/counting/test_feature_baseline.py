"""Baselines of features: bins, mass points, ends, levels and their tail."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import linalg

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting import feature_baseline as dispersion
from mlops_runtime.monitor.counting.baseline_cells import edges_of, number_cells
from mlops_runtime.monitor.counting.feature_baseline import (
    BaselineError,
    category_baseline,
    design_effects,
    mean_design_effect,
    number_baseline,
    unseen_share,
)


def clustered(random: np.random.Generator, clusters: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and clusters: each cluster has shares of its own."""
    shares = random.dirichlet(np.full(size, 2.0), clusters)
    rows = random.integers(1, 12, clusters)
    cells = np.concatenate([random.choice(size, n, p=p) for n, p in zip(rows, shares, strict=True)])
    return cells.astype(np.int64), np.repeat(np.arange(clusters), rows).astype(np.int64)


def test_they_are_the_generalised_eigenvalues() -> None:
    """Mean, and each cell's own, equal those of the covariance matrices by definition."""
    cells, clusters = clustered(np.random.default_rng(1), 400, 6)
    found = design_effects(cells, 6, clusters)
    table = np.zeros((400, 6))
    np.add.at(table, (clusters, cells), 1)
    share = table.sum(axis=0) / table.sum()
    residual = table - table.sum(axis=1, keepdims=True) * share
    between = residual.T @ residual * 400 / 399 / table.sum()
    multinomial = np.diag(share) - np.outer(share, share)
    eigenvalues = linalg.eigh(between[:5, :5], multinomial[:5, :5], eigvals_only=True)
    assert found.mean == pytest.approx(eigenvalues.mean(), rel=1e-9)
    assert found.cells == pytest.approx(np.diag(between) / np.diag(multinomial), rel=1e-9)


def test_independent_rows_have_none() -> None:
    """A cluster a row: a mean of 1 and no spread, to sampling error."""
    cells = np.random.default_rng(2).integers(0, 10, 20_000)
    found = design_effects(cells, 10, np.arange(20_000))
    assert found.mean == pytest.approx(1, abs=0.02)
    assert found.spread == pytest.approx(0, abs=0.02)
    assert design_effects(cells, 10, None) == design_effects(cells, 10, np.zeros(20_000, dtype=np.int64))


def test_repeated_rows_have_as_many_as_the_repeats() -> None:
    """Ten equal rows are one."""
    cells = np.repeat(np.random.default_rng(3).integers(0, 8, 3000), 10)
    found = design_effects(cells, 8, np.repeat(np.arange(3000), 10))
    assert found.mean == pytest.approx(10, rel=0.05)
    assert found.spread < 0.02
    assert found.cells == pytest.approx([10] * 8, rel=0.1)


def test_the_spread_is_that_of_unequal_effects() -> None:
    """Half of the rows' information is repeated tenfold, the other half is not: Satterthwaite's spread says so."""
    random = np.random.default_rng(4)
    # the first part of the cell is shared by a cluster, the second is each row's own
    shared, own = np.repeat(random.integers(0, 2, 4000), 10), random.integers(0, 2, 40_000)
    found = design_effects(shared * 2 + own, 4, np.repeat(np.arange(4000), 10))
    effects = np.array([10.0, 1.0, 1.0])
    assert found.mean == pytest.approx(effects.mean(), rel=0.05)
    assert found.spread == pytest.approx(effects.var() / effects.mean() ** 2, rel=0.1)


def test_few_clusters_do_not_inflate_the_spread() -> None:
    """Thirty clusters of equal effects: the raw spread would be about 9/29, what is left is near nothing on average."""
    random = np.random.default_rng(5)
    spreads = [
        design_effects(np.repeat(random.integers(0, 10, 300), 2), 10, np.repeat(np.arange(30), 20)).spread
        for _ in range(60)
    ]
    assert np.mean(spreads) < 0.12


def test_tables_in_pieces_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: many clusters are taken piece by piece."""
    cells, clusters = clustered(np.random.default_rng(6), 500, 7)
    order = np.random.default_rng(7).permutation(len(cells))
    whole = design_effects(cells, 7, clusters)
    monkeypatch.setattr(dispersion, "_TABLE", 70)
    pieces = design_effects(cells[order], 7, clusters[order])
    assert pieces.mean == pytest.approx(whole.mean, rel=1e-12)
    assert pieces.spread == pytest.approx(whole.spread, rel=1e-9)
    assert pieces.cells == pytest.approx(whole.cells, rel=1e-12)


def test_of_a_mean() -> None:
    """Nulls are left out; equal rows of a cluster are one; a constant has no spread to speak of."""
    random = np.random.default_rng(8)
    values = np.repeat(random.lognormal(size=2000), 5)
    values[random.random(10_000) < 0.1] = np.nan
    assert mean_design_effect(values, np.repeat(np.arange(2000), 5)) == pytest.approx(1 + 4 * 0.9, rel=0.1)
    assert mean_design_effect(values, None) == 1.0
    assert mean_design_effect(np.full(4, np.nan), np.arange(4)) == 1.0
    assert mean_design_effect(np.full(4, 2.0), np.arange(4)) == 1.0


def test_unseen_levels_are_foreseen() -> None:
    """What the estimate says of the next rows is what they bring: independent, and cluster by cluster."""
    random = np.random.default_rng(9)
    shares = 1 / np.arange(1, 5001)
    levels = random.choice(5000, 40_000, p=shares / shares.sum())
    first, later = levels[:20_000], levels[20_000:]
    assert unseen_share(first, None) == pytest.approx((~np.isin(later, first)).mean(), rel=0.1)
    owners = np.arange(2000)
    # every cluster has a level of its own in half of its rows
    own = np.where(random.random((2000, 10)) < 0.5, 5000 + owners[:, None], random.integers(0, 50, (2000, 10)))
    assert unseen_share(own.ravel(), np.repeat(owners, 10)) == pytest.approx(0.5, abs=0.02)
    assert unseen_share(np.full(3, -1), None) == 0.0


def test_clusters_that_are_sums_of_many_have_no_excess_and_clusters_of_one_kind_do() -> None:
    """Shares that vary normally explain the statistic's variance; one cluster in fifty of its own kind does not."""
    random = np.random.default_rng(10)
    clusters = np.repeat(np.arange(1000), 100)
    shares = np.clip(random.normal(0.5, 0.1, 1000), 0, 1)
    normal = design_effects((random.random(100_000) < shares[clusters]).astype(np.int64), 2, clusters)
    kinds = np.where(random.random(1000) < 0.02, 0.6, 0.02)
    heavy = design_effects((random.random(100_000) < kinds[clusters]).astype(np.int64), 2, clusters)
    assert normal.rows == heavy.rows == 100
    assert normal.excess < 0.5
    assert heavy.excess > 10


def test_jumps_are_the_rows_that_come_at_once() -> None:
    """Ten equal rows come at once; where one cluster in fifty brings sixty of a level, sixty do, more than the design effect."""
    random = np.random.default_rng(11)
    repeated = design_effects(np.repeat(random.integers(0, 8, 3000), 10), 8, np.repeat(np.arange(3000), 10))
    assert repeated.jumps == pytest.approx([10] * 8, rel=0.15)
    clusters = np.repeat(np.arange(1000), 100)
    kinds = np.where(random.random(1000) < 0.02, 0.6, 0.005)
    rare = design_effects((random.random(100_000) < kinds[clusters]).astype(np.int64), 2, clusters)
    assert rare.cells[1] < 45
    assert rare.jumps[1] == pytest.approx(58, rel=0.1)
    assert design_effects(np.array([0, 1]), 3, None).jumps == (1.0, 1.0, 1.0)


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
    cells = number_cells(values, edges_of(again))
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


def test_fails_for_infinite_training_values() -> None:
    """Infinity is no value to compare with."""
    with pytest.raises(
        BaselineError, match="feature 'x' must be finite or null in the training split, got 1 infinite values"
    ):
        number_baseline("x", np.array([1, np.inf], dtype=np.float32))


@given(
    arrays(
        np.float32,
        st.integers(1, 80),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False) | st.just(0.0),
    )
)
def test_bins_are_what_their_rules_say(values: np.ndarray) -> None:
    """Outer bins empty, a tenth of the rows and zero apart, percentiles and quantile bins as numpy has them."""
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
    """Two to the 128th, which no 32-bit float reaches; it survives JSON."""
    baseline = number_baseline("x", np.array([1, np.finfo(np.float32).max], dtype=np.float32))
    assert baseline.edges[-1] == 2.0**128
    assert from_json(FeatureBaseline, canonical_json(baseline)) == baseline
    assert edges_of(baseline)[-1] == np.inf


def test_a_constant_and_an_empty_feature() -> None:
    """A constant has one cell, and one on either side; without a value there is one bin and null."""
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
    """None where all levels are kept, few cells where few are not; levels are known by their CRC-32 up to ten thousand."""
    baseline = category_baseline("x", [f"level {index}" for index in range(levels)] * 2)
    assert (baseline.tail, None if baseline.known is None else len(baseline.known)) == (tail, known)
    assert len(baseline.counts) == 20 + tail + 2
    assert (sum(baseline.counts), baseline.counts[-2]) == (2 * levels, 0)


def test_levels_that_cannot_be_written_are_of_the_tail() -> None:
    """A lone surrogate and a novel are counted, and not named."""
    baseline = category_baseline("x", ["\ud800"] * 5 + ["n" * 1000] * 4 + ["a"] * 2)
    assert (baseline.levels, baseline.tail, sum(baseline.counts[1:-2])) == (("a",), 32, 9)
    assert from_json(FeatureBaseline, canonical_json(baseline)) == baseline
