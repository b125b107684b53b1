"""Effect sizes: distances between two distributions. They describe drift but do not decide on it, see `decide`.

All functions take counts over common cells; except for the bias of PSI, only their proportions matter.
"""

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor_report import FeatureDrift, Measured
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, Layout, cdf
from mlops_runtime.monitor.monitors.drift.rules import MINIMUM_EXPECTED, cluster_freedom
from mlops_runtime.monitor.monitors.drift.tails import chi2_point, wilson

Wide = npt.NDArray[np.float64]


def psi(a: Wide, b: Wide, *, dispersion: float = 1.0) -> float:
    """Return the population stability index minus its expectation without drift, at least 0.

    The expectation is (cells - 1) * (1/n + 1/m) times the design effect; without the correction small windows appear to have
    drifted. Cells that are empty on both sides are ignored.

    See: Yurdakul and Naranjo 2020, "Statistical properties of the population stability index", Journal of Risk Model Validation 14.

    Args:
        a: The baseline's counts, shape (cells,).
        b: The window's counts.
        dispersion: Mean design effect of clustered rows. Default: 1, independent rows.

    Example:
        >>> round(psi(np.array([500.0, 500.0]), np.array([200.0, 800.0])), 3)
        0.413
    """
    both = a + b > 0
    a, b, cells = a[both], b[both], int(both.sum())
    n, m = a.sum(), b.sum()
    if n == 0 or m == 0:
        return 0.0
    return max(0.0, raw_psi(a, b) - float((cells - 1) * (1 / n + 1 / m) * dispersion))


def raw_psi(a: Wide, b: Wide) -> float:
    """Return the population stability index of two count vectors; half a row is added to each cell to keep it finite.

    Example:
        >>> round(raw_psi(np.array([500.0, 500.0]), np.array([200.0, 800.0])), 3)
        0.415
    """
    p, q = (counts / counts.sum() for counts in (a + 0.5, b + 0.5))
    return float(((p - q) * np.log(p / q)).sum())


def ordinary_psi(compared: Comparison, cells: int) -> float:
    """Return the raw PSI below which 95 % of windows of this size without drift stay, computed from the design effects.

    Without drift the PSI is about the chi-square statistic of homogeneity over the harmonic number of rows. For clustered rows that
    is a weighted sum of chi-squares, approximated by matching mean and variance (Satterthwaite), as in `rules.distribution`. With
    few clusters in the baseline the design effects are uncertain: the quantile is then one of Fisher's F, with the statistic's
    degrees of freedom times one less than clusters (Thomas and Rao 1987; with one less than clusters alone, 99 % of windows
    without drift are below it).

    Example:
        >>> from dataclasses import replace
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> feature = FeatureBaseline(name="x", type="number", counts=(500, 500, 0))
        >>> half = np.array([500.0, 500.0, 0.0])
        >>> round(ordinary_psi(Comparison(feature=feature, expected=half, observed=half), 2), 4)
        0.0077
        >>> few = replace(feature, clusters=9)
        >>> round(ordinary_psi(Comparison(feature=few, expected=half, observed=half), 2), 4)
        0.0115
    """
    freedom = max(1.0, cells - 1.0)
    wide = 1 + (compared.feature.overdispersion_spread or 0.0) + compared.excess * freedom / 2
    scale = max(1.0, compared.feature.overdispersion) * wide
    rows = 1 / compared.baseline_rows + 1 / compared.window_rows
    freedom /= wide
    clusters = cluster_freedom(compared.feature)
    return scale * chi2_point(freedom, None if clusters is None else clusters * freedom) * rows


def jensen_shannon(a: Wide, b: Wide) -> float:
    """Return the Jensen-Shannon distance to base 2: the square root of the divergence, 0 to 1.

    See: Lin 1991, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37.

    Example:
        >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        1.0
    """
    if a.sum() == 0 or b.sum() == 0:
        return 0.0
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return float(np.sqrt(max(0.0, divergence / np.log(2))))


def l_infinity(a: Wide, b: Wide, *, ordered: bool) -> float:
    """Return the largest difference of shares, of cumulative ones for ordered cells, as in Model Monitor's baseline drift check.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html

    Example:
        >>> l_infinity(np.array([5.0, 5.0]), np.array([2.5, 7.5]), ordered=False)
        0.25
    """
    if a.sum() == 0 or b.sum() == 0:
        return 0.0
    difference = a / a.sum() - b / b.sum()
    return float(np.abs(np.cumsum(difference) if ordered else difference).max())


def wasserstein(points: Wide, a: Wide, b: Wide) -> float:
    """Return the Wasserstein-1 distance of two weighted samples on common points: the area between their CDFs.

    See: Ramdas, Garcia Trillos and Cuturi 2017, "On Wasserstein two-sample testing and related families of nonparametric tests",
    Entropy 19.

    Example:
        >>> wasserstein(np.array([0.0, 3.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        3.0
    """
    gap = np.cumsum(a / a.sum() - b / b.sum())[:-1]
    return float((np.abs(gap) * np.diff(points)).sum())


def area_between(points: Wide, first: Wide, second: Wide) -> float:
    """Return the Wasserstein-1 distance of two piecewise linear CDFs with common points: the area between them.

    Example:
        >>> area_between(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
        0.5
    """
    gap = first - second
    left, right, width = gap[:-1], gap[1:], np.diff(points)
    total = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    # two triangles if the CDFs cross, else a trapezoid
    squares = left**2 + right**2
    inside = np.divide(squares, total, out=np.zeros_like(total), where=crossing)
    return float((np.where(crossing, inside, total) * width / 2).sum())


def _relative_entropy(p: Wide, q: Wide) -> float:
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def effect_sizes(compared: Comparison, cells: Layout) -> FeatureDrift:
    """Return a feature's effect sizes, without a verdict.

    PSI is computed over cells with at least five expected rows; other cells and rare levels are pooled. Distances include all known
    values. Rates have Wilson intervals for the window's effective number of independent rows.
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
    kept = ~rare & (a + b > 0)
    kept[list(cells.outside)] = False
    return FeatureDrift(
        name=compared.feature.name,
        psi=psi(_pooled(a, rare), _pooled(b, rare), dispersion=max(1.0, compared.feature.overdispersion)),
        p_value=1.0,
        drifted=False,
        raw_psi=raw_psi(a[kept], b[kept]) if kept.any() else None,
        ordinary_psi=ordinary_psi(compared, int(kept.sum())) if kept.any() else None,
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
    """Return the area between the binned CDFs, at least the distance of the means, a lower bound.

    For values outside the baseline's range it adds the difference of the window's mean and the mean of its clamped values.
    """
    feature = compared.feature
    a, b = compared.expected[:-1], compared.observed[:-1]
    if not feature.quantiles or a.sum() == 0 or b.sum() == 0:
        return None
    points = np.unique(np.array([*feature.quantiles, *feature.edges], dtype=np.float64))
    # one more point, so that values at the last point count as below it
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
