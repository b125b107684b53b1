"""Decide from a window's counts whether features drifted: a minimum-effect test, sample-size robust, with Holm's step-down.

A classical test of "no difference" rejects any window that is large enough; a fixed PSI threshold has no error control at all
and alarms on small windows. This test asks whether the shift is larger than one that matters: under a shift of PSI delta, with n
baseline and m window rows, the chi-square statistic of homogeneity has a non-central chi-square distribution with non-centrality
delta * n * m / (n + m); the p-value is its upper tail.

See: Murphy and Myors 1999, "Testing the hypothesis that treatments have negligible effects: minimum-effect tests", Journal of
Applied Psychology 84; Yurdakul and Naranjo 2020, "Statistical properties of the population stability index", Journal of Risk
Model Validation 14; Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts, FeatureDrift
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.tails import binomial_tail, noncentral_chi2_tail

# Cochran 1954: chi-square needs about five expected rows a cell
_MINIMUM_EXPECTED = 5

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One feature's test before the step-down.

    Args:
        psi: Population stability index without its small-sample bias.
        p_value: Of the shift being no larger than the minimum effect.
        mean_shift: In standard deviations of the baseline; None for categories.
        rare_share: Share of the window in cells that are rare in the baseline (new levels, nulls).
        null_share: Share of nulls in the window.
        by_rare: Whether rare cells, not the distribution, gave the p-value.
    """

    psi: float
    p_value: float
    mean_shift: float | None
    rare_share: float
    null_share: float
    by_rare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDecision:
    """One feature's verdict, with what it rests on."""

    drift: FeatureDrift
    examination: Examination


def decide(baseline: Baseline, counts: Counts, spec: MonitorSpec) -> tuple[FeatureDecision, ...]:
    """Return effect size, p-value and verdict of each tested feature, the prediction last.

    Args:
        baseline: What the counts were counted against.
        counts: The window's.
        spec: Features, minimum effect, significance.

    Raises:
        ValueError: If the spec names features that the baseline does not have.
    """
    known = [feature.name for feature in baseline.features]
    unknown = sorted({*spec.features, *spec.alarm_features} - {*known, *_prediction_name(baseline)})
    if unknown:
        raise ValueError(
            f"the monitor names features {', '.join(map(repr, unknown))}; the baseline has {', '.join(map(repr, known))}"
        )
    pairs = list(zip(baseline.features, counts.features, strict=True))
    if baseline.prediction is not None and counts.prediction is not None:
        pairs.append((baseline.prediction, counts.prediction))
    chosen = [pair for pair in pairs if not spec.features or pair[0].name in spec.features]
    tests = [examine(feature, counted, spec) for feature, counted in chosen]
    rejected = holm([test.p_value for test in tests], spec.significance)
    return tuple(
        FeatureDecision(
            drift=FeatureDrift(
                name=feature.name,
                psi=test.psi,
                p_value=test.p_value,
                drifted=drifted,
                mean_shift=test.mean_shift,
            ),
            examination=test,
        )
        for (feature, _), test, drifted in zip(chosen, tests, rejected, strict=True)
    )


