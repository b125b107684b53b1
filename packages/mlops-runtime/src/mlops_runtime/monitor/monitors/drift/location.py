"""Tests of location and scale of numbers: mean, ranks and quantiles of amounts, spread.

In a wide distribution, quantile bins conceal shifts of mean and quantiles, and a variance that rises by a third changes ten bins
hardly more than chance.

Means of clustered rows have Student's t distribution with one degree of freedom less than the baseline has clusters.

See: Welch 1947, "The generalization of Student's problem when several different population variances are involved", Biometrika 34;
Klotz 1962, "Nonparametric tests for scale", Annals of Mathematical Statistics 33; Kish 1965, "Survey Sampling", 8.2 (design
effects).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline
from mlops_runtime.monitor.counting.baseline_cells import spread_scores
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, cdf
from mlops_runtime.monitor.monitors.drift.rules import Finding, Rule, cluster_freedom, excess_tail
from mlops_runtime.monitor.monitors.drift.tails import estimated_tail, skewed_tail
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.wording import change, number

_QUANTILES = {"10th percentile": 0.1, "median": 0.5, "90th percentile": 0.9}
# numbers with fewer distinct percentiles are counts or codes, not amounts
_DISTINCT_PERCENTILES = 20
# edges closer to the ends are ignored
_TAIL = 0.02

Wide = npt.NDArray[np.float64]


def is_amount(feature: FeatureBaseline, spec: MonitorSpec) -> bool:
    """Return whether to test a feature's relative shift: by the spec, or by default if it is continuous and always above 0.

    Example:
        >>> price = FeatureBaseline(
        ...     name="price", type="number", counts=(9, 0), quantiles=tuple(float(i + 1) for i in range(101))
        ... )
        >>> is_amount(price, MonitorSpec()), is_amount(price, MonitorSpec(amounts=()))
        (True, False)
    """
    if feature.type != "number":
        return False
    if spec.amounts is not None:
        return feature.name in spec.amounts
    quantiles = feature.quantiles or ()
    return len(set(quantiles)) >= _DISTINCT_PERCENTILES and quantiles[0] > 0


def mean(compared: Comparison, spec: MonitorSpec) -> Finding | None:
    """Test whether the mean shifted by more than the margin; None if there is no mean to compare.

    The margin is ``relative_shift`` for an amount, else the number of standard deviations that amounts to ``minimum_effect`` of a
    normal distribution. The test uses the larger of the two standard deviations and the tail of a skewed mean.
    """
    before, after, deviation = compared.mean, compared.window_mean, compared.deviation
    # a constant has no standard deviation; other values are detected by their share
    if before is None or after is None or not deviation:
        return None
    feature = compared.feature
    n, m = float(compared.expected[:-1].sum()), float(compared.observed[:-1].sum())
    effect = max(1.0, feature.mean_overdispersion or feature.overdispersion)
    margin = math.sqrt(spec.minimum_effect) * deviation
    if is_amount(feature, spec):
        margin = min(margin, spec.relative_shift * abs(before)) if before else margin
    spread = max(deviation, compared.window_deviation or 0.0)
    error = math.sqrt(effect * (deviation**2 / n + spread**2 / m))
    if abs(after - before) <= margin:
        return Finding(Rule.MEAN, 1.0, str)
    skewness = math.copysign(1.0, after - before) * _skewness(feature) * math.sqrt(effect / m)
    p_value = _two_sided((abs(after - before) - margin) / error, skewness, feature)
    return Finding(Rule.MEAN, p_value, lambda: f"mean {change(before, after)}")


def ranks(compared: Comparison, spec: MonitorSpec) -> Finding | None:
    """Test whether an amount as a whole rose or fell by more than ``relative_shift``, by a binned rank-sum test; None for others.

    The score of a value is the number of inner edges above it. If values rose by at most r, the mean score is at least the sum over
    edges e of the baseline's share below e / (1 + r). In wide distributions the test detects shifts that bins and mean do not.

    See: Wilcoxon 1945, "Individual comparisons by ranking methods", Biometrics Bulletin 1.
    """
    shifted = _shifted(compared, spec)
    if shifted is None:
        return None
    inner = (shifted.below > _TAIL) & (shifted.below < 1 - _TAIL)
    bins = compared.expected[:-1] / shifted.baseline_rows
    # score of a bin: number of inner edges at its end or above
    score = np.concatenate([np.cumsum(inner[::-1])[::-1], [0]]).astype(np.float64)
    variance = float((bins * score**2).sum() - (bins * score).sum() ** 2)
    error = math.sqrt(variance * shifted.effect * (1 / shifted.baseline_rows + 1 / shifted.rows))
    found = float(shifted.found[inner].sum())
    gap = max(float(shifted.if_risen[inner].sum()) - found, found - float(shifted.if_fallen[inner].sum()))
    if error == 0 or gap <= 0:
        return Finding(Rule.QUANTILE, 1.0, str)
    middle = int(np.argmin(np.abs(shifted.below - 0.5)))
    p_value = _two_sided(gap / error, 0.0, compared.feature)
    return Finding(Rule.QUANTILE, p_value, lambda: _moved(compared, shifted, middle))


def quantiles(compared: Comparison, spec: MonitorSpec) -> Finding | None:
    """Test whether the 10th percentile, the median or the 90th percentile of an amount shifted by more than ``relative_shift``.

    If values rose by at most r, their share below an edge e is at least the baseline's below e / (1 + r): exact binomial tests in
    both directions at the edges nearest to the three quantiles, with Bonferroni over the six.
    """
    shifted = _shifted(compared, spec)
    if shifted is None:
        return None
    n, m, effect = shifted.baseline_rows, shifted.rows, shifted.effect
    near = sorted({int(np.argmin(np.abs(shifted.below - level))) for level in _QUANTILES.values()})
    p_values = []
    for edge in near:
        found, risen, fallen = (float(of[edge]) for of in (shifted.found, shifted.if_risen, shifted.if_fallen))

        def up(ratio: float, found: float = found, risen: float = risen) -> float:
            return excess_tail((1 - found) * m, m, (1 - risen) * n, n, margin=0.0, effect=max(1.0, effect / ratio))

        def down(ratio: float, found: float = found, fallen: float = fallen) -> float:
            return excess_tail(found * m, m, fallen * n, n, margin=0.0, effect=max(1.0, effect / ratio))

        p_values.append(min(estimated_tail(tail, cluster_freedom(compared.feature)) for tail in (up, down)))
    best = int(np.argmin(p_values))
    p_value = min(1.0, 2 * len(near) * p_values[best])
    return Finding(Rule.QUANTILE, p_value, lambda: _moved(compared, shifted, near[best]))


@dataclass(frozen=True, slots=True)
class _Shifted:
    """Shares of an amount below the edges of its bins."""

    baseline_rows: float  # known values of the baseline
    rows: float  # known values of the window
    below: Wide  # share of the baseline below each edge
    found: Wide  # share of the window below each edge
    if_risen: Wide  # share of the baseline if its values rose by `relative_shift`
    if_fallen: Wide  # share of the baseline if its values fell by `relative_shift`
    effect: float  # design effect of these shares


def _shifted(compared: Comparison, spec: MonitorSpec) -> _Shifted | None:
    feature = compared.feature
    edges = np.array(feature.edges, dtype=np.float64)
    bins, found = compared.expected[:-1], compared.observed[:-1]
    n, m = float(bins.sum()), float(found.sum())
    if not is_amount(feature, spec) or n == 0 or m == 0 or len(edges) == 0 or not feature.quantiles:
        return None
    below, ratio = np.cumsum(bins)[:-1] / n, 1 + spec.relative_shift
    ends = {"lowest": feature.quantiles[0], "highest": feature.quantiles[-1]}
    return _Shifted(
        baseline_rows=n,
        rows=m,
        below=below,
        found=np.cumsum(found)[:-1] / m,
        # for discrete values the interpolated share may be off; the share at the edge itself is exact
        if_risen=np.minimum(below, cdf(feature, bins, edges / ratio, **ends)),
        if_fallen=np.maximum(below, cdf(feature, bins, edges * ratio, **ends)),
        effect=max(feature.overdispersion, feature.mean_overdispersion or 1.0),
    )


def _moved(compared: Comparison, shifted: _Shifted, edge: int) -> str:
    level, before = float(shifted.below[edge]), compared.feature.edges[edge]
    name = next((name for name, at in _QUANTILES.items() if abs(at - level) < 0.05), f"{level:.0%} quantile")
    after = quantile(compared.feature, compared.observed[:-1], level)
    return f"{name} moved from {number(before)}" if after is None else f"{name} {change(before, after)}"


def quantile(feature: FeatureBaseline, bins: Wide, level: float) -> float | None:
    """Return a quantile of counted values, interpolated by the baseline's percentiles; None outside the baseline's range."""
    percentiles = np.unique(np.array(feature.quantiles or (), dtype=np.float64))
    points = np.union1d(percentiles, np.array(feature.edges, dtype=np.float64))
    if len(percentiles) == 0 or bins.sum() == 0:
        return None
    shares = cdf(feature, bins, points, lowest=float(percentiles[0]), highest=float(points[-1]))
    after = int(np.searchsorted(shares, level, side="left"))
    if after in (0, len(points)):
        return None
    low, high = shares[after - 1], shares[after]
    return float(points[after - 1] + (level - low) / (high - low) * (points[after] - points[after - 1]))


def _skewness(feature: FeatureBaseline) -> float:
    """Return the skewness estimated from percentiles, with uniform values between them.

    The last interval extends to the maximum, so that long tails are overestimated.
    """
    points = np.array(feature.quantiles or (), dtype=np.float64)
    if len(points) < 2:
        return 0.0
    low, high = points[:-1] - points.mean(), points[1:] - points.mean()
    first = (low + high) / 2
    second = (low**2 + low * high + high**2) / 3
    third = (low + high) * (low**2 + high**2) / 4
    centre = float(first.mean())
    variance = float(second.mean()) - centre**2
    if variance <= 0:
        return 0.0
    return float((third.mean() - 3 * centre * second.mean() + 2 * centre**3) / variance**1.5)


# with fewer cells the tests of shares suffice
_CELLS = 5


def spread(compared: Comparison, spec: MonitorSpec) -> Finding | None:
    """Test whether the scale of values grew or shrank by more than the margin; None with fewer than five filled bins.

    The margin is half the square root of ``minimum_effect``: by default 5 % of the standard deviation of a normal feature. The
    statistic is the mean of the bins' normal scores (`spread_scores`), a binned Klotz test. For a normal feature in ten bins its
    efficiency is 70 % of that of the ratio of variances, and it is valid if moments do not exist. The variance of a heavy-tailed
    price is dominated by the tail; the scores measure the spread of ranks.
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
    # the larger of the two variances, as for the mean
    wide = max(square, float((seen * scores**2).sum()) - moved**2)
    error = math.sqrt(effect * (square / n + wide / m))
    skewness = math.copysign(1.0, moved) * float((known * scores**3).sum()) / square**1.5 * math.sqrt(effect / m)
    p_value = _two_sided((abs(moved) - margin) / error, skewness, compared.feature)
    return Finding(Rule.SPREAD, p_value, lambda: _words(compared, wider=moved > 0))


def _two_sided(z: float, skewness: float, feature: FeatureBaseline) -> float:
    """Return the two-sided p-value of a standardised mean, by Student's t if few clusters leave its error uncertain."""
    tail = estimated_tail(lambda ratio: skewed_tail(z * math.sqrt(ratio), skewness), cluster_freedom(feature))
    return min(1.0, 2 * tail)


def _effect(compared: Comparison) -> float:
    return max(1.0, compared.feature.spread_overdispersion or 1.0) * (1 + compared.excess)


def _words(compared: Comparison, *, wider: bool) -> str:
    before, after = compared.deviation, compared.window_deviation
    # with a heavy tail the standard deviation may move in the opposite direction
    if before and after and (after > before) == wider:
        return f"standard deviation {change(before, after)}"
    verb = "farther apart" if wider else "closer together"
    ranges = []
    for counted in (compared.expected, compared.observed):
        low, high = (quantile(compared.feature, counted[:-1], level) for level in (0.1, 0.9))
        if low is None or high is None:
            return f"values lie {verb}"
        ranges.append(f"{number(low)} to {number(high)}")
    return f"values lie {verb}: the middle 80 % from {ranges[1]}, before from {ranges[0]}"
