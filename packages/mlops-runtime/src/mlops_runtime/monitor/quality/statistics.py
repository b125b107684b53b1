"""Model quality in Model Monitor's shape: what ``statistics.json`` of a model quality job holds.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.quality.classification import Ranking
from mlops_runtime.monitor.quality.intervals import Interval
from mlops_runtime.monitor.quality.quality import Quality, Target, intervals
from mlops_runtime.monitor.quality.rows import Rows, Wide

# Model Monitor gives no standard deviation of fewer
_MINIMUM_ROWS = 200
_CURVE_POINTS = 100


def quality_statistics(quality: Quality, baseline: Baseline | None, *, evaluated_at: datetime) -> dict[str, Any] | None:
    """Return ``statistics.json`` of model quality; None without a labelled row that can be judged.

    Standard deviations are over bootstrap draws of calls, where Model Monitor takes five samples of 80 %; below 200 rows they are
    the text ``NaN``, as there. A metric that is not defined, and an infinite one, are the text ``NaN`` too. The best constant
    classifier predicts every row positive. Curves have a hundred points at most.

    Args:
        quality: Of a window.
        baseline: Target and threshold. Default: a regression.
        evaluated_at: When it was measured.
    """
    rows = quality.labelled
    if rows is None or not len(rows):
        return None
    target = Target.of(baseline)
    found = intervals(rows, target)
    if target.kind == "classification":
        section, metrics = "binary_classification_metrics", _classification(rows, target.threshold, found)
    else:
        section, metrics = "regression_metrics", _regression(len(rows), found)
    return {
        "version": 0.0,
        "dataset": {"item_count": len(rows), "evaluation_time": to_dict(evaluated_at)},
        section: metrics,
    }


def _regression(rows: int, found: Mapping[str, tuple[float, Interval | None]]) -> dict[str, Any]:
    metrics = {name: _of(name, rows, found) for name in ("mae", "rmse", "r2")}
    # not there where a label is so large that its square is no double
    rmse, spread = found["rmse"][0] if "rmse" in found else None, _deviation("rmse", found)
    deviation = None if rmse is None or spread is None else 2 * rmse * spread
    return {"mse": _metric(rows, None if rmse is None else rmse * rmse, deviation), **metrics}


def _classification(rows: Rows, threshold: float, found: Mapping[str, tuple[float, Interval | None]]) -> dict[str, Any]:
    label, predicted = rows.label == 1, rows.prediction > threshold
    size = len(rows)
    matrix = [[int((label == y).sum(where=predicted == p)) for p in (False, True)] for y in (False, True)]
    (true_negative, false_positive), (false_negative, true_positive) = matrix
    negative, positive = true_negative + false_positive, false_negative + true_positive
    rates = {
        "true_positive_rate": (true_positive, positive),
        "true_negative_rate": (true_negative, negative),
        "false_positive_rate": (false_positive, negative),
        "false_negative_rate": (false_negative, positive),
    }
    share = positive / size
    constant = {"recall": 1.0 if positive else None, "precision": share, "accuracy": share}
    constant |= {name: _f(beta, positive, size - positive, 0) for name, beta in _BETAS.items()}
    false_rates, true_rates, precisions, recalls = _curves(rows)
    return {
        "confusion_matrix": {str(y): {str(p): matrix[y][p] for p in (0, 1)} for y in (0, 1)},
        **{name: _of(name, size, found) for name in ("recall", "precision", "accuracy")},
        **{f"{name}_best_constant_classifier": _metric(size, value, None) for name, value in constant.items()},
        **{name: _metric(size, part / whole if whole else None, None) for name, (part, whole) in rates.items()},
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": false_rates,
            "true_positive_rates": true_rates,
        },
        "precision_recall_curve": {"precisions": precisions, "recalls": recalls},
        "auc": _of("auc", size, found),
        **{
            name: _metric(size, _f(beta, true_positive, false_positive, false_negative), _deviation(name, found))
            for name, beta in _BETAS.items()
        },
    }


_BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def _f(beta: float, hits: int, false_alarms: int, misses: int) -> float | None:
    weight = beta * beta
    whole = (1 + weight) * hits + weight * misses + false_alarms
    return (1 + weight) * hits / whole if whole else None


def _curves(rows: Rows) -> tuple[list[float], list[float], list[float], list[float]]:
    positives, negatives = (
        np.concatenate([[0.0], np.cumsum(counts[0])]) for counts in Ranking(rows).counts(np.ones((1, len(rows))))
    )
    chosen = np.unique(np.linspace(0, len(positives) - 1, _CURVE_POINTS).astype(np.int64))
    above, below = positives[chosen], negatives[chosen]
    shares = [_shares(below, negatives[-1]), _shares(above, positives[-1])]
    precisions = np.where(above + below > 0, above / np.maximum(above + below, 1), 1.0)
    return shares[0], shares[1], precisions.tolist(), shares[1]


def _shares(part: Wide, whole: float) -> list[float]:
    return (part / whole).tolist() if whole else []


def _of(name: str, rows: int, found: Mapping[str, tuple[float, Interval | None]]) -> dict[str, Any]:
    return _metric(rows, found[name][0] if name in found else None, _deviation(name, found))


def _deviation(name: str, found: Mapping[str, tuple[float, Interval | None]]) -> float | None:
    bounds = found[name][1] if name in found else None
    return None if bounds is None else bounds.deviation


def _metric(rows: int, value: float | None, deviation: float | None) -> dict[str, Any]:
    known = deviation is not None and np.isfinite(deviation) and rows >= _MINIMUM_ROWS
    return {
        "value": value if value is not None and np.isfinite(value) else "NaN",
        "standard_deviation": deviation if known else "NaN",
    }
