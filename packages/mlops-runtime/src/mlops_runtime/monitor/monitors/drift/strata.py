"""Tests within strata, for drift that is diluted at the window's mix of conditions: in one stratum, or in opposite directions.

Two tests complement the one at the window's mix. The sum of the strata's chi-square statistics, degrees of freedom and
non-centralities detects shifts in many strata that cancel in the mix. The smallest p-value of a stratum, times the number of
strata, detects a shift in one. Strata have few rows: their location is tested by normal scores only, whose tails are valid for
small samples of any distribution.

See: Cochran 1954, "Some methods for strengthening the common chi-squared tests", Biometrics 10 (sums over tables); van
der Waerden 1952, "Order tests for the two-sample problem and their power", Indagationes Mathematicae 14.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.monitor.counting.baseline_cells import place_scores
from mlops_runtime.monitor.monitors.drift import rules
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, Layout
from mlops_runtime.monitor.monitors.drift.location import quantile
from mlops_runtime.monitor.monitors.drift.rules import MINIMUM_EXPECTED, Finding, Rule, minimum_effect_tail
from mlops_runtime.monitor.monitors.drift.tails import estimated_tail, skewed_tail
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.wording import change

# standard deviations above its mean below which a statistic is never significant
_NEAR = 2.0
# standard deviations of independent rows above the baseline's share below which no p-value is under 0.01
_FEW = 2.0
# above it, a stratum has so few clusters that a single atypical one decides the statistic
_MAXIMUM_EXCESS = 2.0
# smaller variances of scores are rounding errors of equal scores
_NOTHING = 1e-12
# weights of a stratum's significance level: location needs the fewest rows; for categories the others share its part
_PLACE, _DISTRIBUTION, _SHARES, _TYPES = 0.7, 0.2, 0.09, 0.01

Wide = npt.NDArray[np.float64]


def together(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    """Test whether distributions shifted within strata, by the sum of the statistics of strata with enough filled cells.

    Args:
        compared: The window compared with its baseline, with strata.
        cells: Layout of the cells.
        spec: ``minimum_effect``.
    """
    tables = _tables(compared, cells, spec)
    if not tables.usable.any():
        return Finding(Rule.DISTRIBUTION, 1.0, str)
    some = tables.usable
    statistic, freedom = float(tables.statistic[some].sum()), int(tables.freedom[some].sum())
    effects, weights = tables.effect[some], tables.freedom[some] / freedom
    mean_effect = float((weights * effects).sum())
    # strata with the largest design effects dominate the variance of the sum
    unlike = float((weights * effects**2).sum()) / mean_effect**2
    p_value = minimum_effect_tail(
        statistic,
        freedom,
        float(tables.noncentrality[some].sum()),
        mean_effect,
        (1 + (compared.feature.overdispersion_spread or 0.0)) * unlike - 1 + compared.excess * freedom / 2,
        known_by=rules.cluster_freedom(compared.feature),
    )
    most = max(np.flatnonzero(some), key=lambda at: float(tables.statistic[at] - tables.freedom[at]))
    key, stratum = list(compared.strata.items())[most]

    def words() -> str:
        return f"{rules.distribution(stratum, cells, spec).words()}, at {key} among others"

    return Finding(Rule.DISTRIBUTION, p_value, words)


def smallest(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    """Test each stratum individually: distribution, location of a number, nulls, new levels and types.

    Weighted Bonferroni over rules, Bonferroni over strata.

    Args:
        compared: The window compared with its baseline, with strata.
        cells: Layout of the cells.
        spec: Minimum effects.
    """
    tables = _tables(compared, cells, spec)
    moved = tables.usable & (tables.apart > _NEAR)
    places = (
        None if compared.finer is None or compared.feature.type != "number" else _places(compared, compared.finer, spec)
    )
    lies = np.zeros_like(moved) if places is None else places.apart > _NEAR
    strata = list(compared.strata.items())
    tests = len(strata) * (1.0 if places is not None else 1 - _PLACE)
    best: tuple[float, str, Finding] = (1.0, "", Finding(Rule.DISTRIBUTION, 1.0, str))
    for at in np.flatnonzero(moved | lies | _rose(compared, cells)):
        key, stratum = strata[at]
        shares = rules.missing_or_new(stratum, cells, spec)
        weighted = [(_SHARES / len(shares), one) for one in shares] + [(_TYPES, rules.types(stratum, spec))]
        if stratum.excess <= _MAXIMUM_EXCESS:
            if moved[at]:
                weighted.append((_DISTRIBUTION, rules.distribution(stratum, cells, spec)))
            if places is not None and lies[at]:
                weighted.append((_PLACE, places.finding(int(at), stratum)))
        found = [(one.p_value * tests / weight, key, one) for weight, one in weighted]
        best = min(best, *found, key=lambda one: one[0])
    p_value, key, least = best
    return Finding(least.rule, min(1.0, p_value), lambda: f"{least.words()}, at {key}")


@dataclass(frozen=True, slots=True)
class _Places:
    """Normal scores of all strata, each of shape (strata,)."""

    gap: Wide  # mean score of the window's rows minus that of the baseline's
    apart: Wide  # distance of the gap beyond `minimum_effect`, in standard errors
    across: Wide  # twice the margin of `minimum_effect`, in standard errors
    skewness: Wide  # skewness of the window's mean score
    freedom: Wide  # degrees of freedom of the variance

    def finding(self, at: int, stratum: Comparison) -> Finding:
        """Return the p-value of one stratum: the probability of as large a gap in either direction for a mean at the margin.

        It is close to one-sided: a mean shifted in one direction is seldom observed as far in the other. It approaches the
        two-sided test of no effect if the stratum is too small to detect the margin.
        """
        z, other, gap = float(self.apart[at]), float(self.apart[at] + self.across[at]), float(self.gap[at])
        skewness = math.copysign(1.0, gap) * float(self.skewness[at])

        def tails(ratio: float) -> float:
            root = math.sqrt(ratio)
            return skewed_tail(z * root, skewness) + skewed_tail(other * root, -skewness)

        p_value = min(1.0, estimated_tail(tails, float(self.freedom[at])))

        def words() -> str:
            medians = [quantile(stratum.feature, of[:-1], 0.5) for of in (stratum.expected, stratum.observed)]
            if medians[0] is None or medians[1] is None or medians[0] == medians[1]:
                return f"values {'rose' if gap > 0 else 'fell'}"
            return f"median {change(medians[0], medians[1])}"

        return Finding(Rule.QUANTILE, p_value, words)


def _places(compared: Comparison, finer: tuple[Wide, Wide], spec: MonitorSpec) -> _Places:
    """Return the shift of the mean normal score of each stratum, for clustered rows, with the larger variance of both samples.

    The margin is the square root of ``minimum_effect`` in standard deviations of the scores, as for a normal mean. The larger of
    two variances has about twice the degrees of freedom of the baseline's rows: for normal values a p-value of 1e-6 is 1.0e-6.
    """
    known, found = finer
    scores = place_scores(known.sum(axis=0))
    n, m = (np.maximum(1.0, rows.sum(axis=1)) for rows in finer)
    before, after = known @ scores / n, found @ scores / m
    own = known @ scores**2 / n - before**2
    variance = np.maximum(own, found @ scores**2 / m - after**2)
    deviation = np.sqrt(np.where(variance > _NOTHING, variance, 1.0))
    third = known @ scores**3 / n - 3 * before * own - before**3
    features = [stratum.feature for stratum in compared.strata.values()]
    effect = np.array([max(1.0, one.overdispersion, one.mean_overdispersion or 1.0) for one in features])
    wide = np.array([one.spread_overdispersion or 1.0 for one in features])
    error = deviation * np.sqrt(effect * (1 / n + 1 / m))
    freedom = 2 * n / np.maximum(1.0, wide)
    known_by = [rules.cluster_freedom(one) for one in features]
    margin = math.sqrt(spec.minimum_effect) * deviation
    gap = np.where((known.sum(axis=1) > 0) & (found.sum(axis=1) > 0), after - before, 0.0)
    return _Places(
        gap=gap,
        apart=(np.abs(gap) - margin) / error,
        across=2 * margin / error,
        skewness=third / deviation**3 * np.sqrt(effect / m),
        freedom=np.minimum(freedom, [np.inf if known is None else known for known in known_by]),
    )


def _rose(compared: Comparison, cells: Layout) -> npt.NDArray[np.bool_]:
    """Return a quick screening of strata: more nulls or new levels than in the baseline, invalid or infinite values."""
    which = [-1] if cells.new is None else [-1, cells.new]
    a = np.array([stratum.expected for stratum in compared.strata.values()])
    b = np.array([stratum.observed for stratum in compared.strata.values()])
    known, rows = np.maximum(1.0, a.sum(axis=1, keepdims=True)), np.maximum(1.0, b.sum(axis=1, keepdims=True))
    before = a[:, which] / known
    spread = np.sqrt(before * (1 - before) / rows + 1 / (rows * known))
    rose = (b[:, which] / rows - before > _FEW * spread).any(axis=1)
    apart = [stratum.invalid > 0 or stratum.infinite > 0 for stratum in compared.strata.values()]
    return np.asarray(rose | np.array(apart))


@dataclass(frozen=True, slots=True)
class _Tables:
    """Statistics of all strata, each of shape (strata,)."""

    statistic: Wide  # chi-square statistic of homogeneity over the cells with enough rows
    freedom: npt.NDArray[np.int64]  # degrees of freedom of the statistic
    noncentrality: Wide  # non-centrality at the minimum effect
    effect: Wide  # mean design effect of the cells
    usable: npt.NDArray[np.bool_]  # whether two cells or more have enough rows

    @property
    def apart(self) -> Wide:
        """Distance of each statistic above its mean at the minimum effect, in standard deviations."""
        mean = self.freedom + self.noncentrality / self.effect
        deviation = np.sqrt(2 * (self.freedom + 2 * self.noncentrality / self.effect))
        return np.asarray((self.statistic / self.effect - mean) / np.where(deviation > 0, deviation, 1.0))


def _tables(compared: Comparison, cells: Layout, spec: MonitorSpec) -> _Tables:
    """Return the statistics of `rules.distribution` for each stratum: sparse cells are pooled or dropped."""
    a = np.array([stratum.expected for stratum in compared.strata.values()])
    b = np.array([stratum.observed for stratum in compared.strata.values()])
    effects = np.array([stratum.design_effects for stratum in compared.strata.values()])
    part = np.minimum(1.0, b.sum(axis=1) / a.sum(axis=1))[:, None]
    pooled = a * part / effects < MINIMUM_EXPECTED
    pooled[:, [*cells.rare, *cells.outside]] = True
    if cells.new is not None:
        pooled[:, cells.new] = True
    pool_a, pool_b = np.where(pooled, a, 0.0).sum(axis=1), np.where(pooled, b, 0.0).sum(axis=1)
    weight = np.where(pooled, a * effects, 0.0).sum(axis=1)
    pool_effect = np.divide(weight, pool_a, out=np.ones(len(a)), where=pool_a > 0)
    holds = pool_a * part[:, 0] / pool_effect >= MINIMUM_EXPECTED
    kept_a = np.column_stack([np.where(pooled, 0.0, a), np.where(holds, pool_a, 0.0)])
    kept_b = np.column_stack([np.where(pooled, 0.0, b), np.where(holds, pool_b, 0.0)])
    kept_effects = np.column_stack([effects, pool_effect])
    n, m = kept_a.sum(axis=1), kept_b.sum(axis=1)
    freedom = (kept_a > 0).sum(axis=1) - 1
    usable = (freedom > 0) & (n > 0) & (m > 0)
    n, m = (np.where(usable, rows, 1.0)[:, None] for rows in (n, m))
    both = (kept_a + kept_b) / (n + m)
    of_a, of_b = (np.where(both > 0, rows * both, 1.0) for rows in (n, m))
    statistic = (((kept_a - n * both) ** 2 / of_a) + ((kept_b - m * both) ** 2 / of_b)).sum(axis=1)
    mean_effect = ((1 - kept_a / n) * np.where(kept_a > 0, kept_effects, 0.0)).sum(axis=1)
    return _Tables(
        statistic=np.where(usable, statistic, 0.0),
        freedom=np.where(usable, freedom, 0),
        noncentrality=np.where(usable, spec.minimum_effect * (n * m / (n + m))[:, 0], 0.0),
        effect=np.maximum(1.0, mean_effect / np.where(usable, freedom, 1)),
        usable=usable,
    )
