"""Model Monitor's file of model quality: the keys of its page, the numbers of scikit-learn."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.quality.quality import Quality
from mlops_runtime.monitor.quality.rows import Rows
from mlops_runtime.monitor.quality.statistics import quality_statistics

NOW = datetime(2017, 8, 8, tzinfo=UTC)
CLASSES = Baseline(
    features=(), rows=1, training_set_id="t", created="2017-08-01T00:00:00Z", target="classification", positive=0.4
)
EMPTY = Quality(rows=0, wape=None, bias=None, unmatched=0, mismatched=0, malformed=0)
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
KEYS = {
    "confusion_matrix",
    "recall",
    "precision",
    "accuracy",
    "recall_best_constant_classifier",
    "precision_best_constant_classifier",
    "accuracy_best_constant_classifier",
    "true_positive_rate",
    "true_negative_rate",
    "false_positive_rate",
    "false_negative_rate",
    "receiver_operating_characteristic_curve",
    "precision_recall_curve",
    "auc",
    "f0_5",
    "f1",
    "f2",
    "f0_5_best_constant_classifier",
    "f1_best_constant_classifier",
    "f2_best_constant_classifier",
}


def file_of(rows: Rows, baseline: Baseline | None) -> dict[str, Any]:
    """Return the file as it is read back."""
    file = quality_statistics(replace(EMPTY, labelled=rows), baseline, evaluated_at=NOW)
    loaded: dict[str, Any] = json.loads(json.dumps(file, allow_nan=False))
    return loaded


def test_regression_metrics() -> None:
    """Four of them, each with its standard deviation; that of the mean squared error is near what sampling gives."""
    random = np.random.default_rng(1)
    label = random.normal(10, 3, 1000)
    rows = Rows.of(label + random.normal(0, 2, 1000), label)
    file = file_of(rows, None)
    assert file["dataset"] == {"item_count": 1000, "evaluation_time": "2017-08-08T00:00:00Z"}
    metrics = file["regression_metrics"]
    assert set(metrics) == {"mae", "mse", "rmse", "r2"}
    assert metrics["mse"]["value"] == pytest.approx(reference.mean_squared_error(label, rows.prediction))
    assert metrics["r2"]["value"] == pytest.approx(reference.r2_score(label, rows.prediction))
    squares = (rows.prediction - label) ** 2
    assert metrics["mse"]["standard_deviation"] == pytest.approx(squares.std() / np.sqrt(1000), rel=0.15)


def test_classification_metrics() -> None:
    """Every key of the page; curves end where they must; labels of the matrix are actual first."""
    random = np.random.default_rng(2)
    probability = random.random(500)
    label = (random.random(500) < probability).astype(float)
    metrics = file_of(Rows.of(probability, label), CLASSES)["binary_classification_metrics"]
    assert set(metrics) == KEYS
    predicted = probability > 0.4
    matrix = reference.confusion_matrix(label, predicted)
    assert metrics["confusion_matrix"] == {str(y): {str(p): int(matrix[y, p]) for p in (0, 1)} for y in (0, 1)}
    for name, beta in (("f0_5", 0.5), ("f1", 1), ("f2", 2)):
        assert metrics[name]["value"] == pytest.approx(reference.fbeta_score(label, predicted, beta=beta))
        constant = reference.fbeta_score(label, np.ones(500), beta=beta)
        assert metrics[f"{name}_best_constant_classifier"]["value"] == pytest.approx(constant)
    assert metrics["auc"]["value"] == pytest.approx(reference.roc_auc_score(label, probability))
    assert metrics["auc"]["standard_deviation"] > 0
    roc = metrics["receiver_operating_characteristic_curve"]
    area = np.trapezoid(roc["true_positive_rates"], roc["false_positive_rates"])
    assert area == pytest.approx(metrics["auc"]["value"], abs=0.01)
    for points in (*roc.values(), *metrics["precision_recall_curve"].values()):
        assert len(points) <= 100
    assert (roc["true_positive_rates"][0], roc["true_positive_rates"][-1]) == (0, 1)


def test_few_rows_have_no_standard_deviation_and_one_class_no_area() -> None:
    """The text NaN, as Model Monitor writes it."""
    rows = Rows.of(np.array([0.2, 0.3]), np.zeros(2))
    metrics = file_of(rows, CLASSES)["binary_classification_metrics"]
    assert metrics["auc"] == metrics["recall"] == {"value": "NaN", "standard_deviation": "NaN"}
    assert metrics["accuracy"] == {"value": 1.0, "standard_deviation": "NaN"}
    assert metrics["precision_recall_curve"]["recalls"] == []


@pytest.mark.parametrize("huge", [1e150, 1e154, 1e200, -1.7e308])
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_label_beyond_all_measure_is_no_crash(huge: float) -> None:
    """Its square is no double: what rests on it is not defined, the rest is, and the file is JSON."""
    label = np.arange(1.0, 301.0)
    label[7] = huge
    found = quality_statistics(replace(EMPTY, rows=300, labelled=Rows.of(label + 1, label)), None, evaluated_at=NOW)
    assert found is not None
    assert json.dumps(found, allow_nan=False)


def test_nothing_labelled_is_no_file() -> None:
    """An empty file would say that there were metrics."""
    rows = Rows.of(np.empty(0), np.empty(0))
    assert quality_statistics(EMPTY, None, evaluated_at=NOW) is None
    assert quality_statistics(replace(EMPTY, labelled=rows), CLASSES, evaluated_at=NOW) is None
