"""What each cell of a baseline stands for, and where the baseline's distribution runs between its edges."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.drift.wording import number

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Cells by what they are; every cell but null is a bin, a value, a level or a group of levels.

    Args:
        names: What each cell is called in a sentence.
        values: Cells of one value or level, or of a few rare levels: each has a share of its own that can move.
        rare: Cells of levels that are not kept one by one.
        new: The cell of levels not seen before; None where they are not told from rare ones.
        outside: Cells below and above the baseline's range.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    rare: tuple[int, ...] = ()
    new: int | None = None
    outside: tuple[int, ...] = ()


def layout(feature: FeatureBaseline) -> Layout:
    """Return what a feature's cells stand for.

    Example:
        >>> layout(FeatureBaseline(name="store", type="category", levels=("a",), counts=(5, 2, 0))).names
        ("level 'a'", 'other levels', 'nulls')
        >>> layout(FeatureBaseline(name="price", type="number", edges=(2.0, 3.0), counts=(0, 9, 0, 1), bounded=True)).names
        ('below 2', '2 to 3', 'above 3', 'nulls')
    """
    return _levels(feature) if feature.type == "category" else _bins(feature)


def cdf(feature: FeatureBaseline, bins: Wide, points: Wide, *, lowest: float, highest: float) -> Wide:
    """Return the share of known values below each point: exact at edges, between them as the baseline's percentiles run.

    Args:
        feature: The feature's baseline.
        bins: Counts of its bins, without null, shape (bins,).
        points: Where, shape (points,).
        lowest: The smallest value: where the percentiles say nothing, a bin is taken for uniform from here.
        highest: The largest.

    Example:
        >>> feature = FeatureBaseline(name="x", type="number", edges=(1.0,), counts=(5, 5, 0), quantiles=(0.0, 1.0, 2.0))
        >>> cdf(feature, np.array([1.0, 3.0]), np.array([0.5, 1.0, 1.5]), lowest=0.0, highest=2.0).tolist()
        [0.125, 0.25, 0.625]
    """
    edges = np.array(feature.edges, dtype=np.float64)
    total = bins.sum()
    if total == 0:
        return np.zeros(len(points))
    below = np.concatenate([[0.0], np.cumsum(bins)]) / total
    # left: an edge is the end of the bin below it
    index = np.searchsorted(edges, points, side="left")
    ends = np.concatenate([[min(lowest, edges[0] if len(edges) else lowest)], edges, [highest]])
    low, high = ends[index], np.maximum(ends[index], ends[index + 1])
    percentiles = np.array(feature.quantiles or (), dtype=np.float64)
    at, start, stop = (percentile_rank(percentiles, where) for where in (points, low, high))
    start = np.where(index == 0, 0.0, start)
    stop = np.where(index == len(edges), 1.0, stop)
    width, run = stop - start, high - low
    uniform = np.divide(points - low, run, out=np.ones_like(run), where=run > 0)
    inside = np.divide(at - start, width, out=uniform, where=width > 0)
    share = below[index] + np.clip(inside, 0.0, 1.0) * (below[index + 1] - below[index])
    return np.asarray(np.where(points > highest, 1.0, share), dtype=np.float64)


def percentile_rank(percentiles: Wide, points: Wide) -> Wide:
    """Return the share of the baseline's values below each point, as its percentiles tell it.

    Example:
        >>> percentile_rank(np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.5])).round(3).tolist()
        [0.333, 0.833]
    """
    steps = len(percentiles) - 1
    if steps < 1:
        return np.zeros(len(points))
    after = np.searchsorted(percentiles, points, side="left")
    before = np.clip(after - 1, 0, steps - 1)
    low, high = percentiles[before], percentiles[before + 1]
    part = np.divide(points - low, high - low, out=np.ones(len(points)), where=high > low)
    return np.asarray(np.where(after == 0, 0.0, np.minimum(1.0, (before + part) / steps)), dtype=np.float64)


def _levels(feature: FeatureBaseline) -> Layout:
    levels = [f"level {level!r}" for level in feature.levels]
    number_of = len(levels)
    if feature.tail is None:
        return Layout((*levels, "other levels", "nulls"), tuple(range(number_of + 1)), rare=(number_of,))
    new = number_of + feature.tail
    rare = tuple(range(number_of, new))
    names = (*levels, *["a rare level"] * feature.tail, "levels never seen before", "nulls")
    return Layout(names, tuple(range(new)), rare=rare, new=new)


def _bins(feature: FeatureBaseline) -> Layout:
    edges = feature.edges
    # a bin from a value to the next float above it holds that value only
    narrow = np.array(edges, dtype=np.float64).astype(np.float32)
    single = np.nextafter(narrow[:-1], np.float32(np.inf)) == narrow[1:] if len(edges) > 1 else np.empty(0, dtype=bool)
    names = ["all values"]
    if edges:
        names = [f"below {number(edges[0])}"]
        for cell, (low, high) in enumerate(pairwise(edges)):
            # the value itself: the next float above 0 is nobody's number
            start = f"above {number(edges[cell - 1])}" if cell and single[cell - 1] else number(low)
            names.append(f"value {number(low)}" if single[cell] else f"{start} to {number(high)}")
        # the last edge of a bounded baseline is the next float above its maximum
        last = feature.bounded or (len(single) > 0 and single[-1])
        top = edges[-2] if len(single) and single[-1] else edges[-1]
        names.append(f"above {number(top)}" if last else f"{number(top)} and above")
    outside = (0, len(edges)) if feature.bounded and edges else ()
    values = tuple(int(cell) + 1 for cell in np.flatnonzero(single))
    return Layout((*names, "nulls"), values, outside=outside)
