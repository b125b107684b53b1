"""Intervals of relative loss differences where rows depend on each other in two ways: by block (a store) and by period (a week).

A bootstrap of blocks takes the holdout's few weeks for all weeks there are: its intervals are those of another draw of stores in
the very same weeks. What is asked is how the candidate does in weeks to come. The statistic, (candidate loss - rival loss) / rival
loss, is linearised; its variance is that of the sums by block plus that of the sums by period less that of the cells, and never
below either of the first two. With few periods that estimate is itself uncertain, so the interval takes Student's t with
Satterthwaite's degrees of freedom, not fewer than the smaller number of clusters less one. Standard library only.

See: A. C. Cameron, J. Gelbach, D. Miller, Robust Inference with Multiway Clustering, Journal of Business & Economic
Statistics 29 (2011) for the variance and for t with the smaller number of clusters less one; J. MacKinnon, M. Nielsen, M. Webb,
Wild Bootstrap and Asymptotic Inference with Multiway Clustering, the same 39 (2021) for few clusters in one dimension and variances
that come out too small; F. Satterthwaite, An Approximate Distribution of Estimates of Variance Components, Biometrics
Bulletin 2 (1946).
"""

import math
from collections.abc import Sequence

from mlops_runtime.contracts.model import PeriodLosses
from mlops_runtime.retraining.bootstrap import CANDIDATE, Bound, relative
from mlops_runtime.retraining.student import student_quantile

MINIMUM_PERIODS = 4  # with fewer, Student's t reaches so far that nothing could be shown


def two_way_bound(periods: Sequence[PeriodLosses], rival: str, *, tail: float) -> Bound:
    """Return the bounds of the relative loss difference to a rival.

    Args:
        periods: The losses of each period by block, at least two of each.
        rival: Whom the candidate is compared with.
        tail: Share of error on each side.

    Example:
        >>> losses = [{"candidate": (9.0, 18.0, 27.0 + week), "naive": (10.0, 20.0, 30.0)} for week in range(8)]
        >>> weeks = [PeriodLosses(period=str(week), absolute_error=part) for week, part in enumerate(losses)]
        >>> bound = two_way_bound(weeks, "naive", tail=0.025)
        >>> bound.low < -0.04 < bound.high
        True
    """
    ours = [period.absolute_error[CANDIDATE] for period in periods]
    theirs = [period.absolute_error[rival] for period in periods]
    mine, total = sum(map(math.fsum, ours)), sum(map(math.fsum, theirs))
    estimate = relative(mine, total)
    if total == 0:
        return Bound(low=estimate, high=estimate)
    # how much each cell moves the statistic
    cells = [
        [(own - (1 + estimate) * other) / total for own, other in zip(mine_of, theirs_of, strict=True)]
        for mine_of, theirs_of in zip(ours, theirs, strict=True)
    ]
    present = [
        block for block in range(len(ours[0])) if any(a[block] or b[block] for a, b in zip(ours, theirs, strict=True))
    ]
    by_block = _variance([math.fsum(row[block] for row in cells) for block in present])
    by_period = _variance([math.fsum(row) for row in cells])
    both = by_block + by_period - math.fsum(cell * cell for row in cells for cell in row)
    variance = max(by_block, by_period, both)
    if variance == 0:
        return Bound(low=estimate, high=estimate)
    fewest = min(len(present), len(cells)) - 1
    degrees = variance**2 / (by_block**2 / (len(present) - 1) + by_period**2 / (len(cells) - 1))
    reach = student_quantile(1 - tail, max(fewest, degrees)) * math.sqrt(variance)
    return Bound(low=estimate - reach, high=estimate + reach)


def _variance(sums: Sequence[float]) -> float:
    """Return the variance of a total of independent sums with mean zero."""
    return math.fsum(value * value for value in sums) * len(sums) / (len(sums) - 1)
