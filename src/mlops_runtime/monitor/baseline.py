"""Build a baseline from a training split: quantile bins, mass points, frequent levels, over-dispersion.

numpy only. The bins are made once, by training; live data are only counted into them, so counts of any parts of a window add up.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.cells import Numbers, number_cells

BINS = 10
LEVELS = 20

Codes = npt.NDArray[np.int64]


def number_baseline(name: str, values: Numbers, *, clusters: Codes | None = None) -> FeatureBaseline:
    """Return the baseline of a numeric feature.

    The inner edges are the values' deciles. A value that holds a tenth or more of the rows (a zero, a default) gets a bin of
    its own: its share may drift while all quantiles stay.

    Args:
        name: The feature's name.
        values: One value a row; NaN is null.
        clusters: Code of each row's cluster, for the over-dispersion. Default: rows are taken for independent.

    Raises:
        ValueError: If a value is infinite.

    Example:
        >>> number_baseline("units", np.array([0, 0, 0, 5, 9, np.nan], dtype=np.float32)).counts
        (0, 3, 0, 1, 0, 1, 0, 1)
    """
    values = np.asarray(values, dtype=np.float32)
    if np.isinf(values).any():
        raise ValueError(
            f"feature {name!r} must be finite or null in the training split, got {int(np.isinf(values).sum())} infinite values"
        )
    known = values[~np.isnan(values)]
    edges = _edges(known)
    cells = number_cells(values, edges)
    size = len(edges) + 2
    wide = known.astype(np.float64)
    return FeatureBaseline(
        name=name,
        type="number",
        counts=tuple(np.bincount(cells, minlength=size).tolist()),
        edges=tuple(edges.astype(np.float64).tolist()),
        overdispersion=overdispersion(cells, size, clusters),
        mean=float(wide.mean()) if len(known) else None,
        standard_deviation=float(wide.std()) if len(known) else None,
    )


def category_baseline(name: str, values: Sequence[str | None], *, clusters: Codes | None = None) -> FeatureBaseline:
    """Return the baseline of a categorical feature: its twenty most frequent levels, then other, then null.

    Args:
        name: The feature's name.
        values: One level a row; None and the empty text are null.
        clusters: As in `number_baseline`.

    Example:
        >>> category_baseline("store", ["b", "a", "b", None]).levels
        ('b', 'a')
    """
    column = np.array([value or "" for value in values], dtype=object)
    present, counts = np.unique(column[column != ""].astype(str), return_counts=True)
    # most frequent first, ties by name: the same data give the same baseline
    order = np.lexsort((present, -counts))[:LEVELS]
    levels = tuple(present[order].tolist())
    position = {level: index for index, level in enumerate(levels)}
    other, null = len(levels), len(levels) + 1
    cells = np.array([null if value == "" else position.get(value, other) for value in column], dtype=np.int64)
    return FeatureBaseline(
        name=name,
        type="category",
        counts=tuple(np.bincount(cells, minlength=null + 1).tolist()),
        levels=levels,
        overdispersion=overdispersion(cells, null + 1, clusters),
    )


def cluster_codes(values: Sequence[Any]) -> Codes:
    """Return a code for each value of the cluster column, the same for equal values."""
    return np.unique(np.array([str(value) for value in values]), return_inverse=True)[1].astype(np.int64)


def overdispersion(cells: Codes, size: int, clusters: Codes | None) -> float:
    """Return by how much clustered rows vary more than independent ones would: the mean generalised design effect.

    It divides the chi-square statistic of a later window whose rows come in clusters of the same kind (Rao and Scott's first-order
    correction). With fewer than two clusters nothing can be said, and 1 is returned; a value below 1 is raised to 1.

    See: Rao and Scott 1981, "The analysis of categorical data from complex sample surveys", JASA 76, and Rao and Scott 1984,
    "On chi-squared tests for multiway contingency tables", Annals of Statistics 12.

    Args:
        cells: Each row's cell.
        size: Number of cells.
        clusters: Code of each row's cluster.

    Example:
        >>> overdispersion(np.array([0, 0, 0, 1, 1, 1]), 2, np.array([0, 0, 0, 1, 1, 1]))
        6.0
    """
    if clusters is None or len(cells) == 0:
        return 1.0
    number = int(clusters.max()) + 1
    table = np.bincount(clusters * size + cells, minlength=number * size).reshape(number, size).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    if number < 2 or table.shape[1] < 2:
        return 1.0
    rows = table.sum()
    share = table.sum(axis=0) / rows
    residual = table - table.sum(axis=1, keepdims=True) * share
    spread = (residual**2 / (rows * share)).sum()
    return max(1.0, float(spread * number / ((number - 1) * (table.shape[1] - 1))))


def _edges(known: Numbers) -> Numbers:
    if len(known) == 0:
        return np.empty(0, dtype=np.float32)
    deciles = np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf").astype(np.float32)
    levels, counts = np.unique(known, return_counts=True)
    mass = levels[counts * BINS >= len(known)]
    # nothing finite is above the largest float
    above = np.nextafter(mass[mass < np.finfo(np.float32).max], np.float32(np.inf))
    return np.unique(np.concatenate([deciles, mass, above]))
