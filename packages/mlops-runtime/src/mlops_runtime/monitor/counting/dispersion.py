"""Design effects of cell shares and of means: the variance of clustered rows relative to that of independent rows.

numpy only. Rows of one household, store or day are correlated, so a window contains less information than its row count suggests:
treated as independent, such rows cause false alarms in about half of all windows. Design effects are estimated between the clusters
of a baseline. With conditions, the variance that conditions explain is not counted as variance between clusters: residuals are
taken from the shares of the row's own stratum.

See: Rao and Scott 1981, "The analysis of categorical data from complex sample surveys", JASA 76; Rao and Scott 1984,
"On chi-squared tests for multiway contingency tables", Annals of Statistics 12.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

# maximum size of a table of clusters by cells or strata: 16 MB
_TABLE = 1 << 21

Codes = npt.NDArray[np.int64]
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DesignEffects:
    """The generalised design effects of a feature's cells."""

    mean: float  # their mean, at least 1, by which the chi-square statistic is divided (first-order correction)
    # their squared coefficient of variation, for Satterthwaite's statistic and degrees of freedom (second order)
    spread: float
    # the design effect of each cell's share, at least 1; 1 for a cell that is empty in the baseline
    cells: tuple[float, ...]
    # size of bursts of a cell's rows: the ratio of the third to the second absolute moment of the clusters' residuals,
    # at least the cell's design effect
    jumps: tuple[float, ...]
    rows: float = 1.0  # mean number of rows a cluster
    # excess variation of a single cluster's chi-square statistic over shares that are normal between clusters: its
    # squared coefficient of variation minus the part due to `spread`, at least 0. It is near 0 for days, each a sum
    # over many customers, and large for households, a few of which buy a single product
    excess: float = 0.0
    # effective number of clusters: residual degrees of freedom, see `degrees_of_freedom`, plus 1; None for independent
    # rows
    clusters: int | None = None


def design_effects(cells: Codes, size: int, clusters: Codes | None, strata: Codes | None = None) -> DesignEffects:
    """Return the design effects of the cell shares of clustered rows.

    They are the eigenvalues of the shares' covariance between clusters relative to the multinomial covariance. With fewer than two
    clusters they cannot be estimated and are 1. The spread is corrected for the sampling of clusters (Wishart moments).

    Args:
        cells: Each row's cell, shape (rows,).
        size: Number of cells.
        clusters: Code of each row's cluster, from 0, shape (rows,); None for independent rows.
        strata: Code of each row's stratum, from 0, shape (rows,): the expected shares of a cluster are those of its rows' strata.
            Default: those of all rows.

    Example:
        >>> effects = design_effects(np.array([0, 0, 0, 1, 1, 1]), 2, np.array([0, 0, 0, 1, 1, 1]))
        >>> round(effects.mean, 9), effects.spread, len(effects.cells)
        (6.0, 0.0, 2)
    """
    none = DesignEffects(1.0, 0.0, (1.0,) * size, (1.0,) * size)
    if clusters is None or len(cells) == 0:
        return none
    strata = np.zeros(len(cells), dtype=np.int64) if strata is None else strata
    width = int(strata.max()) + 1
    known = np.bincount(strata * size + cells, minlength=width * size).reshape(width, size).astype(np.float64)
    rows = known.sum(axis=1)
    used = known.sum(axis=0) > 0
    ranks = int(used.sum()) - 1
    if ranks < 1:
        return replace(none, clusters=max(1, round(degrees_of_freedom(clusters, strata)) + 1))
    shares = known[:, used] / np.maximum(rows, 1)[:, None]
    products, number, freedom, squares = np.zeros((ranks + 1, ranks + 1)), 0, 0.0, 0.0
    batches = _Batches(ranks + 1)
    for table, mix in cluster_tables(cells, size, clusters, strata):
        number += len(table)
        freedom += _freedom(mix, rows)
        expected = mix @ shares
        residual = table[:, used] - expected
        share = expected / mix.sum(axis=1, keepdims=True)
        # a cell with an expected share of 0 has no residual
        scaled = residual / np.sqrt(np.where(share > 0, share, 1.0))
        products += scaled.T @ scaled
        squares += float(((scaled**2).sum(axis=1) ** 2).sum())
        batches.add(residual, expected * (1 - share))
    if number < 2 or freedom <= 0:
        return replace(none, clusters=1)
    total = float(rows.sum())
    # its eigenvalues are the design effects and one 0; only their sum and sum of squares are needed
    relative = products * (number / freedom / total)
    first, second = float(np.trace(relative)), float((relative**2).sum())
    spread = 0.0
    if freedom > 1 and first > 0:
        second = freedom**2 / ((freedom - 1) * (freedom + 2)) * (second - first**2 / freedom)
        spread = min(float(ranks - 1), max(0.0, ranks * second / first**2 - 1))
    single, jumps = np.ones(size), np.ones(size)
    single[used], jumps[used] = batches.effects(number / freedom)
    # mean statistic of one cluster
    mean = float(np.trace(products)) / number
    excess = 0.0 if mean == 0 else max(0.0, squares / number / mean**2 - 1 - 2 * (1 + spread) / ranks)
    return DesignEffects(
        max(1.0, first / ranks),
        spread,
        tuple(single.tolist()),
        tuple(jumps.tolist()),
        total / number,
        excess,
        round(freedom) + 1,
    )


