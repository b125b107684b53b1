"""Tail cells of numbers: finer bins within the outer deciles of a baseline, to detect shifts of the tails alone.

numpy only. Besides the deciles, a baseline has edges at 1, 2.5, 5, 95, 97.5 and 99 %. Comparisons of whole distributions use the
deciles only (see `tenths`); the test of the tails, and the estimate of performance before labels arrive, use the finer bins.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import Numbers

# tail levels in thousandths, from either end, the outermost first
LEVELS = (10, 25, 50)
# minimum rows on either side of a tail edge: a share of fewer rows is too imprecise
MINIMUM_ROWS = 50

Wide = npt.NDArray[np.float64]
Members = npt.NDArray[np.bool_]


def tail_edges(ordered: Numbers, edges: Sequence[float]) -> tuple[float, ...]:
    """Return the edges within the outer deciles, ascending, omitting those with fewer than 50 rows on a side.

    About 1,000 distinct values have the edges at 5 and 95 %, 5,000 all six, and 900 none.

    Args:
        ordered: The finite values, ascending.
        edges: Edges of deciles and point masses, with both ends.

    Example:
        >>> tail_edges(np.arange(1000, dtype=np.float32), (0.0, 100.0, 900.0, 1000.0))
        (50.0, 950.0)
    """
    rows, bounds = len(ordered), np.array(edges, dtype=np.float64)
    found: list[float] = []
    for upper in (False, True):
        outer = rows if upper else 0
        for level in LEVELS:
            beyond = -(-rows * level // 1000)
            edge = ordered[rows - beyond if upper else beyond] if 0 < beyond < rows else np.float32(np.nan)
            at = int(np.searchsorted(bounds, edge, side="right"))
            if at in (0, len(bounds)) or float(edge) == bounds[at - 1]:
                continue
            with np.errstate(over="ignore"):
                around = np.array([bounds[at - 1], edge, bounds[at]]).astype(np.float32)
            start, here, stop = np.searchsorted(ordered, around).tolist()
            start, stop = (start, min(stop, outer)) if upper else (max(start, outer), stop)
            if min(here - start, stop - here) >= MINIMUM_ROWS:
                found.append(float(edge) + 0.0)
                outer = here
    return tuple(sorted(found))


def tenths(feature: FeatureBaseline) -> FeatureBaseline:
    """Return a feature without the edges in its tails.

    Example:
        >>> feature = FeatureBaseline(name="x", type="number", edges=(0.0, 5.0, 9.0), counts=(0, 4, 6, 0, 1), tail_edges=(5.0,))
        >>> tenths(feature).edges, tenths(feature).counts
        ((0.0, 9.0), (0, 10, 0, 1))
    """
    if not feature.tail_edges:
        return feature
    inner = tuple(edge for edge in feature.edges if edge not in feature.tail_edges)
    counts = tuple(of_tenths(feature, np.array(feature.counts)).tolist())
    return replace(feature, edges=inner, counts=counts, tail_edges=None, tail_jumps=None)


def of_tenths(feature: FeatureBaseline, counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Merge counts into the cells of `tenths`, along the last axis.

    Args:
        feature: The feature's baseline.
        counts: Counts of its cells, shape (..., cells).
    """
    if not feature.tail_edges:
        return counts
    finer = set(feature.tail_edges)
    starts = [
        0,
        *(cell for cell, edge in enumerate(feature.edges, start=1) if edge not in finer),
        len(feature.edges) + 1,
    ]
    return np.add.reduceat(counts, starts, axis=-1)


def beyond_edges(feature: FeatureBaseline) -> Members:
    """Return which cells are beyond each tail edge, away from the median of the baseline, shape (tail edges, cells).

    Example:
        >>> feature = FeatureBaseline(name="x", type="number", edges=(1.0, 5.0), counts=(1, 8, 1, 0), tail_edges=(1.0, 5.0))
        >>> beyond_edges(feature).astype(int).tolist()
        [[1, 0, 0, 0], [0, 0, 1, 0]]
    """
    cells = np.arange(len(feature.counts) - 1)
    ends = np.searchsorted(np.array(feature.edges), np.array(feature.tail_edges or ()))[:, None]
    below = cells <= ends
    known = np.array(feature.counts[:-1], dtype=np.float64)
    lower = (below @ known)[:, None] <= known.sum() / 2
    return np.column_stack([np.where(lower, below, ~below), np.zeros(len(ends), dtype=np.bool_)])
