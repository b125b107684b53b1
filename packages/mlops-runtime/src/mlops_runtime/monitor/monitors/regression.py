"""Regression quality: the sums over rows from which `quality_metrics` computes the metrics."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.quality_metrics import REGRESSION
from mlops_runtime.monitor.monitors.rows import Rows, Wide

NAMES = tuple(metric.name for metric in REGRESSION)


def values(rows: Rows) -> dict[str, float]:
    """Return each metric of labelled rows; NaN if undefined.

    ``wape`` is the sum of absolute errors over the sum of absolute labels; ``bias`` is the sum of errors over it, positive if
    predictions are too high; ``interval_coverage`` is the share of labels within the model's bounds, inclusive.

    Example:
        >>> values(Rows.of(np.array([8.0, 12.0]), np.array([10.0, 10.0])))["wape"]
        0.2
    """
    names, columns = _columns(rows)
    return {name: float(value[0]) for name, value in _metrics(names, columns.sum(axis=0)[np.newaxis]).items()}


def draws(rows: Rows, resampling: Resampling) -> Mapping[str, Wide]:
    """Return each metric of each bootstrap draw of the rows."""
    names, columns = _columns(rows)
    return _metrics(names, resampling.totals(columns))


def _columns(rows: Rows) -> tuple[list[str], Wide]:
    """Return the names of the sums, and the contributions of each row."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = rows.prediction - rows.label
        # centred, to avoid cancellation in the sum of squares of large labels
        label = rows.label - (rows.label.mean() if len(rows) else 0.0)
        has_bounds = np.isfinite(rows.low) & np.isfinite(rows.high)
        columns = {
            "rows": np.ones(len(rows)),
            "absolute": np.abs(error),
            "error": error,
            "actual": np.abs(rows.label),
            "squared": error**2,
            "label": label,
            "label_squared": label**2,
            "bounded": has_bounds,
            "covered": has_bounds & (rows.low <= rows.label) & (rows.label <= rows.high),
            **{name: of_rows(rows) for metric in REGRESSION for name, of_rows in metric.sums.items()},
        }
    return list(columns), np.stack(list(columns.values()), axis=1).astype(np.float64)


def _metrics(names: list[str], totals: Wide) -> dict[str, Wide]:
    sums = SimpleNamespace(**dict(zip(names, totals.T, strict=True)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = sums.label_squared - sums.label**2 / sums.rows
        # treat rounding errors of constant labels as zero variance: R2 is undefined
        sums.spread = np.where(spread > 1e-12 * sums.label_squared, spread, np.nan)
        found = {metric.name: metric.value(sums) for metric in REGRESSION}
    # values that overflow are undefined
    return {name: np.where(np.isfinite(value), value, np.nan) for name, value in found.items()}