def examine(baseline: FeatureBaseline, counts: FeatureCounts, spec: MonitorSpec) -> Examination:
    """Test one feature: its distribution over the common cells, and the share of its rare ones.

    Cells with fewer than five expected rows in the window are pooled; which they are depends on the baseline and the window's
    size, never on what the window holds. The pool is a cell of the chi-square if five rows are expected in it. Its share also gets
    an exact binomial test, because a level that the baseline never saw has no place in a chi-square: it must exceed the
    baseline's share by the minimum effect. The smaller of the two p-values, doubled (Bonferroni), is the feature's.

    Args:
        baseline: The feature's baseline.
        counts: Its counts in the window.
        spec: ``minimum_effect`` and ``minimum_rows``; a feature with fewer values is not tested (p-value 1).
    """
    a, b = np.array(baseline.counts, dtype=np.float64), np.array(counts.counts, dtype=np.float64)
    n, m = a.sum(), b.sum()
    null_share = float(b[-1] / m) if m else 0.0
    if n == 0 or m < spec.minimum_rows:
        return Examination(psi=0.0, p_value=1.0, mean_shift=None, rare_share=0.0, null_share=null_share, by_rare=False)
    rare = a * m / n < _MINIMUM_EXPECTED
    pooled = _pool(a, rare), _pool(b, rare)
    common = pooled if a[rare].sum() * m / n >= _MINIMUM_EXPECTED else (a[~rare], b[~rare])
    statistic, df = chi_square(*common)
    dispersion = baseline.overdispersion
    p_shift = 1.0
    if df > 0:
        total, part = common[0].sum(), common[1].sum()
        noncentrality = spec.minimum_effect * total * part / (total + part)
        p_shift = noncentral_chi2_tail(statistic / dispersion, df, noncentrality / dispersion)
    # one of n + 1: what a share of 0 of n rows still allows
    expected = (a[rare].sum() + 1) / (n + 1) + spec.minimum_effect
    p_rare = binomial_tail(math.floor(b[rare].sum() / dispersion), math.ceil(m / dispersion), float(min(1.0, expected)))
    return Examination(
        psi=psi(*pooled, dispersion=dispersion),
        p_value=min(1.0, 2 * min(p_shift, p_rare)),
        mean_shift=_mean_shift(baseline, counts),
        rare_share=float(b[rare].sum() / m),
        null_share=null_share,
        by_rare=p_rare < p_shift,
    )


def chi_square(a: Wide, b: Wide) -> tuple[float, int]:
    """Return the chi-square statistic of homogeneity of two count vectors and its degrees of freedom.

    Example:
        >>> chi_square(np.array([10.0, 10.0]), np.array([5.0, 5.0]))
        (0.0, 1)
    """
    both = a + b
    a, b, both = a[both > 0], b[both > 0], both[both > 0]
    n, m = a.sum(), b.sum()
    if n == 0 or m == 0:
        return 0.0, 0
    expected_a, expected_b = both * n / (n + m), both * m / (n + m)
    statistic = ((a - expected_a) ** 2 / expected_a + (b - expected_b) ** 2 / expected_b).sum()
    return float(statistic), len(both) - 1


def psi(a: Wide, b: Wide, *, dispersion: float = 1.0) -> float:
    """Return the population stability index less its expectation without drift, (cells - 1) * (1/n + 1/m); at least 0.

    Example:
        >>> psi(np.array([500.0, 500.0]), np.array([500.0, 500.0]))
        0.0
    """
    cells = len(a)
    # half a row a cell keeps empty ones finite
    p, q = (a + 0.5) / (a.sum() + 0.5 * cells), (b + 0.5) / (b.sum() + 0.5 * cells)
    bias = (cells - 1) * (1 / a.sum() + 1 / b.sum()) * dispersion
    return max(0.0, float(((p - q) * np.log(p / q)).sum() - bias))


def holm(p_values: Sequence[float], significance: float) -> list[bool]:
    """Return which hypotheses Holm's step-down rejects with a family-wise error of at most ``significance``.

    Example:
        >>> holm([0.001, 0.04, 0.03], 0.05)
        [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > significance / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _prediction_name(baseline: Baseline) -> tuple[str, ...]:
    return () if baseline.prediction is None else (baseline.prediction.name,)


def _pool(cells: Wide, rare: npt.NDArray[np.bool_]) -> Wide:
    return np.append(cells[~rare], cells[rare].sum()) if rare.any() else cells


def _mean_shift(baseline: FeatureBaseline, counts: FeatureCounts) -> float | None:
    known = sum(counts.counts[:-1])
    if baseline.mean is None or not baseline.standard_deviation or known == 0:
        return None
    return (counts.sum / known - baseline.mean) / baseline.standard_deviation