def union_jumps(
    cells: Codes, unions: npt.NDArray[np.bool_], clusters: Codes | None, strata: Codes | None = None
) -> tuple[float, ...]:
    """Return the size of bursts of each union of cells, as `DesignEffects.jumps` of single cells.

    Args:
        cells: As in `design_effects`.
        unions: Membership of cells in unions, shape (unions, cells).
        clusters: As in `design_effects`.
        strata: As in `design_effects`.

    Example:
        >>> unions = np.array([[True, True, False], [False, True, True]])
        >>> found = union_jumps(np.array([0, 1, 1, 2, 2, 2]), unions, np.array([0, 0, 0, 1, 1, 1]))
        >>> [round(jumps, 9) for jumps in found]
        [6.0, 1.2]
    """
    number_of, size = len(unions), unions.shape[1]
    if clusters is None or len(cells) == 0:
        return (1.0,) * number_of
    strata = np.zeros(len(cells), dtype=np.int64) if strata is None else strata
    width = int(strata.max()) + 1
    known = np.bincount(strata * size + cells, minlength=width * size).reshape(width, size)
    rows, members = known.sum(axis=1).astype(np.float64), unions.T.astype(np.float64)
    shares = known @ members / np.maximum(rows, 1)[:, None]
    batches, number, freedom = _Batches(number_of), 0, 0.0
    for table, mix in cluster_tables(cells, size, clusters, strata):
        number += len(table)
        freedom += _freedom(mix, rows)
        expected = mix @ shares
        batches.add(table @ members - expected, expected * (1 - expected / mix.sum(axis=1, keepdims=True)))
    if number < 2 or freedom <= 0:
        return (1.0,) * number_of
    jumps: list[float] = batches.effects(number / freedom)[1].tolist()
    return tuple(jumps)


class _Batches:
    """Moments of the clusters' residuals of each cell or union of cells."""

    def __init__(self, size: int) -> None:
        self._cubes, self._seconds, self._multinomial = np.zeros(size), np.zeros(size), np.zeros(size)

    def add(self, residual: Wide, multinomial: Wide) -> None:
        """Add clusters by their residuals and the variance of independent rows, each of shape (clusters, cells)."""
        self._cubes += (np.abs(residual) ** 3).sum(axis=0)
        self._seconds += (residual**2).sum(axis=0)
        self._multinomial += multinomial.sum(axis=0)

    def effects(self, scale: float) -> tuple[Wide, Wide]:
        """Return design effects and jumps; ``scale`` corrects the variance for the degrees of freedom."""
        some = np.where(self._multinomial > 0, self._multinomial, 1.0)
        single = np.maximum(1.0, self._seconds / some * scale)
        jumps = np.divide(self._cubes, self._seconds, out=np.ones(len(single)), where=self._seconds > 0)
        return single, np.maximum(jumps, single)


