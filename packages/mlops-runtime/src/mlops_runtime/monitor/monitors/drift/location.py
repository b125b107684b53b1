"""Rules on where a number lies and how widely: its mean, the quantiles of an amount, its spread.

On a wide distribution mean and quantiles hide in quantile bins, and a variance that rises by a third moves ten of them hardly more
than chance.

Means of clustered rows have Student's t with one fewer degrees of freedom than the baseline has clusters.

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
# fewer different percentiles than these are counts or codes, not amounts
_DISTINCT_PERCENTILES = 20
# edges nearer to the ends than this say nothing about the whole
_TAIL = 0.02

Wide = npt.NDArray[np.float64]


def is_amount(feature: FeatureBaseline, spec: MonitorSpec) -> bool:
    """Return whether a feature's relative shift matters: as the spec says, else if it is continuous and always above 0.

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
    """Test whether the mean moved by more than matters; None if there is no mean to compare.

    That is ``relative_shift`` of an amount's, else the number of standard deviations that makes ``minimum_effect`` of a normal
    one. The larger of the two standard deviations counts, and the tail is that of a skewed mean.
    """
    before, after, deviation = compared.mean, compared.window_mean, compared.deviation
    # a constant has no spread to measure against; another value than it is seen by its share
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
    """Test whether an amount as a whole rose or fell by more than ``relative_shift``: a binned rank-sum test; None for no amount.

    Each value scores the inner edges that are above it. If values rose by at most r, the mean score is at least the sum over edges
    e of the baseline's share below e / (1 + r). On wide distributions it sees a rise that neither bins nor the mean do.

    See: Wilcoxon 1945, "Individual comparisons by ranking methods", Biometrics Bulletin 1.
    """
    shifted = _shifted(compared, spec)
    if shifted is None:
        return None
    inner = (shifted.below > _TAIL) & (shifted.below < 1 - _TAIL)
    bins = compared.expected[:-1] / shifted.baseline_rows
    # the score of a bin: how many of the inner edges are at its end or above
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
    """Test whether the 10th percentile, the median or the 90th percentile of an amount moved by more than ``relative_shift``.

    If values rose by at most r, the share of them below an edge e is at least the baseline's below e / (1 + r): an exact binomial
    test of a share, both ways, at the edges nearest to the three quantiles; Bonferroni over the six.
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
    """An amount at the edges of its bins.

    Args:
        baseline_rows: Known values of the baseline.
        rows: Those of the window.
        below: Share of the baseline below each edge.
        found: Share of the window.
        if_risen: What the baseline's would be if its values rose by ``relative_shift``.
        if_fallen: If they fell.
        effect: Design effect of such a share.
    """

    baseline_rows: float
    rows: float
    below: Wide
    found: Wide
    if_risen: Wide
    if_fallen: Wide
    effect: float


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
        # nothing that did not move may look moved where values lie on a few points: the edge's own share is exact
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
    """Return a quantile of counted values: within a bin as the baseline's percentiles run; None outside the baseline's range."""
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
    """Return the skewness of the values as the percentiles tell it: between two of them values are taken for uniform.

    The last hundredth reaches up to the maximum, so that a long tail is taken for a longer one.
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
    p_value = _two_sided((abs(moved) - margin) / error, skewness, compared.feature)
    return Finding(Rule.SPREAD, p_value, lambda: _words(compared, wider=moved > 0))


def _two_sided(z: float, skewness: float, feature: FeatureBaseline) -> float:
    """Return the p-value of a standardised mean; of few clusters, which leave its error uncertain, by t instead of the normal."""
    tail = estimated_tail(lambda ratio: skewed_tail(z * math.sqrt(ratio), skewness), cluster_freedom(feature))
    return min(1.0, 2 * tail)


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
