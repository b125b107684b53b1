"""By how much clustered rows vary more than independent ones would: design effects, measured between the clusters of a baseline.

Rows of one household, store or day resemble each other. A window of them holds less evidence than its row count says; taken for
independent, such rows alarm on about half of all quiet windows.

See: Rao and Scott 1981, "The analysis of categorical data from complex sample surveys", JASA 76; Rao and Scott 1984,
"On chi-squared tests for multiway contingency tables", Annals of Statistics 12; Good 1953, "The population frequencies of
species and the estimation of population parameters", Biometrika 40.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# entries of one table of clusters by cells: 16 MB
_TABLE = 1 << 21

Codes = npt.NDArray[np.int64]
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DesignEffects:
    """The generalised design effects of a feature's cells.

    Args:
        mean: Their mean, at least 1: it divides the chi-square statistic (first-order correction).
        spread: Their squared coefficient of variation: with it statistic and degrees of freedom are Satterthwaite's (second order).
        cells: The design effect of each cell's share, at least 1; 1 for a cell that is empty in the baseline.
        jumps: How many rows of a cell come at once where many do: the third over the second absolute moment of what clusters bring
            beyond the mean, at least the cell's design effect.
        rows: Mean rows of a cluster.
        excess: By how much the chi-square statistic of a single cluster varies more than if shares were normal between clusters:
            its squared coefficient of variation less that which the spread explains, at least 0. Days are near 0: each is a sum
            over many customers. Households are not: a few of them buy one thing only.
    """

    mean: float
    spread: float
    cells: tuple[float, ...]
    jumps: tuple[float, ...]
    rows: float = 1.0
    excess: float = 0.0


def design_effects(cells: Codes, size: int, clusters: Codes | None) -> DesignEffects:
    """Return the design effects of shares of cells when rows come in clusters.

    They are the eigenvalues of the shares' covariance between clusters over the multinomial's. With fewer than two clusters, or
    without, nothing can be said: all are 1. The spread is rid of what the sampling of clusters adds to it (Wishart moments).

    Args:
        cells: Each row's cell, shape (rows,).
        size: Number of cells.
        clusters: Code of each row's cluster, from 0, shape (rows,). Default of the callers: None, independent rows.

    Example:
        >>> effects = design_effects(np.array([0, 0, 0, 1, 1, 1]), 2, np.array([0, 0, 0, 1, 1, 1]))
        >>> round(effects.mean, 9), effects.spread, len(effects.cells)
        (6.0, 0.0, 2)
    """
    none = DesignEffects(1.0, 0.0, (1.0,) * size, (1.0,) * size)
    if clusters is None or len(cells) == 0:
        return none
    totals = np.bincount(cells, minlength=size).astype(np.float64)
    used = totals > 0
    share = totals[used] / totals.sum()
    if len(share) < 2:
        return none
    products, cubes, number, squares = np.zeros((len(share), len(share))), np.zeros(len(share)), 0, 0.0
    for table in _tables(cells, size, clusters):
        number += len(table)
        residual = table[:, used] - table.sum(axis=1, keepdims=True) * share
        products += residual.T @ residual
        cubes += (np.abs(residual) ** 3).sum(axis=0)
        squares += float(((residual**2 / share).sum(axis=1) ** 2).sum())
    if number < 2:
        return none
    scale = 1 / np.sqrt(share)
    # eigenvalues of this are the design effects, and one 0; only their sum and sum of squares are needed
    relative = products * np.outer(scale, scale) * (number / (number - 1) / totals.sum())
    first, second = float(np.trace(relative)), float((relative**2).sum())
    ranks, freedom = len(share) - 1, number - 1
    spread = 0.0
    if freedom > 1 and first > 0:
        second = freedom**2 / ((freedom - 1) * (freedom + 2)) * (second - first**2 / freedom)
        spread = min(float(ranks - 1), max(0.0, ranks * second / first**2 - 1))
    single = np.ones(size)
    single[used] = np.maximum(1.0, np.diag(relative) / (1 - share))
    jumps = np.ones(size)
    second_moment = np.diag(products)
    jumps[used] = np.divide(cubes, second_moment, out=np.ones(len(share)), where=second_moment > 0)
    jumps = np.maximum(jumps, single)
    # of one cluster: the mean is first * rows * (number - 1) / number**2
    rows = float(totals.sum())
    mean = first * rows * (number - 1) / number**2
    excess = 0.0 if mean == 0 else max(0.0, squares / number / mean**2 - 1 - 2 * (1 + spread) / ranks)
    return DesignEffects(
        max(1.0, first / ranks), spread, tuple(single.tolist()), tuple(jumps.tolist()), rows / number, excess
    )


def mean_design_effect(values: Wide, clusters: Codes | None) -> float:
    """Return the design effect of a mean when rows come in clusters, at least 1.

    Args:
        values: One value a row, NaN for null.
        clusters: As in `design_effects`.

    Example:
        >>> mean_design_effect(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
        4.0
    """
    known = ~np.isnan(values)
    if clusters is None or not known.any():
        return 1.0
    values, clusters = values[known], clusters[known]
    residual = values - values.mean()
    squares = float((residual**2).sum())
    number = int(np.count_nonzero(np.bincount(clusters)))
    if number < 2 or squares == 0:
        return 1.0
    between = np.bincount(clusters, weights=residual)
    return max(1.0, float((between**2).sum() / squares * number / (number - 1)))


def unseen_share(levels: Codes, clusters: Codes | None) -> float:
    """Return the share of rows of levels not seen before that the next cluster brings without any drift.

    It is Good's estimate, leaving out one cluster at a time: the share of the rows whose level occurs in no other cluster (with
    independent rows: in no other row). A column of many levels always brings some.

    Args:
        levels: Code of each row's level, from 0, negative for null, shape (rows,).
        clusters: As in `design_effects`.

    Example:
        >>> unseen_share(np.array([0, 0, 1, 2]), None)
        0.5
        >>> unseen_share(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]))
        0.5
    """
    known = levels >= 0
    if not known.any():
        return 0.0
    rows, total = np.bincount(levels[known]), len(levels)
    if clusters is None:
        return float((rows == 1).sum() / total)
    width = int(clusters.max()) + 1
    pairs = np.unique(levels[known] * width + clusters[known])
    return float(rows[np.bincount(pairs // width, minlength=len(rows)) == 1].sum() / total)


def _tables(cells: Codes, size: int, clusters: Codes) -> Iterator[Wide]:
    """Yield tables of clusters by cells, each of bounded size, without empty clusters."""
    number, step = int(clusters.max()) + 1, max(1, _TABLE // size)
    if number > step:
        order = np.argsort(clusters, kind="stable")
        cells, clusters = cells[order], clusters[order]
    for start in range(0, number, step):
        low, high = (0, len(cells)) if number <= step else np.searchsorted(clusters, [start, start + step])
        width = min(step, number - start)
        keys = (clusters[low:high] - start) * size + cells[low:high]
        table = np.bincount(keys, minlength=width * size).reshape(width, size).astype(np.float64)
        yield table[table.any(axis=1)]