def _freedom(mix: Wide, rows: Wide) -> float:
    """Return the degrees of freedom of the residuals of some clusters, see `degrees_of_freedom`."""
    return float((1 - (mix**2 / np.maximum(rows, 1)).sum(axis=1) / mix.sum(axis=1)).sum())


def degrees_of_freedom(clusters: Codes, strata: Codes | None = None) -> float:
    """Return the residual degrees of freedom of clusters: one less than clusters, or one less in each stratum.

    A cluster contributes to its own expectation: in each of its strata by its share of the stratum's rows.

    Example:
        >>> hours, clusters = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
        >>> degrees_of_freedom(clusters), degrees_of_freedom(clusters, hours), degrees_of_freedom(np.arange(6), hours)
        (2.0, 2.0, 4.0)
    """
    strata = np.zeros(len(clusters), dtype=np.int64) if strata is None else strata
    width = int(strata.max()) + 1
    keys, counts = np.unique(clusters * width + strata, return_counts=True)
    of, stratum = keys // width, keys % width
    sizes, rows = np.bincount(clusters), np.bincount(strata)
    held = counts / sizes[of] * counts / rows[stratum]
    return float(len(np.unique(of)) - held.sum())


def cluster_hours(clusters: Codes, times: npt.NDArray[np.datetime64]) -> float | None:
    """Return the duration of a cluster in hours, the median interval between starts; None if clusters overlap in time.

    Args:
        clusters: As in `design_effects`.
        times: Each row's time, shape (rows,); rows without a time are ignored.

    Example:
        >>> hours = np.datetime64("2017-03-06T00") + np.arange(96) * np.timedelta64(1, "h")
        >>> cluster_hours(np.repeat(np.arange(4), 24), hours), cluster_hours(np.arange(96) % 4, hours)
        (24.0, None)
    """
    known = ~np.isnat(times)
    order = np.argsort(times[known], kind="stable")
    codes, at = clusters[known][order], times[known][order].astype("datetime64[s]")
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    if len(starts) < 2 or len(starts) > len(np.unique(codes)):
        return None
    return float(np.median(np.diff(at[starts]).astype(np.float64)) / 3600)


def mean_design_effect(values: Wide, clusters: Codes | None, strata: Codes | None = None) -> float:
    """Return the design effect of the mean of clustered rows, at least 1.

    Args:
        values: One value a row; NaN is null.
        clusters: As in `design_effects`.
        strata: As in `design_effects`: the expected value of a row is the mean of its stratum.

    Example:
        >>> mean_design_effect(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
        4.0
    """
    known = ~np.isnan(values)
    if clusters is None or not known.any():
        return 1.0
    values, clusters = values[known], clusters[known]
    strata = np.zeros(len(values), dtype=np.int64) if strata is None else strata[known]
    means = np.bincount(strata, weights=values) / np.maximum(1, np.bincount(strata))
    residual = values - means[strata]
    squares, number = float((residual**2).sum()), int(np.count_nonzero(np.bincount(clusters)))
    freedom = degrees_of_freedom(clusters, strata)
    if number < 2 or squares == 0 or freedom <= 0:
        return 1.0
    between = np.bincount(clusters, weights=residual)
    return max(1.0, float((between**2).sum() / squares * number / freedom))


def cluster_tables(cells: Codes, size: int, clusters: Codes, strata: Codes) -> Iterator[tuple[Wide, Wide]]:
    """Yield tables of clusters by cells, and of the same clusters by strata, of bounded size and without empty clusters."""
    width = int(strata.max()) + 1
    number, step = int(clusters.max()) + 1, max(1, _TABLE // max(size, width))
    if number > step:
        order = np.argsort(clusters, kind="stable")
        cells, clusters, strata = cells[order], clusters[order], strata[order]
    for start in range(0, number, step):
        low, high = (0, len(cells)) if number <= step else np.searchsorted(clusters, [start, start + step])
        rows = min(step, number - start)
        own = clusters[low:high] - start
        table, mix = (
            np.bincount(own * columns + codes[low:high], minlength=rows * columns).reshape(rows, columns)
            for codes, columns in ((cells, size), (strata, width))
        )
        some = mix.any(axis=1)
        yield table[some].astype(np.float64), mix[some].astype(np.float64)
