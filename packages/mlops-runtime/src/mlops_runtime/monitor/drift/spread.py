"""The rule on how wide a number is spread: a variance that rises by a third moves ten quantile bins hardly more than counts.

See: Klotz 1962, "Nonparametric tests for scale", Annals of Mathematical Statistics 33; Kish 1965, "Survey Sampling", 8.2 (design
effects).
"""

import math

import numpy as np

from mlops_runtime.monitor.counting.spread_scores import spread_scores
from mlops_runtime.monitor.drift.comparison import Comparison
from mlops_runtime.monitor.drift.location import quantile
from mlops_runtime.monitor.drift.rules import Finding, Rule
from mlops_runtime.monitor.drift.tails import skewed_tail
from mlops_runtime.monitor.drift.wording import change, number
from mlops_runtime.monitor.spec import MonitorSpec

# of fewer values the shares say it all
_CELLS = 5


def spread(compared: Comparison, spec: MonitorSpec) -> Finding | None:
    """Test whether values spread wider, or narrower, by more than matters; None for what has no bins to tell by.

    That is half the root of ``minimum_effect``: 5 % of the standard deviation of a normal feature at the default. The statistic is
    the mean of the bins' scores (`spread_scores`), a binned Klotz test: of a normal feature in ten bins it is worth 70 % of the
    rows that the ratio of variances would need, and it holds where moments do not exist. A variance of a price with a heavy tail
    is the tail's; what the scores see is the spread of its ranks.
    """
    bins, found = compared.expected[:-1], compared.observed[:-1]
    n, m = float(bins.sum()), float(found.sum())
    if compared.feature.type != "number" or n == 0 or m == 0 or np.count_nonzero(bins) < _CELLS:
        return None
    scores = spread_scores(bins)
    known, seen = bins / n, found / m
    square = float((known * scores**2).sum())
    moved = float((seen * scores).sum())
    margin = math.sqrt(spec.minimum_effect) / 2 * square
    if abs(moved) <= margin:
        return Finding(Rule.SPREAD, 1.0, str)
    effect = _effect(compared)
    # the larger of the two, as for the mean
    wide = max(square, float((seen * scores**2).sum()) - moved**2)
    error = math.sqrt(effect * (square / n + wide / m))
    skewness = math.copysign(1.0, moved) * float((known * scores**3).sum()) / square**1.5 * math.sqrt(effect / m)
    p_value = min(1.0, 2 * skewed_tail((abs(moved) - margin) / error, skewness))
    return Finding(Rule.SPREAD, p_value, lambda: _words(compared, wider=moved > 0))


def _effect(compared: Comparison) -> float:
    feature = compared.feature
    # a baseline of before this rule does not know its own
    known = feature.spread_overdispersion or max(feature.overdispersion, feature.mean_overdispersion or 1.0)
    return max(1.0, known) * (1 + compared.excess)


def _words(compared: Comparison, *, wider: bool) -> str:
    before, after = compared.deviation, compared.window_deviation
    # of a heavy tail the standard deviation may say the opposite
    if before and after and (after > before) == wider:
        return f"standard deviation {change(before, after)}"
    verb = "farther from each other" if wider else "closer to each other"
    ranges = []
    for counted in (compared.expected, compared.observed):
        low, high = (quantile(compared.feature, counted[:-1], level) for level in (0.1, 0.9))
        if low is None or high is None:
            return f"values lie {verb}"
        ranges.append(f"{number(low)} to {number(high)}")
    return f"values lie {verb}: the middle 80 % from {ranges[1]}, before from {ranges[0]}"
