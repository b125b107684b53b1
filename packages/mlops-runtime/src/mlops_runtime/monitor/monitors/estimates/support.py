"""Check whether a window's performance can be estimated: whether the labelled holdout has enough similar rows."""

from collections.abc import Sequence

import numpy as np

from mlops_runtime.contracts.monitor_report import ScoredWindow
from mlops_runtime.monitor.monitors.estimates.estimator_fit import THIN
from mlops_runtime.monitor.monitors.estimates.expectation import Shown
from mlops_runtime.monitor.monitors.rows import Mask
from mlops_runtime.monitor.wording import percent

NO_HOLDOUT = "the baseline has no labelled holdout with predictions, of at least 200 rows and 2 clusters"
# share of the labelled rows
_LEAST_ROWS = 0.1
_MAXIMUM_BEYOND = 0.01
_MAXIMUMTHIN = 0.05
# number of the last scored windows that confirm or refute estimates
_ENOUGH, _OF_LAST = 2, 3


def unsupported(columns: Sequence[Shown], labelled: int) -> str | None:
    """Return why a window's performance cannot be estimated from the holdout; None if it can.

    In this order: the effective number of labelled rows is below a tenth of them (Kish's effective size of the rows weighted to the
    window's shares, the smallest of all columns), more than 1 % of the window is beyond the range of a column, more than 5 % is in
    cells with fewer than 30 labelled rows.

    See: L. Kish, Survey Sampling (1965), 11.7.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(0.0, 1.0, 2.0), counts=(0, 50, 50, 0, 0), bounded=True)
        >>> shown = Shown("price", price, np.array([0.0, 50, 48, 2, 0]), np.array([0.0, 500, 500, 0, 0]))
        >>> unsupported([shown], 1000)
        'price: 2.0 % of the rows are beyond the range of the labelled rows, at most 1 % is allowed'
    """
    alike = {column.name: _alike(column) for column in columns}
    name = min(alike, key=lambda each: alike[each])
    if alike[name] < _LEAST_ROWS * labelled:
        return (
            f"{name}: the window corresponds to {alike[name]:,.0f} of {labelled:,} labelled rows, at least "
            f"{_LEAST_ROWS * labelled:,.0f} are needed"
        )
    beyond = {column.name: float(column.shares[_outer(column) & _thin(column)].sum()) for column in columns}
    name = max(beyond, key=lambda each: beyond[each])
    if beyond[name] > _MAXIMUM_BEYOND:
        most = percent(_MAXIMUM_BEYOND).replace("1.0", "1")
        return f"{name}: {percent(beyond[name])} of the rows are beyond the range of the labelled rows, at most {most} is allowed"
    thin = {column.name: float(column.shares[_thin(column)].sum()) for column in columns}
    name = max(thin, key=lambda each: thin[each])
    if thin[name] > _MAXIMUMTHIN:
        return (
            f"{name}: {percent(thin[name])} of the rows have values with fewer than {THIN} labelled rows, at most "
            f"{percent(_MAXIMUMTHIN).replace('5.0', '5')} is allowed"
        )
    return None


def were_wrong(scored: Sequence[ScoredWindow]) -> str | None:
    """Return that the last estimates were wrong: labels of two of the last three scored windows are outside their intervals.

    The estimator is then no longer valid: the relation between inputs and label has changed.

    Args:
        scored: Scored windows, newest first.
    """
    last = scored[:_OF_LAST]
    wrong = sum(window.metrics[0].is_outside for window in last)
    if wrong < _ENOUGH:
        return None
    return (
        f"the last estimates were wrong: labels of {wrong} of the last {len(last)} windows are outside their intervals"
    )


def were_confirmed(scored: Sequence[ScoredWindow]) -> bool:
    """Return whether labels confirmed earlier estimates: two of the last three scored windows are inside their intervals.

    Args:
        scored: Scored windows, newest first.
    """
    last = scored[:_OF_LAST]
    return sum(not window.metrics[0].is_outside for window in last) >= _ENOUGH


def _alike(column: Shown) -> float:
    return float(1 / max(1e-12, (column.shares**2 / np.maximum(column.labelled, 0.5)).sum()))


def _thin(column: Shown) -> Mask:
    return np.asarray(column.labelled < THIN)


def _outer(column: Shown) -> Mask:
    """Return which cells are beyond the range: the outer ones; of a class's score, those of both halves."""
    found = np.zeros(len(column.rows), dtype=np.bool_)
    if column.feature.type == "number" and column.feature.bounded and column.feature.edges:
        bins = len(column.feature.edges) + 1
        for start in range(0, len(column.rows) - 1, bins):
            found[[start, start + bins - 1]] = True
    return found
