"""The bootstrap: reproducible draws of whole calls, with intervals of the nominal coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.monitors import intervals
from mlops_runtime.monitor.monitors.intervals import Resampling, interval

CALLS = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@given(CALLS)
def test_rows_of_a_call_are_drawn_together(calls: list[int]) -> None:
    """In each draw all rows of a call have the same count, and the number of calls is unchanged."""
    call = np.array(calls)
    weights = np.concatenate(list(Resampling(call, resamples=20).row_weights()))
    assert weights.shape == (20, len(calls))
    distinct, first = np.unique(call, return_index=True)
    for code, place in zip(distinct, first, strict=True):
        assert (weights[:, call == code] == weights[:, [place]]).all()
    assert (weights[:, first].sum(axis=1) == len(distinct)).all()


@given(CALLS, st.randoms())
def test_sums_and_cells_are_those_of_the_drawn_rows(calls: list[int], random: object) -> None:
    """Both shortcuts equal the product of row weights and rows."""
    call = np.array(calls)
    generator = np.random.default_rng(len(calls))
    columns = generator.normal(size=(len(calls), 3))
    cells = generator.integers(0, 4, len(calls))
    resampling = Resampling(call, resamples=20)
    weights = np.concatenate(list(resampling.row_weights())).astype(np.float64)
    np.testing.assert_allclose(resampling.totals(columns), weights @ columns, atol=1e-9)
    np.testing.assert_allclose(resampling.cells(cells, 4), weights @ np.eye(4)[cells])


def test_the_same_calls_give_the_same_draws() -> None:
    """A recomputed report is identical."""
    call = np.arange(50)
    first, second = (Resampling(call).totals(np.arange(50.0)[:, np.newaxis]) for _ in range(2))
    assert (first == second).all()


def test_more_calls_than_clusters_are_dealt_into_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls beyond the bound on memory are grouped whole; the interval is as wide as with single calls."""
    generator = np.random.default_rng(3)
    call = np.repeat(np.arange(4000), 2)
    values = np.repeat(generator.normal(size=4000), 2)[:, np.newaxis]
    widths = []
    for maximum in (10_000, 1000):
        monkeypatch.setattr(intervals, "MAXIMUM_CLUSTERS", maximum)
        resampling = Resampling(call)
        assert resampling.clusters == min(4000, maximum)
        totals = resampling.totals(np.concatenate([values, np.ones_like(values)], axis=1))
        widths.append((totals[:, 0] / totals[:, 1]).std())
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    """About 95 % of intervals for 200 samples of 100 clustered rows contain the mean; with independent rows fewer would."""
    generator = np.random.default_rng(4)
    call = np.repeat(np.arange(40), 5)
    hits = {True: 0, False: 0}
    for _ in range(200):
        values = generator.normal(size=40)[call] + 0.2 * generator.normal(size=200)
        for is_clustered in hits:
            draws = Resampling(call if is_clustered else np.arange(200)).totals(values[:, np.newaxis])[:, 0] / 200
            bounds = interval(draws)
            assert bounds is not None
            hits[is_clustered] += bounds.low <= 0 <= bounds.high
    assert hits[True] >= 178
    assert hits[False] < 140


def test_infinite_draws_give_infinite_bounds_and_undefined_ones_none() -> None:
    """Bounds come from draws, never from their means; without most of the draws there is no interval."""
    bounds = interval(np.array([1.0] * 80 + [np.inf] * 20))
    assert bounds is not None
    assert (bounds.low, bounds.high, bounds.deviation) == (1.0, np.inf, None)
    assert interval(np.array([np.nan] * 60 + [1.0] * 40)) is None
    assert interval(np.array([])) is None


def test_the_basic_interval_reflects_the_percentiles() -> None:
    """Applies to statistics that resampling can only raise."""
    draws = np.arange(101.0)
    percentile, basic = interval(draws), interval(draws, value=40.0)
    assert percentile is not None
    assert basic is not None
    assert (basic.low, basic.high) == (80 - percentile.high, 80 - percentile.low)
