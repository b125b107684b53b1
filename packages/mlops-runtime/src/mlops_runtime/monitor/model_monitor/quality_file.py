"""Model quality in Model Monitor's format: metrics with standard deviations, and violations of constraints.

A standard deviation is computed over five samples of 80 %, and the string ``NaN`` with fewer than 200 rows, as in Model Monitor.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_runtime.monitor.monitors import classification, regression
from mlops_runtime.monitor.monitors.rows import Rows

SECTIONS = {"Regression": "regression", "BinaryClassification": "binary_classification"}
_SAMPLES, _SHARE, _LEAST_ROWS = 5, 0.8, 200
_SEED = 0
_LESS = "LessThanThreshold"


class QualityError(ValueError):
    """Quality cannot be measured; the message lists the problems and the allowed values."""


def quality_statistics(
    rows: Rows,
    problem_type: str,
    *,
    threshold: float = classification.THRESHOLD,
    times: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return ``statistics.json`` of the model-quality monitor.

    Args:
        rows: Rows with finite labels and predictions; for classification labels 0 and 1 and probabilities.
        problem_type: ``Regression`` or ``BinaryClassification``.
        threshold: Decision threshold: a probability above it is a predicted positive. Default: 0.5.
        times: Further members of ``dataset``: start, end and time of the evaluation. Default: none.

    Raises:
        QualityError: If the problem type is not supported.

    Example:
        >>> rows = Rows.of(np.array([9.0, 12.0]), np.array([10.0, 10.0]))
        >>> quality_statistics(rows, "Regression")["regression_metrics"]["mae"]
        {'value': 1.5, 'standard_deviation': 'NaN'}
    """
    section = _section(problem_type)
    values = _values(rows, section, threshold)
    deviations = _deviations(rows, section, threshold)
    metrics: dict[str, Any] = {
        name: {"value": value, "standard_deviation": deviations.get(name, "NaN")} for name, value in values.items()
    }
    if section == "binary_classification":
        hits, false_alarms, misses, rest = _counts(rows, threshold)
        metrics = {"confusion_matrix": {"0": {"0": rest, "1": false_alarms}, "1": {"0": misses, "1": hits}}} | metrics
    return {"version": 0.0, "dataset": {"item_count": len(rows), **(times or {})}, f"{section}_metrics": metrics}


def quality_violations(
    statistics: Mapping[str, Any], constraints: Mapping[str, Any], problem_type: str
) -> tuple[dict[str, Any], ...]:
    """Return the violations of constraints by metrics, in the order of the constraints.

    Raises:
        QualityError: With every problem of the constraints.
    """
    section = _section(problem_type)
    requested = constraints.get(f"{section}_constraints")
    if not isinstance(requested, dict) or not requested:
        raise QualityError(f"constraints must have {section}_constraints, got {', '.join(constraints) or 'nothing'}")
    metrics, found, problems = statistics[f"{section}_metrics"], [], []
    for name, raw in requested.items():
        try:
            limit, operator = float(raw["threshold"]), str(raw["comparison_operator"])
        except (KeyError, TypeError, ValueError):
            problems.append(f"the constraint of {name} must have a threshold and a comparison_operator, got {raw!r}")
            continue
        if operator not in (_LESS, "GreaterThanThreshold"):
            problems.append(f"comparison_operator of {name} must be {_LESS} or GreaterThanThreshold, got {operator!r}")
            continue
        metric = metrics.get(name)
        if metric is None:  # undefined for these rows, for example without positive labels
            continue
        value = metric["value"]
        if value < limit if operator == _LESS else value > limit:
            spread = metric["standard_deviation"]
            margin = "" if spread == "NaN" else f" +/- {spread:.6g}"
            found.append(
                {
                    "constraint_check_type": operator,
                    "description": f"Metric {name} with {value:.6g}{margin} was {operator} '{limit:g}'",
                    "metric_name": name,
                }
            )
    if problems:
        raise QualityError("; ".join(problems))
    return tuple(found)


def _section(problem_type: str) -> str:
    if problem_type not in SECTIONS:
        raise QualityError(f"problem_type must be {' or '.join(SECTIONS)} here, got {problem_type!r}")
    return SECTIONS[problem_type]


def _values(rows: Rows, section: str, threshold: float) -> dict[str, float]:
    if not len(rows):
        return {}
    if section == "regression":
        known = regression.values(rows)
        found = {"mae": known["mae"], "mse": known["rmse"] ** 2, "rmse": known["rmse"], "r2": known["r2"]}
    else:
        known = classification.values(rows, threshold=threshold)
        found = {name: known[name] for name in ("recall", "precision", "accuracy", "auc", "f1")}
        found |= _rates(rows, threshold)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _rates(rows: Rows, threshold: float) -> dict[str, float]:
    hits, false_alarms, misses, rest = _counts(rows, threshold)
    positives, negatives = hits + misses, false_alarms + rest
    share = positives / (positives + negatives)
    is_positive = share > 0.5  # the prediction of the best constant classifier
    recall, precision = _ratio(hits, positives), _ratio(hits, hits + false_alarms)
    constant_recall, constant_precision = float(is_positive), share if is_positive else 0.0
    return {
        "f0_5": _f(precision, recall, 0.5),
        "f2": _f(precision, recall, 2),
        "true_positive_rate": recall,
        "true_negative_rate": _ratio(rest, negatives),
        "false_positive_rate": _ratio(false_alarms, negatives),
        "false_negative_rate": _ratio(misses, positives),
        "recall_best_constant_classifier": constant_recall,
        "precision_best_constant_classifier": constant_precision,
        "accuracy_best_constant_classifier": max(share, 1 - share),
        "f1_best_constant_classifier": _f(constant_precision, constant_recall, 1),
    }


def _counts(rows: Rows, threshold: float) -> tuple[int, int, int, int]:
    predicted, actual = rows.prediction > threshold, rows.label == 1
    return (
        int((predicted & actual).sum()),
        int((predicted & ~actual).sum()),
        int((~predicted & actual).sum()),
        int((~predicted & ~actual).sum()),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _f(precision: float, recall: float, beta: float) -> float:
    weighted = beta**2 * precision + recall
    if weighted == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / weighted


def _deviations(rows: Rows, section: str, threshold: float) -> dict[str, float]:
    if len(rows) < _LEAST_ROWS:
        return {}
    random = np.random.default_rng(_SEED)
    samples: dict[str, list[float]] = {}
    for _ in range(_SAMPLES):
        mask = np.zeros(len(rows), dtype=np.bool_)
        mask[random.choice(len(rows), int(len(rows) * _SHARE), replace=False)] = True
        for name, value in _values(rows.where(mask), section, threshold).items():
            samples.setdefault(name, []).append(value)
    return {name: float(np.std(values)) for name, values in samples.items() if len(values) == _SAMPLES}
