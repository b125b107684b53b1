"""Regression quality: the sums over rows from which `quality_metrics` computes the metrics.

A model with several outputs has the metrics of each, and the mean of their WAPEs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.quality_metrics import OF_EACH_OUTPUT, REGRESSION
from mlops_runtime.monitor.monitors.rows import Rows, Wide

_TOGETHER = "wape"  # of several outputs: the mean of their own
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


def output_names(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the metrics of a model's outputs."""
    return (_TOGETHER, *(f"{metric}/{name}" for metric in OF_EACH_OUTPUT for name in outputs))


def output_values(rows: Rows, outputs: Sequence[str]) -> dict[str, float]:
    """Return each metric of labelled rows; NaN if undefined.

    Example:
        >>> rows = Rows.of(np.array([[8.0, 1.0], [12.0, 1.0]]), np.array([[10.0, 1.0], [10.0, 1.0]]))
        >>> found = output_values(rows, ("weight", "waist"))
        >>> found["wape"], found["wape/weight"], found["mae/waist"]
        (0.1, 0.2, 0.0)
    """
    each = [values(output) for output in _each_output(rows, outputs)]
    found = {
        f"{metric}/{name}": of[metric] for name, of in zip(outputs, each, strict=True) for metric in OF_EACH_OUTPUT
    }
    return {_TOGETHER: float(np.mean([of[_TOGETHER] for of in each])), **found}


def output_draws(rows: Rows, outputs: Sequence[str], resampling: Resampling) -> Mapping[str, Wide]:
    """Return each metric of each bootstrap draw of the rows."""
    each = [draws(output, resampling) for output in _each_output(rows, outputs)]
    found = {
        f"{metric}/{name}": of[metric] for name, of in zip(outputs, each, strict=True) for metric in OF_EACH_OUTPUT
    }
    return {_TOGETHER: np.mean([of[_TOGETHER] for of in each], axis=0), **found}


def _each_output(rows: Rows, outputs: Sequence[str]) -> Iterator[Rows]:
    for place in range(len(outputs)):
        yield replace(rows, prediction=rows.prediction[:, place], label=rows.label[:, place])
