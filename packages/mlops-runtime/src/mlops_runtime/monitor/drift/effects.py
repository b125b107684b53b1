"""How far a feature moved, in the numbers that people know: distances, the mean's shift, rates of nulls and of new levels."""

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureDrift, Measured
from mlops_runtime.monitor.drift.comparison import Comparison
from mlops_runtime.monitor.drift.distances import area_between, jensen_shannon, l_infinity, psi
from mlops_runtime.monitor.drift.layout import Layout, cdf
from mlops_runtime.monitor.drift.rules import MINIMUM_EXPECTED
from mlops_runtime.monitor.drift.tails import wilson

Wide = npt.NDArray[np.float64]


def effect_sizes(compared: Comparison, cells: Layout) -> FeatureDrift:
    """Return a feature's effect sizes, with the verdict still open.

    PSI is that of cells in which at least five rows are expected; the others, and rare levels, are one. Distances are of all known
    values. Rates have Wilson's interval on as many independent rows as the window's clustered ones are worth.

    Args:
        compared: The window beside its baseline.
        cells: What the feature's cells stand for.
    """
    a, b = compared.expected, compared.observed
    n, m = compared.baseline_rows, compared.window_rows
    open_verdict = FeatureDrift(name=compared.feature.name, psi=0.0, p_value=1.0, drifted=False)
    if n == 0 or m == 0:
        return open_verdict
    rare = a * min(1.0, m / n) < MINIMUM_EXPECTED
    rare[list(cells.rare)] = True
    if cells.new is not None:
        rare[cells.new] = True
    numeric = compared.feature.type == "number"
    return FeatureDrift(
        name=compared.feature.name,
        psi=psi(_pooled(a, rare), _pooled(b, rare), dispersion=max(1.0, compared.feature.overdispersion)),
        p_value=1.0,
        drifted=False,
        mean_shift=_mean_shift(compared),
        jensen_shannon=jensen_shannon(a[:-1], b[:-1]),
        l_infinity=l_infinity(a[:-1], b[:-1], ordered=numeric),
        wasserstein=_wasserstein(compared) if numeric else None,
        null_rate=_rate("null_rate", compared, len(a) - 1, float(a[-1] / n)),
        new_rate=None
        if cells.new is None
        else _rate("new_rate", compared, cells.new, compared.feature.unseen_share or 0.0),
    )


def _pooled(cells: Wide, rare: npt.NDArray[np.bool_]) -> Wide:
    return np.append(cells[~rare], cells[rare].sum()) if rare.any() else cells


def _mean_shift(compared: Comparison) -> float | None:
    if compared.mean is None or compared.window_mean is None or not compared.deviation:
        return None
    return (compared.window_mean - compared.mean) / compared.deviation


def _wasserstein(compared: Comparison) -> float | None:
    """Return the area between the CDFs as the bins tell it, at least the means' distance, which it cannot be below.

    How far values lie outside the baseline's range is what the window's mean has beyond that of the values cut off at the range.
    """
    feature = compared.feature
    a, b = compared.expected[:-1], compared.observed[:-1]
    if not feature.quantiles or a.sum() == 0 or b.sum() == 0:
        return None
    points = np.unique(np.array([*feature.quantiles, *feature.edges], dtype=np.float64))
    # values at the last point itself are below a point after it
    points = np.append(points, np.nextafter(points[-1], np.inf))
    before, after = (cdf(feature, bins, points, lowest=float(points[0]), highest=float(points[-2])) for bins in (a, b))
    area = area_between(points, before, after)
    if compared.mean is None or compared.window_mean is None:
        return area
    if feature.bounded and (b[0] > 0 or b[-1] > 0):
        cut = float(points[-1] - ((after[:-1] + after[1:]) / 2 * np.diff(points)).sum())
        area += abs(compared.window_mean - cut)
    return max(area, abs(compared.window_mean - compared.mean))


def _rate(name: str, compared: Comparison, cell: int, baseline: float) -> Measured:
    effect = float(compared.design_effects[cell])
    found, rows = float(compared.observed[cell]), compared.window_rows
    low, high = wilson(found / effect, rows / effect)
    return Measured(name=name, value=found / rows, low=low, high=high, baseline=baseline, rows=int(rows))
