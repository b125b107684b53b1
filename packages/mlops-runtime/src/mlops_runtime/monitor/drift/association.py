"""Whether two features go together otherwise than they did, whatever each of them does alone.

See: Bishop, Fienberg and Holland 1975, "Discrete Multivariate Analysis", 3.5 (no three-factor interaction, iterative
proportional fitting); Deming and Stephan 1940, Annals of Mathematical Statistics 11.
"""

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import FeatureBaseline, PairBaseline, PairCounts
from mlops_runtime.monitor.drift.layout import layout
from mlops_runtime.monitor.drift.rules import MINIMUM_EXPECTED, Finding, Rule, minimum_effect_tail
from mlops_runtime.monitor.drift.wording import number, percent
from mlops_runtime.monitor.spec import MonitorSpec

_ROUNDS = 60
_CLOSE = 1e-9
_NAMED = 3
_FEWEST_GROUPS = 2

Wide = npt.NDArray[np.float64]


def pair_name(pair: PairBaseline) -> str:
    """Return what a pair is called in a report.

    Example:
        >>> pair_name(PairBaseline(first="price", second="store", first_groups=(), second_groups=(), counts=()))
        'price x store'
    """
    return f"{pair.first} x {pair.second}"


def association(
    pair: PairBaseline, counts: PairCounts, features: tuple[FeatureBaseline, FeatureBaseline], spec: MonitorSpec
) -> Finding:
    """Test whether the association of two features moved by more than ``minimum_effect``.

    The model is that both tables have the same odds ratios, each with margins of its own: what it expects is fitted by iterative
    proportions. Pearson's statistic has (rows - 1) * (columns - 1) degrees of freedom, non-central at the minimum effect. Groups
    that either table hardly has are left out of both.

    Args:
        pair: The baseline's table.
        counts: The window's.
        features: Both features' baselines, to say which values a group holds.
        spec: ``minimum_effect``.
    """
    shape = (max(pair.first_groups) + 1, max(pair.second_groups) + 1)
    tables = np.array([pair.counts, counts.counts], dtype=np.float64).reshape(2, *shape)
    tables, rows, columns = _filled(tables, pair.overdispersion)
    if min(len(rows), len(columns)) < _FEWEST_GROUPS:
        return Finding(Rule.ASSOCIATION, 1.0, str)
    fitted = same_odds_ratios(tables)
    some = fitted > 0
    statistic = float(((tables[some] - fitted[some]) ** 2 / fitted[some]).sum())
    # a cell that neither table has says nothing
    freedom = (len(rows) - 1) * (len(columns) - 1) - int((tables.sum(axis=0) == 0).sum())
    if freedom <= 0:
        return Finding(Rule.ASSOCIATION, 1.0, str)
    n, m = tables.sum(axis=(1, 2))
    noncentrality = spec.minimum_effect * n * m / (n + m)
    p_value = minimum_effect_tail(statistic, freedom, noncentrality, pair.overdispersion, pair.overdispersion_spread)

    def words() -> str:
        gap = (tables[1] - fitted[1]) / np.sqrt(np.maximum(fitted[1], 1.0))
        row, column = np.unravel_index(int(np.argmax(np.abs(gap))), gap.shape)
        more = "more" if gap[row, column] > 0 else "less"
        first, second = features
        left, right = _band(first, pair.first_groups, rows[row]), _band(second, pair.second_groups, columns[column])
        alone, share = percent(fitted[1][row, column] / m), percent(tables[1][row, column] / m)
        return f"{left} with {right} {more} often than either alone explains: {share} of the rows instead of {alone}"

    return Finding(Rule.ASSOCIATION, p_value, words)


def same_odds_ratios(tables: Wide) -> Wide:
    """Return what two tables would hold with the margins they have and common odds ratios, shape (2, rows, columns).

    Example:
        >>> same_odds_ratios(np.array([[[4.0, 1.0], [1.0, 4.0]], [[8.0, 2.0], [2.0, 8.0]]])).round(6).tolist()[0]
        [[4.0, 1.0], [1.0, 4.0]]
    """
    fitted: Wide = np.ones_like(tables)
    for _ in range(_ROUNDS):
        before = fitted
        for axis in range(3):
            margin, current = tables.sum(axis=axis, keepdims=True), fitted.sum(axis=axis, keepdims=True)
            fitted = fitted * np.divide(margin, current, out=np.zeros_like(margin), where=current > 0)
        if np.abs(fitted - before).max() < _CLOSE * tables.sum():
            break
    return fitted


def _filled(tables: Wide, effect: float) -> tuple[Wide, list[int], list[int]]:
    """Leave out groups in which fewer independent rows than a cell needs, times the other's groups, lie in either table."""
    rows, columns = list(range(tables.shape[1])), list(range(tables.shape[2]))
    while rows and columns:
        part = tables[:, rows][:, :, columns]
        by_row, by_column = part.sum(axis=2).min(axis=0) / effect, part.sum(axis=1).min(axis=0) / effect
        keep_rows = by_row >= MINIMUM_EXPECTED * len(columns)
        keep_columns = by_column >= MINIMUM_EXPECTED * len(rows)
        if keep_rows.all() and keep_columns.all():
            return part, rows, columns
        # one at a time: leaving out a group of one feature may fill the other's
        if by_row.min() * len(rows) <= by_column.min() * len(columns):
            rows.pop(int(np.argmin(by_row)))
        else:
            columns.pop(int(np.argmin(by_column)))
    return tables[:, :0, :0], [], []


def _band(feature: FeatureBaseline, groups: tuple[int, ...], group: int) -> str:
    cells = [cell for cell, of in enumerate(groups) if of == group]
    held = [cell for cell in cells if feature.counts[cell]] or cells
    names = layout(feature).names
    if len(held) == 1:
        return f"{feature.name} {names[held[0]]}"
    if feature.type == "category":
        more = "" if len(held) <= _NAMED else f" and {len(held) - _NAMED} more"
        return f"{feature.name} {', '.join(names[cell] for cell in held[:_NAMED])}{more}"
    low, high = held[0] - 1, held[-1]
    bounds = [f"from {number(feature.edges[low])}" if low >= 0 else "", f"up to {number(feature.edges[high])}"]
    if high == len(feature.edges):
        bounds.pop()
    return f"{feature.name} {' '.join(filter(None, bounds))}"
