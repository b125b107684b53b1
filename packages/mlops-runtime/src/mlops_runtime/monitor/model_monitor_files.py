"""SageMaker Model Monitor's ``statistics.json`` and ``constraints.json``, written from a baseline, counts and labelled rows.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.monitors.classes import confusion
from mlops_runtime.monitor.monitors.classification import Ranking
from mlops_runtime.monitor.monitors.intervals import Interval
from mlops_runtime.monitor.monitors.label_measures import Target, intervals
from mlops_runtime.monitor.monitors.rows import Rows, Wide
from mlops_runtime.monitor.spec import MonitorSpec

OTHER, NEW = "__other__", "__new__"


def statistics(baseline: Baseline, counts: Counts) -> dict[str, object]:
    """Return ``statistics.json``: item count and the statistics of each feature in the window.

    Buckets are the baseline's bins, not Model Monitor's ten of equal width. Counts are exact, without a sketch. The two outermost
    bounds are the window's minimum and maximum; an outermost bin that they do not reach has no bound on that side.
    Levels that the baseline counts together are ``__other__``, levels that it does not contain ``__new__``.
    """
    return {
        "version": 0.0,
        "dataset": {"item_count": counts.rows},
        "features": [_feature(*pair) for pair in zip(baseline.features, counts.features, strict=True)],
    }


def constraints(baseline: Baseline, spec: MonitorSpec) -> dict[str, object]:
    """Return ``constraints.json``: Model Monitor's constraints of the baseline's features.

    For tools that read Model Monitor's files. The monitor decides with `decide`, whose rules these constraints cannot express.

    Args:
        baseline: The live model's baseline.
        spec: Thresholds: ``minimum_share`` bounds the share of mistyped or unknown values, ``minimum_effect`` the distance.
    """
    return {
        "version": 0.0,
        "features": [_constraint(feature) for feature in baseline.features],
        "monitoring_config": {
            "evaluate_constraints": "Enabled",
            "emit_metrics": "Enabled",
            "datatype_check_threshold": 1 - spec.minimum_share,
            "domain_content_threshold": 1 - spec.minimum_share,
            "distribution_constraints": {
                "perform_comparison": "Enabled",
                "comparison_threshold": spec.minimum_effect,
                "comparison_method": "Robust",
            },
        },
    }


def _constraint(feature: FeatureBaseline) -> dict[str, object]:
    rows = sum(feature.counts)
    completeness = (rows - feature.counts[-1]) / rows if rows else 0.0
    if feature.type == "category":
        return {
            "name": feature.name,
            "inferred_type": "String",
            "completeness": completeness,
            "string_constraints": {"domains": list(feature.levels)},
        }
    lowest = feature.quantiles[0] if feature.quantiles else None
    return {
        "name": feature.name,
        "inferred_type": "Fractional",
        "completeness": completeness,
        "num_constraints": {"is_non_negative": lowest is not None and lowest >= 0},
    }


def _feature(baseline: FeatureBaseline, counts: FeatureCounts) -> dict[str, object]:
    null = counts.counts[-1]
    known = sum(counts.counts) - null
    common = {"num_present": known, "num_missing": null}
    if baseline.type == "category":
        levels = _levels(baseline, counts)
        buckets = [{"value": level, "count": count} for level, count in levels]
        return {
            "name": baseline.name,
            "inferred_type": "String" if known else "Unknown",
            "string_statistics": {
                "common": common,
                "distinct_count": float(sum(count > 0 for _, count in levels)),
                "distribution": {"categorical": {"buckets": buckets}},
            },
        }
    total = math.fsum((counts.sum, *(counts.sum_rest or ())))
    squares = math.fsum((counts.sum_squares, *(counts.sum_squares_rest or ())))
    mean = total / known if known else None
    variance = None if mean is None else max(0.0, squares / known - mean * mean)
    return {
        "name": baseline.name,
        "inferred_type": "Fractional" if known else "Unknown",
        "numerical_statistics": {
            "common": common,
            "mean": mean,
            "sum": total,
            "std_dev": None if variance is None else math.sqrt(variance),
            "min": counts.minimum,
            "max": counts.maximum,
            "distribution": {"kll": {"buckets": _buckets(baseline.edges, counts)}},
        },
    }


def _levels(baseline: FeatureBaseline, counts: FeatureCounts) -> list[tuple[str, int]]:
    """Return the count of each level, and the total of the others."""
    kept, rest = counts.counts[: len(baseline.levels)], counts.counts[len(baseline.levels) : -1]
    levels = list(zip(baseline.levels, kept, strict=True))
    if baseline.tail is None:
        return [*levels, (OTHER, sum(rest))]
    return [*levels, (OTHER, sum(rest[:-1])), (NEW, rest[-1])]


def _buckets(edges: Sequence[float], counts: FeatureCounts) -> list[dict[str, float]]:
    bounds = zip((counts.minimum, *edges), (*edges, counts.maximum), counts.counts[:-1], strict=True)
    found = [
        {
            **({} if lower is None else {"lower_bound": lower}),
            **({} if upper is None else {"upper_bound": upper}),
            "count": float(count),
        }
        for lower, upper, count in bounds
    ]
    # the window's minimum may be above the first edge, and its maximum below the last
    if edges and counts.minimum is not None and counts.minimum > edges[0]:
        del found[0]["lower_bound"]
    if edges and counts.maximum is not None and counts.maximum < edges[-1]:
        del found[-1]["upper_bound"]
    return found


# Model Monitor reports no standard deviation for fewer rows
_MINIMUM_ROWS = 200
_CURVE_POINTS = 100


def quality_statistics(rows: Rows, baseline: Baseline | None, *, evaluated_at: datetime) -> dict[str, object] | None:
    """Return ``statistics.json`` of model quality; None without labelled rows that can be evaluated, and for several outputs.

    Standard deviations come from a bootstrap over calls, where Model Monitor takes five samples of 80 %. With fewer than 200 rows
    they are the string ``NaN``, as Model Monitor's are. Undefined and infinite metrics are the string ``NaN`` too. The best
    constant classifier predicts every row positive. Curves have at most 100 points.

    Args:
        rows: Labelled rows of a window that can be evaluated.
        baseline: Has the target and threshold. Default: a regression.
        evaluated_at: Time of the evaluation.
    """
    target = Target.of(baseline)
    if not len(rows) or target.outputs is not None:
        return None
    found = intervals(rows, target)
    if target.classes is not None:
        section, metrics = "multiclass_classification_metrics", _classes(rows, target.classes, found)
    elif target.kind == "classification":
        section, metrics = "binary_classification_metrics", _classification(rows, target.threshold, found)
    else:
        section, metrics = "regression_metrics", _regression(len(rows), found)
    return {
        "version": 0.0,
        "dataset": {"item_count": len(rows), "evaluation_time": to_dict(evaluated_at)},
        section: metrics,
    }


def _regression(rows: int, found: Mapping[str, tuple[float, Interval | None]]) -> dict[str, object]:
    metrics = {name: _of(name, rows, found) for name in ("mae", "rmse", "r2")}
    # missing if the square of a label overflows a double
    rmse, spread = found["rmse"][0] if "rmse" in found else None, _deviation("rmse", found)
    deviation = None if rmse is None or spread is None else 2 * rmse * spread
    return {"mse": _metric(rows, None if rmse is None else rmse * rmse, deviation), **metrics}


def _classification(
    rows: Rows, threshold: float, found: Mapping[str, tuple[float, Interval | None]]
) -> dict[str, object]:
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


def _classes(
    rows: Rows, classes: Sequence[str], found: Mapping[str, tuple[float, Interval | None]]
) -> dict[str, object]:
    """Return the multiclass metrics, averaged over classes with the number of labels as weights, as in Model Monitor."""
    matrix, size = np.array(confusion(rows, len(classes)), dtype=np.float64), len(rows)
    hits, labelled, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    weights = labelled / size
    recall = np.divide(hits, labelled, out=np.zeros(len(classes)), where=labelled > 0)
    precision = np.divide(hits, predicted, out=np.zeros(len(classes)), where=predicted > 0)
    both = {"recall": recall, "precision": precision}
    for name, beta in _BETAS.items():
        whole = beta * beta * precision + recall
        both[name] = np.divide(
            (1 + beta * beta) * precision * recall, whole, out=np.zeros(len(classes)), where=whole > 0
        )
    table = {a: {b: int(matrix[y, p]) for p, b in enumerate(classes)} for y, a in enumerate(classes)}
    return {
        "confusion_matrix": table,
        "accuracy": _of("accuracy", size, found),
        **{f"weighted_{name}": _metric(size, float((weights * each).sum()), None) for name, each in both.items()},
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


def _of(name: str, rows: int, found: Mapping[str, tuple[float, Interval | None]]) -> dict[str, object]:
    return _metric(rows, found[name][0] if name in found else None, _deviation(name, found))


def _deviation(name: str, found: Mapping[str, tuple[float, Interval | None]]) -> float | None:
    bounds = found[name][1] if name in found else None
    return None if bounds is None else bounds.deviation


def _metric(rows: int, value: float | None, deviation: float | None) -> dict[str, object]:
    known = deviation is not None and np.isfinite(deviation) and rows >= _MINIMUM_ROWS
    return {
        "value": value if value is not None and np.isfinite(value) else "NaN",
        "standard_deviation": deviation if known else "NaN",
    }
