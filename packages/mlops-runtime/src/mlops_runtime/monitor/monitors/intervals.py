"""95 % confidence intervals by a cluster bootstrap of calls: rows of a call are drawn together, since they are correlated.

See: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", 13.3 (percentile interval); Field and Welsh 2007, "Bootstrapping
clustered data", Journal of the Royal Statistical Society B 69 (whole clusters are drawn).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.monitor.monitors.rows import Codes, Wide

RESAMPLES = 500
CONFIDENCE = 0.95
SEED = 7
# with more calls, calls are grouped into this many clusters: more would add less than the bootstrap's noise
MAXIMUM_CLUSTERS = 10_000
_CELLS = 500_000
# with a single call all draws are identical
FEWEST_CALLS = 2

Weights = npt.NDArray[np.float32]


class Resampling:
    """Draws of calls with replacement, as the number of times that each call is in each draw. Deterministic for the same calls.

    Args:
        call: Each row's call, any integers.
        resamples: Number of draws. Default: 500.
        seed: Seed of the draws. Default: 7.

    Example:
        >>> draws = Resampling(np.array([0, 0, 1]), resamples=100)
        >>> draws.totals(np.ones((3, 1))).shape
        (100, 1)
    """

    def __init__(self, call: Codes, *, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        codes = np.unique(call, return_inverse=True)[1].astype(np.int64) % MAXIMUM_CLUSTERS
        self._cluster = codes
        self.clusters = int(codes.max()) + 1 if len(codes) else 0
        self._resamples = resamples
        random = np.random.default_rng(seed)
        size = self.clusters
        self._weights: Weights = np.empty((resamples, size), dtype=np.float32)
        for index in range(resamples if size else 0):
            self._weights[index] = np.bincount(random.integers(0, size, size), minlength=size)

    def totals(self, columns: Wide) -> Wide:
        """Return the sums of columns in each draw.

        Returns:
            Shape (draws, columns).
        """
        sums = np.stack(
            [np.bincount(self._cluster, weights=column, minlength=self.clusters) for column in columns.T], axis=1
        )
        return self._weights.astype(np.float64) @ sums

    def cells(self, cells: Codes, size: int) -> Wide:
        """Return the counts of cells in each draw.

        Returns:
            Shape (draws, cells).
        """
        flat = np.bincount(self._cluster * size + cells, minlength=self.clusters * size)
        return self._weights.astype(np.float64) @ flat.reshape(self.clusters, size).astype(np.float64)

    def row_weights(self) -> Iterator[Weights]:
        """Yield the number of times that each row is in each draw, in batches of shape (draws, rows)."""
        step = max(1, _CELLS // max(1, len(self._cluster)))
        for start in range(0, self._resamples, step):
            yield self._weights[start : start + step][:, self._cluster]


@dataclass(frozen=True, slots=True)
class Interval:
    """95 % bounds, which may be infinite, and the standard deviation over the draws; None if it is not finite."""

    low: float
    high: float
    deviation: float | None


def interval(draws: Wide, *, value: float | None = None) -> Interval | None:
    """Return the percentile interval of a statistic's draws; None if more than half of them are undefined.

    Args:
        draws: The statistic in each draw; NaN if undefined.
        value: The statistic of all rows, to return the basic interval instead, which reflects the percentiles at this value. For
            statistics that noise only increases, such as sums of absolute differences. Default: the percentile interval.

    Example:
        >>> interval(np.arange(1000.0)).low
        25.0
    """
    defined = np.sort(draws[~np.isnan(draws)])
    if 2 * len(defined) < len(draws) or len(defined) == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    # no interpolation between neighbours: they may be infinite
    first = round(tail * (len(defined) - 1))
    low, high = float(defined[first]), float(defined[len(defined) - 1 - first])
    if value is not None:
        low, high = 2 * value - high, 2 * value - low
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(defined.std())
    return Interval(low, high, deviation if np.isfinite(deviation) else None)
