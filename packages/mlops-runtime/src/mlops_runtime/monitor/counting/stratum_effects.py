"""Dispersion between clusters by stratum, relative to that of all strata.

numpy only. Products on sale vary more from week to week than others: those with a deep discount belong to one promotion. The design
effect of all strata is too small for them, and each week of promotions would count as drift. A stratum's own design effect is
imprecise if it has few clusters, so it is shrunk to the mean by its credibility: the part of the variance between strata that the
sampling of clusters does not explain.

See: Buehlmann and Straub 1970, "Glaubwuerdigkeit fuer Schadensaetze", Mitteilungen der Vereinigung Schweizerischer
Versicherungsmathematiker 70 (credibility of a group's own mean); Smyth 2004, "Linear models and empirical Bayes methods",
Statistical Applications in Genetics and Molecular Biology 3 (degrees of freedom of variances drawn together).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import StratumDispersion
from mlops_runtime.monitor.counting.dispersion import Codes, DesignEffects, cluster_tables

# standard errors above its mean that Cochran's Q exceeds in about one of a hundred baselines with homogeneous strata
_CHANCE = 3.0

Wide = npt.NDArray[np.float64]


def stratum_effects(
    cells: Codes, kept: npt.NDArray[np.bool_], clusters: Codes, strata: Codes, within: DesignEffects
) -> tuple[StratumDispersion, ...] | None:
    """Return each stratum's dispersion; None if strata do not differ by more than chance.

    Args:
        cells: Each row's cell, shape (rows,).
        kept: Cells to include, shape (cells,): without the cells of rare levels, whose noise conceals the others.
        clusters: Code of each row's cluster, from 0, shape (rows,).
        strata: Code of each row's stratum, from 0, shape (rows,).
        within: Design effects of all rows, relative to their own strata.

    Example:
        >>> clusters, rows = np.repeat(np.arange(40), 50), np.arange(2000)
        >>> strata, random = rows % 2, np.random.default_rng(1)
        >>> share = np.where(strata == 0, 0.5, np.repeat(random.random(40), 50))
        >>> cells, kept = (random.random(2000) < share).astype(np.int64), np.ones(2, dtype=bool)
        >>> quiet, wide = stratum_effects(cells, kept, clusters, strata, DesignEffects(1.0, 0.0, (2.0,) * 2, (2.0,) * 2))
        >>> quiet.times, wide.times > 3
        (1.0, True)
    """
    own = _own(cells, len(kept), clusters, strata, kept)
    some = (own.clusters > 1) & (own.ranks > 0) & (own.traces > 0)
    if some.sum() < 2:
        return None
    weight, effect = own.clusters[some] - 1, own.effects[some]
    variation = float((own.variation[some] * weight).sum() / weight.sum())
    mean = float((effect * weight).sum() / weight.sum())
    noise, total, freedom = variation * mean**2, float(weight.sum()), len(weight) - 1
    beyond = float((weight * (effect - mean) ** 2).sum()) - freedom * noise
    if beyond <= _CHANCE * math.sqrt(2 * freedom) * noise:
        return None
    between = beyond / (total - float((weight**2).sum()) / total)
    share = np.bincount(cells, minlength=len(kept)) / max(1, len(cells))
    common = float(((1 - share) * np.array(within.cells))[kept].sum() / (1 - share)[kept].sum())
    found = []
    for at, usable in enumerate(some.tolist()):
        if not usable:
            found.append(StratumDispersion(times=1.0))
            continue
        clusters_of = float(own.clusters[at])
        credibility = float(between / (between + noise / (clusters_of - 1)))
        drawn = mean + credibility * (float(own.effects[at]) - mean)
        of_one = max(0.0, float(own.variation[at]) - 2 * (1 + within.spread) / float(own.ranks[at]))
        found.append(
            StratumDispersion(
                times=max(1.0, drawn / common),
                cluster_rows=float(own.rows[at]) / clusters_of,
                cluster_excess=max(within.excess, credibility * of_one + (1 - credibility) * within.excess),
                clusters=min(within.clusters or 1, round((clusters_of - 1) / credibility) + 1),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Own:
    """Statistics of the clusters of each stratum, each of shape (strata,)."""

    rows: Wide  # number of rows of the stratum
    clusters: Wide  # number of clusters with rows of it
    traces: Wide  # sum of the clusters' chi-square statistics
    squares: Wide  # sum of the squares of these statistics
    ranks: Wide  # degrees of freedom of the included cells

    @property
    def effects(self) -> Wide:
        """Mean design effect."""
        freedom = np.maximum(1.0, self.clusters - 1)
        return np.asarray(
            self.traces / np.maximum(1, self.rows) * self.clusters / freedom / np.maximum(1e-9, self.ranks)
        )

    @property
    def variation(self) -> Wide:
        """Squared coefficient of variation of one cluster's statistic, corrected for the sampling error of its mean."""
        number = np.maximum(2.0, self.clusters)
        mean = self.traces / number
        variance = np.maximum(0.0, self.squares / number - mean**2) * number / (number - 1)
        square = mean**2 - variance / number
        return np.asarray(np.divide(variance, square, out=number - 1, where=square > 0))


def _own(cells: Codes, size: int, clusters: Codes, strata: Codes, kept: npt.NDArray[np.bool_]) -> _Own:
    width = int(strata.max()) + 1
    known = np.bincount(strata * size + cells, minlength=width * size).reshape(width, size).astype(np.float64)
    rows = known.sum(axis=1)
    shares = known / np.maximum(rows, 1)[:, None]
    part = np.unique(clusters * width + strata, return_inverse=True)[1].astype(np.int64)
    number, traces, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    for table, mix in cluster_tables(cells, size, part, strata):
        of = mix.argmax(axis=1)
        share = shares[of]
        residual = table - mix.sum(axis=1, keepdims=True) * share
        trace = np.divide(residual**2, share, out=np.zeros_like(share), where=share > 0)[:, kept].sum(axis=1)
        number += np.bincount(of, minlength=width)
        traces += np.bincount(of, weights=trace, minlength=width)
        squares += np.bincount(of, weights=trace**2, minlength=width)
    ranks = np.where(shares > 0, 1 - shares, 0.0)[:, kept].sum(axis=1)
    return _Own(rows=rows, clusters=number, traces=traces, squares=squares, ranks=ranks)
