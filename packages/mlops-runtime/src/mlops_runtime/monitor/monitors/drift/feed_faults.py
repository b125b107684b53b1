"""Detect broken feeds among drifted features: missing values, another type, unknown levels, another unit.

Retraining would learn such faults instead of fixing them. A feature that drifted without any of them may reflect a real change.
Faults are distinguished by size and form: nulls that double, new levels in a tenth of the rows, a whole distribution that is the
baseline's times 100.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mlops_runtime.monitor.monitors.drift import rules
from mlops_runtime.monitor.monitors.drift.comparison import Comparison
from mlops_runtime.monitor.monitors.drift.rules import Rule
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.wording import number, percent

# decimal prefixes, cents, percent, and minutes or seconds instead of hours
FACTORS = (10.0, 100.0, 1000.0, 60.0, 3600.0, 0.1, 0.01, 0.001, 1 / 60, 1 / 3600)
# a share of nulls is a fault if it grew by this factor, or by this difference
_TIMES, _MORE = 2.0, 0.1
# minimum share of rows with new levels: fewer may be new stores and new articles
_NEW_LEVELS = 0.1
# minimum share of rows in another unit, and the share that counts as all rows
_SCALED, _ALL = 0.1, 0.95
# minimum total variation between scaled and baseline bins, and the part that may remain unexplained
_APART, _FIT = 0.2, 0.05
# the expected total variation of m sampled rows in k equal bins is 0.4 sqrt(k / m), half a normal's mean absolute deviation
_CHANCE = 0.4
# allowed factors of error: mean, mean square (which outliers dominate), smallest value
_MEAN, _SQUARE, _LOWEST = 1.4, 4.0, 10.0
# or allowed error of the mean in standard deviations, since it may be near zero
_DEVIATIONS = 0.4
# part of the shift that may be additional drift if all rows are in another unit
_BESIDES = 0.3
_GRID = 2001

Wide = npt.NDArray[np.float64]


def feed_fault(compared: Comparison, spec: MonitorSpec) -> str | None:
    """Return the fault of the feed of a drifted feature; None if its values may be correct.

    Args:
        compared: The window compared with its baseline.
        spec: Significance level and minimum share.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(500, 500, 0))
        >>> window = Comparison(feature=price, expected=np.array([500.0, 500.0, 0.0]), observed=np.array([300.0, 300.0, 400.0]))
        >>> feed_fault(window, MonitorSpec())
        'null in 40 % of the rows, 0 % when it was trained'
    """
    return "; ".join(_faults(compared, spec)) or None


def _faults(compared: Comparison, spec: MonitorSpec) -> Iterator[str]:
    broken = rules.types(compared, spec)
    if broken.p_value <= spec.significance:
        yield broken.words()
    n, m = compared.baseline_rows, compared.window_rows
    if n == 0 or m == 0:
        return
    shares = rules.shares(compared, compared.cells, spec)
    found = {finding.rule for finding in shares if finding.p_value <= spec.significance}
    before, after = float(compared.expected[-1] / n), float(compared.observed[-1] / m)
    if Rule.NULL_SHARE in found and (after >= _TIMES * before or after - before >= _MORE):
        yield f"null in {percent(after)} of the rows, {percent(before)} when it was trained"
    new = compared.cells.new
    share = 0.0 if new is None else float(compared.observed[new] / m)
    if Rule.NEW_LEVEL in found and share >= _NEW_LEVELS:
        yield f"levels that were not in training in {percent(share)} of the rows"
    if compared.feature.type == "number":
        scaled = _unit_error(compared)
        if scaled is not None:
            yield scaled


def _unit_error(compared: Comparison) -> str | None:
    """Return the fault that all values, or a part, are multiplied by a factor, if bins and both moments agree with it."""
    quantiles = np.array(compared.feature.quantiles or (), dtype=np.float64)
    known, seen = compared.expected[:-1], compared.observed[:-1]
    if len(quantiles) < 2 or known.sum() == 0 or seen.sum() == 0:
        return None
    values = np.interp(np.linspace(0, 1, _GRID), np.linspace(0, 1, len(quantiles)), quantiles)
    was, now = known / known.sum(), seen / seen.sum()
    # difference of samples of the same distribution
    noise = _CHANCE * math.sqrt(len(now) * compared.feature.overdispersion / seen.sum())
    fits = []
    for factor in FACTORS:
        for share in _shares(was, _binned(compared, values * factor), now, noise):
            off = _off(compared, factor, share, lowest=float(quantiles[0]))
            if off is not None:
                fits.append((off, factor, share))
    if not fits:
        return None
    _, factor, share = min(fits)
    by = f"multiplied by {number(factor)}" if factor > 1 else f"divided by {number(1 / factor)}"
    rows = "all rows" if share > _ALL else f"{percent(share)} of the rows"
    return f"values look {by} in {rows}"


def _binned(compared: Comparison, values: Wide) -> Wide:
    """Return the share of values in each of a feature's bins."""
    edges = np.array(compared.feature.edges, dtype=np.float64)
    cells = np.searchsorted(edges, values, side="right")
    return np.asarray(np.bincount(cells, minlength=len(edges) + 1) / len(values), dtype=np.float64)


def _shares(was: Wide, scaled: Wide, now: Wide, noise: float) -> list[float]:
    """Return the shares of scaled rows that may explain the window's bins: the best fit, and 1 if it is nearly 1."""
    way = scaled - was
    apart = float(np.abs(way).sum() / 2)
    if apart < _APART:
        return []
    best = float(np.clip(way @ (now - was) / (way @ way), 0.0, 1.0))
    shares = [best, 1.0] if best > _ALL else [best]
    moved = float(np.abs(now - was).sum() / 2)
    most = min(_FIT * apart + noise, moved / 2)  # a fit that explains less than half of the shift is wrong
    missed = {share: float(np.abs(now - was - share * way).sum() / 2) for share in shares}
    # if all rows are in another unit they may have drifted too: mean and mean square decide
    limits = {share: max(most, _BESIDES * moved) if share > _ALL else most for share in shares}
    return [share for share, miss in missed.items() if share >= _SCALED and miss <= limits[share]]


def _off(compared: Comparison, factor: float, share: float, *, lowest: float) -> float | None:
    """Return the error of mean and mean square if a share of values is scaled; None if they contradict it."""
    mean, deviation, minimum = compared.window_mean, compared.window_deviation, compared.minimum
    before, spread = compared.mean, compared.deviation
    if mean is None or deviation is None or minimum is None or not before or not spread or mean == deviation == 0:
        return None
    is_scaled_low = factor < 1 or share > _ALL
    if is_scaled_low and lowest > 0 and minimum < lowest * factor / _LOWEST:
        return None  # a default of 0, not a unit
    square = math.log((mean**2 + deviation**2) / (before**2 + spread**2) / (1 + share * (factor**2 - 1)))
    if abs(square) > math.log(_SQUARE):
        return None
    expected = before * (1 + share * (factor - 1))
    away = abs(mean - expected) / (spread * math.sqrt(1 + share * (factor**2 - 1)))
    if away > _DEVIATIONS and (mean / expected <= 0 or abs(math.log(mean / expected)) > math.log(_MEAN)):
        return None
    return abs(square) + away
