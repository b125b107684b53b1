"""What the margin at the window's mix of conditions dilutes: drift in one stratum, or in opposite directions in several.

Two looks beside the margin's. The strata's chi-square statistics add up, with their degrees of freedom and non-centralities: that
sees what happens in many strata and cancels in the margin. The smallest p-value of one stratum, times the number of strata, sees
what happens in one. A stratum has few rows: where a number lies is asked of the margin alone.

See: Cochran 1954, "Some methods for strengthening the common chi-squared tests", Biometrics 10 (sums over tables).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.monitor.monitors.drift import rules
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, Layout
from mlops_runtime.monitor.monitors.drift.rules import MINIMUM_EXPECTED, Finding, Rule, minimum_effect_tail
from mlops_runtime.monitor.spec import MonitorSpec

# a statistic nearer to its mean than this, in standard deviations, is one of a quiet stratum: its tail decides nothing
_NEAR = 2.0
# what a share is above the baseline's in ordinary strata, in standard deviations of independent rows: no p-value below 0.01
_FEW = 2.0
# as for the window: in strata of fewer clusters one of its own kind decides the statistic
_MAXIMUM_EXCESS = 2.0

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
    p_value = minimum_effect_tail(
        statistic,
        freedom,
        float(tables.noncentrality[some].sum()),
        float((tables.freedom * tables.effect)[some].sum() / freedom),
        (compared.feature.overdispersion_spread or 0.0) + compared.excess * freedom / 2,
        known_by=rules.cluster_freedom(compared.feature),
    )
    most = max(np.flatnonzero(some), key=lambda at: float(tables.statistic[at] - tables.freedom[at]))
    key, stratum = list(compared.strata.items())[most]

    def words() -> str:
        return f"{rules.distribution(stratum, cells, spec).words()}, at {key} among others"

    return Finding(Rule.DISTRIBUTION, p_value, words)


def smallest(compared: Comparison, cells: Layout, spec: MonitorSpec) -> Finding:
    """Test each stratum by itself: its distribution, nulls, new levels and types; Bonferroni over rules and strata.

    Args:
        compared: The window beside its baseline, with strata.
        cells: What each cell stands for.
        spec: Effects that matter.
    """
    tables = _tables(compared, cells, spec)
    moved = tables.usable & (tables.apart > _NEAR)
    strata = list(compared.strata.items())
    best: tuple[float, str, Finding] = (1.0, "", Finding(Rule.DISTRIBUTION, 1.0, str))
    for at in np.flatnonzero(moved | _rose(compared, cells)):
        key, stratum = strata[at]
        findings = [*rules.missing_or_new(stratum, cells, spec), rules.types(stratum, spec)]
        number = len(findings) + 1
        if moved[at] and stratum.excess <= _MAXIMUM_EXCESS:
            findings.append(rules.distribution(stratum, cells, spec))
        best = min(best, *((one.p_value * number * len(strata), key, one) for one in findings), key=lambda one: one[0])
    p_value, key, found = best
    return Finding(found.rule, min(1.0, p_value), lambda: f"{found.words()}, at {key}")


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
    effects = compared.design_effects
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
    kept_effects = np.column_stack([np.broadcast_to(effects, a.shape), pool_effect])
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
