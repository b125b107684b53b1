"""How far predicted numbers are from their labels.

Every metric is a function of sums over rows, so that a bootstrap of calls costs one product of matrices.

See: R. Hyndman, A. Koehler, Another look at measures of forecast accuracy, International Journal of Forecasting 22 (2006) for
WAPE, there the ratio MAD/mean; https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html for the
names of the others.
"""

from collections.abc import Mapping

import numpy as np

from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.rows import Rows, Wide

NAMES = ("wape", "bias", "mae", "rmse", "r2", "interval_coverage")


def values(rows: Rows) -> dict[str, float]:
    """Return each metric of labelled rows, NaN where it is not defined.

    ``wape`` is the sum of absolute errors over the sum of absolute labels, ``bias`` that of errors, positive when predictions are
    too high; ``interval_coverage`` the share of labels within the bounds that the model gave, both included.

    Example:
        >>> values(Rows.of(np.array([8.0, 12.0]), np.array([10.0, 10.0])))["wape"]
        0.2
    """
    columns = _columns(rows)
    return {name: float(value[0]) for name, value in _metrics(columns.sum(axis=0)[np.newaxis]).items()}


def draws(rows: Rows, resampling: Resampling) -> Mapping[str, Wide]:
    """Return each metric of each draw of a resampling of the same rows."""
    return _metrics(resampling.totals(_columns(rows)))


def _columns(rows: Rows) -> Wide:
    with np.errstate(over="ignore", invalid="ignore"):
        error = rows.prediction - rows.label
        # about their mean: the sum of squares of large labels would lose the differences between them
        label = rows.label - (rows.label.mean() if len(rows) else 0.0)
        squared, label_squared = error**2, label**2
    has_bounds = np.isfinite(rows.low) & np.isfinite(rows.high)
    covered = has_bounds & (rows.low <= rows.label) & (rows.label <= rows.high)
    columns = (
        np.ones(len(rows)),
        np.abs(error),
        error,
        np.abs(rows.label),
        squared,
        label,
        label_squared,
        has_bounds,
        covered,
    )
    return np.stack(columns, axis=1).astype(np.float64)


def _metrics(sums: Wide) -> dict[str, Wide]:
    rows, absolute, error, actual, squared, label, label_squared, bounded, covered = sums.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = label_squared - label**2 / rows
        # rounding leaves a little of labels that are all the same: no spread to explain
        spread = np.where(spread > 1e-12 * label_squared, spread, np.nan)
        wape = np.where(actual > 0, absolute / actual, np.nan)
        bias = np.where(actual > 0, error / actual, np.nan)
        coverage = np.where(bounded > 0, covered / bounded, np.nan)
        metrics = (wape, bias, absolute / rows, np.sqrt(squared / rows), 1 - squared / spread, coverage)
    # what a double cannot hold is not known
    return {name: np.where(np.isfinite(metric), metric, np.nan) for name, metric in zip(NAMES, metrics, strict=True)}
