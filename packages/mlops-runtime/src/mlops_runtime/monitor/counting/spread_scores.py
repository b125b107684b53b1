"""Scores of a number's cells that add up to how wide it is spread."""

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Wide = npt.NDArray[np.float64]


def spread_scores(bins: Wide) -> Wide:
    """Return each bin's normal score of spread: the mean of z squared less 1 over the bin's part of a normal distribution.

    Their mean over the baseline is 0. If the values' normal scores spread by a factor of 1 + g, it rises by about g times the
    scores' mean square. Scores are bounded, so that heavy tails do not matter, and depend on ranks only: a price's are its
    logarithm's. A bin that is empty in the baseline has the score of its neighbours.

    See: Klotz 1962, "Nonparametric tests for scale", Annals of Mathematical Statistics 33.

    Args:
        bins: Baseline counts of the bins, without null, shape (bins,).

    Example:
        >>> spread_scores(np.array([0.0, 10.0, 80.0, 10.0])).round(2).tolist()
        [2.25, 2.25, -0.56, 2.25]
    """
    used = np.flatnonzero(bins)
    if len(used) == 0:
        return np.zeros(len(bins))
    shares = bins[used] / bins.sum()
    normal = NormalDist()
    z = [normal.inv_cdf(share) for share in np.clip(np.cumsum(shares)[:-1], 1e-15, 1 - 1e-15)]
    ends = np.array([0.0, *(one * normal.pdf(one) for one in z), 0.0])
    return np.asarray(np.interp(np.arange(len(bins)), used, -np.diff(ends) / shares), dtype=np.float64)
