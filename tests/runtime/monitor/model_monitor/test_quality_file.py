"""Model quality in the formats of Model Monitor."""

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mlops_runtime.monitor.model_monitor.executions import ExecutionFiles, read_executions
from mlops_runtime.monitor.model_monitor.quality_file import QualityError, quality_statistics, quality_violations
from mlops_runtime.monitor.monitors.rows import Rows


def _classified(count: int = 400) -> Rows:
    random = np.random.default_rng(1)
    label = (random.random(count) < 0.3).astype(np.float64)
    return Rows.of(np.clip(0.3 + 0.3 * (label - 0.3) + random.normal(0, 0.2, count), 0, 1), label)


def test_regression_has_the_four_metrics() -> None:
    """The four regression metrics follow their definitions, with a standard deviation from 200 rows on."""
    random = np.random.default_rng(1)
    label = random.normal(10, 3, 300)
    prediction = label + random.normal(0, 1, 300)
    metrics = quality_statistics(Rows.of(prediction, label), "Regression")["regression_metrics"]

    error = prediction - label
    assert metrics["mae"]["value"] == pytest.approx(np.abs(error).mean())
    assert metrics["mse"]["value"] == pytest.approx((error**2).mean())
    assert metrics["rmse"]["value"] == pytest.approx(np.sqrt((error**2).mean()))
    assert metrics["r2"]["value"] == pytest.approx(1 - (error**2).sum() / ((label - label.mean()) ** 2).sum())
    assert 0 < metrics["mae"]["standard_deviation"] < 0.1


def test_classification_has_the_documented_metrics() -> None:
    """Has the confusion-matrix rates, the AUC and the values of a constant classifier."""
    rows = _classified()
    statistics = quality_statistics(rows, "BinaryClassification", threshold=0.4)
    metrics = statistics["binary_classification_metrics"]
    predicted, actual = rows.prediction > 0.4, rows.label == 1
    hits = (predicted & actual).sum()
    recall, precision = hits / actual.sum(), hits / predicted.sum()

    matrix = metrics["confusion_matrix"]
    assert matrix["1"] == {"0": actual.sum() - hits, "1": hits}
    assert sum(sum(row.values()) for row in matrix.values()) == len(rows)
    assert metrics["recall"]["value"] == metrics["true_positive_rate"]["value"] == pytest.approx(recall)
    assert metrics["f2"]["value"] == pytest.approx(5 * precision * recall / (4 * precision + recall))
    area = stats.mannwhitneyu(rows.prediction[actual], rows.prediction[~actual]).statistic
    assert metrics["auc"]["value"] == pytest.approx(area / (actual.sum() * (~actual).sum()))
    assert metrics["accuracy_best_constant_classifier"]["value"] == pytest.approx(1 - actual.mean())
    assert metrics["recall_best_constant_classifier"]["value"] == 0.0


def test_what_is_not_defined_is_left_out() -> None:
    """Omits the AUC for labels of one class, and standard deviations below 200 rows."""
    metrics = quality_statistics(Rows.of(np.array([0.9, 0.1]), np.ones(2)), "BinaryClassification")
    found = metrics["binary_classification_metrics"]

    assert "auc" not in found
    assert "false_positive_rate" not in found
    assert found["accuracy"] == {"value": 0.5, "standard_deviation": "NaN"}


def test_violations_are_those_that_the_reader_understands() -> None:
    """Violations written here are read back by the deciding function with the same names and values."""
    rows = _classified()
    statistics = quality_statistics(rows, "BinaryClassification")
    constraints = {
        "binary_classification_constraints": {
            "accuracy": {"threshold": "0.99", "comparison_operator": "LessThanThreshold"},
            "auc": {"threshold": 0.5, "comparison_operator": "LessThanThreshold"},
            "false_negative_rate": {"threshold": 0.01, "comparison_operator": "GreaterThanThreshold"},
            "unknown": {"threshold": 0, "comparison_operator": "LessThanThreshold"},
        }
    }
    found = quality_violations(statistics, constraints, "BinaryClassification")

    assert [v["metric_name"] for v in found] == ["accuracy", "false_negative_rate"]
    assert found[0]["constraint_check_type"] == "LessThanThreshold"
    assert found[0]["description"].endswith("was LessThanThreshold '0.99'")
    files = {
        "statistics.json": json.dumps(statistics).encode(),
        "constraint_violations.json": json.dumps({"violations": found}).encode(),
    }
    read = read_executions([ExecutionFiles(monitor="model_quality", at="", files=files)])
    assert {m.name for m in read.quality if m.violated} == {"accuracy", "false_negative_rate"}
    assert read.labelled_rows == len(rows)


@pytest.mark.parametrize(
    ("constraints", "problem_type", "message"),
    [
        ({}, "Regression", "constraints must have regression_constraints, got nothing"),
        ({"regression_constraints": {"mae": {"threshold": "x"}}}, "Regression", "the constraint of mae must have"),
        (
            {"regression_constraints": {"mae": {"threshold": 1, "comparison_operator": "Over"}}},
            "Regression",
            "comparison_operator of mae must be LessThanThreshold or GreaterThanThreshold, got 'Over'",
        ),
        ({}, "MulticlassClassification", "problem_type must be Regression or BinaryClassification here"),
    ],
)
def test_what_cannot_be_checked_is_refused(constraints: dict[str, Any], problem_type: str, message: str) -> None:
    """Rejects checks that are unsupported, by name."""
    statistics = quality_statistics(Rows.of(np.ones(2), np.ones(2)), "Regression")
    with pytest.raises(QualityError, match=message):
        quality_violations(statistics, constraints, problem_type)
