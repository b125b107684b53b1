"""Tail edges: their positions, the baselines that have them, and the cells that add up to tenths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.baseline_cells import edges_of, number_cells
from mlops_runtime.monitor.counting.feature_baseline import number_baseline
from mlops_runtime.monitor.counting.tail_cells import MINIMUM_ROWS, beyond_edges, of_tenths, tail_edges, tenths

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("rows", "beyond"),
    [(900, []), (1100, [55, 55]), (2200, [55, 110, 110, 55]), (5000, [50, 125, 250, 250, 125, 50])],
)
def test_a_baseline_has_the_edges_that_its_rows_support(rows: int, beyond: list[int]) -> None:
    """Fifty rows beyond each edge and up to the next one support 5 % of about 1,000 rows, 2.5 % of 2,000, 1 % of 5,000."""
    feature = number_baseline("x", RANDOM.lognormal(size=rows).astype(np.float32))
    assert (beyond_edges(feature) @ feature.counts).tolist() == beyond
    assert len(feature.tail_edges or ()) == len(beyond)


@given(st.integers(0, 3000), st.integers(0, 99), st.sampled_from(["poisson", "cauchy", "rounded", "zeros"]))
def test_tenths_are_a_baseline_without_edges_in_its_tails(rows: int, seed: int, kind: str) -> None:
    """Tail cells hold fifty rows of any numbers and add up to their tenth of a baseline without tail edges."""
    random = np.random.default_rng(seed)
    values = {
        "poisson": random.poisson(3, rows),
        "cauchy": random.standard_cauchy(rows),
        "rounded": np.round(random.normal(0, 1, rows), 1),
        "zeros": random.lognormal(size=rows) * (random.random(rows) < 0.06),
    }[kind].astype(np.float32)
    feature = number_baseline("x", values)
    whole = tenths(feature)
    assert not {*whole.edges} & {*(feature.tail_edges or ())}
    for one in (feature, whole):
        counted = np.bincount(number_cells(values, edges_of(one)), minlength=len(one.counts))
        assert tuple(counted.tolist()) == one.counts
    assert tuple(of_tenths(feature, np.array(feature.counts)).tolist()) == whole.counts
    at = np.searchsorted(feature.edges, feature.tail_edges or ())
    assert all(feature.counts[cell] >= MINIMUM_ROWS for cell in {*at.tolist(), *(at + 1).tolist()})


def test_values_that_hold_a_tail_have_no_edge_in_it() -> None:
    """With nine of ten rows at zero the lower tail is all zero, and the upper one has its own edges."""
    values = np.concatenate([np.zeros(9_000), np.arange(1, 1_001)]).astype(np.float32)
    feature = number_baseline("x", values)
    assert feature.tail_edges == (501.0, 751.0, 901.0)
    assert tail_edges(np.empty(0, dtype=np.float32), ()) == ()
    assert number_baseline("k", np.full(9_000, 7.0)).tail_edges is None
