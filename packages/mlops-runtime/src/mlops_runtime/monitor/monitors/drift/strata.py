"""What the margin at the window's mix of conditions dilutes: drift in one stratum, or in opposite directions in several.

Two looks beside the margin's. The strata's chi-square statistics add up, with their degrees of freedom and non-centralities: that
sees what happens in many strata and cancels in the margin. The smallest p-value of one stratum, times the number of strata, sees
what happens in one. A stratum has few rows: where a number lies there is asked of its normal scores alone, whose tails hold for
a few rows of any distribution.

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

# a statistic nearer to its mean than this, in standard deviations, is one of a quiet stratum: its tail decides nothing
_NEAR = 2.0
# what a share is above the baseline's in ordinary strata, in standard deviations of independent rows: no p-value below 0.01
_FEW = 2.0
# as for the window: in strata of fewer clusters one of its own kind decides the statistic
_MAXIMUM_EXCESS = 2.0
# a variance of scores that all are one, but for rounding
_NOTHING = 1e-12
# of a stratum's part of the significance: where a number lies is what a few rows can tell; categories give that part to the others
_PLACE, _DISTRIBUTION, _SHARES, _TYPES = 0.7, 0.2, 0.09, 0.01

Wide = npt.NDArray[np.float64]


def together(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    """Test whether the distributions moved within the strata, by the sum of the statistics of those that have cells enough.

    Args:
        compared: The window beside its baseline, with strata.
        cells: What each cell stands for.
        spec: ``minimum_effect``.
    """
    tables = _tables(compared, cells, spec)
    if not tables.usable.any():
        return Finding(Rule.DISTRIBUTION, 1.0, str)
    some = tables.usable
    statistic, freedom = float(tables.statistic[some].sum()), int(tables.freedom[some].sum())
    effects, weights = tables.effect[some], tables.freedom[some] / freedom
    mean_effect = float((weights * effects).sum())
    # where strata vary differently, those that vary most decide how much the sum does
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
    """Test each stratum by itself: its distribution, where a number lies, nulls, new levels and types.

    Bonferroni over rules, with weights, and over strata.

    Args:
        compared: The window beside its baseline, with strata.
        cells: What each cell stands for.
        spec: Effects that matter.
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
    """Normal scores of all strata at once, each of shape (strata,).

    Args:
        gap: Mean score of the window's rows less that of the baseline's.
        apart: How far the gap is beyond ``minimum_effect``, in standard deviations.
        across: From there to as far in the other direction.
        skewness: Of the window's mean score, upwards.
        freedom: Degrees of freedom of the variance.
    """

    gap: Wide
    apart: Wide
    across: Wide
    skewness: Wide
    freedom: Wide

    def finding(self, at: int, stratum: Comparison) -> Finding:
        """Return the p-value of one stratum: the chance of as large a gap either way, where the mean lies as far off as it may.

        It is nearer to one tail than to two, since a mean that lies off in one direction seldom shows as far in the other. Both
        are as likely, as of a test of no effect, where the strata are too thin to see what does not matter.
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
    """Return how far the mean normal score of each stratum moved, for clustered rows; the wider of both samples counts.

    A gap of the root of ``minimum_effect`` in standard deviations of the scores does not matter, as of a normal mean. The wider of
    two variances has about twice the degrees of freedom that the baseline's own rows have: 1e-6 is 1.0e-6 of normal values.
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
    wide = np.array([one.spread_overdispersion or 0.0 for one in features])
    error = deviation * np.sqrt(effect * (1 / n + 1 / m))
    freedom = 2 * n / np.maximum(1.0, np.where(wide > 0, wide, effect))
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
    """Return in which strata there are more nulls, new levels or values of another type than the baseline has: a cheap look."""
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
    """Statistics of all strata at once, each of shape (strata,).

    Args:
        statistic: Chi-square of homogeneity over the cells that hold enough.
        freedom: Its degrees of freedom.
        noncentrality: At the minimum effect.
        effect: Mean design effect of the cells.
        usable: Whether two cells or more hold enough.
    """

    statistic: Wide
    freedom: npt.NDArray[np.int64]
    noncentrality: Wide
    effect: Wide
    usable: npt.NDArray[np.bool_]

    @property
    def apart(self) -> Wide:
        """How many standard deviations each statistic is above the mean that it has at the minimum effect."""
        mean = self.freedom + self.noncentrality / self.effect
        deviation = np.sqrt(2 * (self.freedom + 2 * self.noncentrality / self.effect))
        return np.asarray((self.statistic / self.effect - mean) / np.where(deviation > 0, deviation, 1.0))


def _tables(compared: Comparison, cells: Layout, spec: MonitorSpec) -> _Tables:
    """Return the statistics as `rules.distribution` has them of one table: cells that hold little are one, or left out."""
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
