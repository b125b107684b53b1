"""What cells stand for, and where a distribution runs between edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline import category_baseline, number_baseline
from mlops_runtime.monitor.drift.layout import cdf, layout, percentile_rank


def test_cells_of_numbers() -> None:
    """Bins, a value of its own, what lies outside, nulls; as many names as cells."""
    random = np.random.default_rng(1)
    values = np.where(random.random(5000) < 0.3, 0.0, random.exponential(5, 5000)).astype(np.float32)
    feature = number_baseline("units", values)
    cells = layout(feature)
    assert len(cells.names) == len(feature.counts)
    assert [cells.names[cell] for cell in cells.values] == ["value 0"]
    assert cells.outside == (0, len(feature.counts) - 2)
    assert (cells.names[0], cells.names[-1]) == ("below 0", "nulls")
    assert cells.names[cells.values[0] + 1].startswith("above 0 to ")
    assert cells.names[-2].startswith("above ")


def test_cells_of_levels() -> None:
    """Levels, rare ones, new ones, nulls; of an older baseline other levels."""
    levels = [f"l{index % 40}" for index in range(4000)] + [f"r{index}" for index in range(300)]
    feature = category_baseline("store", levels)
    cells = layout(feature)
    assert len(cells.names) == len(feature.counts)
    assert cells.new == len(feature.counts) - 2
    assert len(cells.rare) == feature.tail
    assert cells.names[cells.new] == "levels never seen before"
    old = layout(FeatureBaseline(name="store", type="category", levels=("a", "b"), counts=(5, 3, 2, 1)))
    assert (old.rare, old.new, old.values) == ((2,), None, (0, 1, 2))


def test_a_baseline_without_edges_is_one_cell() -> None:
    """All null."""
    assert layout(FeatureBaseline(name="x", type="number", counts=(0, 9))).names == ("all values", "nulls")


@pytest.mark.parametrize("kind", ["wide", "zeros", "steps"])
def test_the_cdf_of_the_baseline_is_that_of_its_values(kind: str) -> None:
    """To the width of a percentile, at any point; exactly at edges."""
    random = np.random.default_rng(2)
    values = {
        "wide": random.lognormal(2, 0.8, 20_000),
        "zeros": np.where(random.random(20_000) < 0.4, 0.0, random.exponential(5, 20_000)),
        "steps": np.round(random.lognormal(2, 0.5, 20_000)) / 2,
    }[kind].astype(np.float32)
    feature = number_baseline("x", values)
    bins = np.array(feature.counts[:-1], dtype=np.float64)
    ends = {"lowest": float(values.min()), "highest": float(values.max())}
    points = np.linspace(float(values.min()) - 1, float(values.max()) + 1, 301)
    expected = (values[None, :] < points[:, None]).mean(axis=1)
    assert np.abs(cdf(feature, bins, points, **ends) - expected).max() <= 0.015
    edges = np.array(feature.edges)
    at_edges = (values.astype(np.float64)[None, :] < edges[:, None]).mean(axis=1)
    assert cdf(feature, bins, edges, **ends) == pytest.approx(at_edges, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_ranks_are_shares_and_rise(values: list[float], points: list[float]) -> None:
    """Between 0 and 1 and never falling."""
    ranks = percentile_rank(np.sort(np.array(values)), np.sort(np.array(points)))
    assert ((ranks >= 0) & (ranks <= 1)).all()
    assert (np.diff(ranks) >= -1e-12).all()
