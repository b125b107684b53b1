"""Model Monitor's files about data, held to the shapes of its documentation and of the SageMaker SDK's own fixtures.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.counting.counts import count, empty
from mlops_runtime.monitor.model_monitor_files import constraints, quality_statistics, statistics
from mlops_runtime.monitor.monitors.rows import Rows
from mlops_runtime.monitor.spec import MonitorSpec

# keys and types as documented; "?" marks optional keys, None nullable values
NUMBER = (int, float)
BUCKET = {"lower_bound?": NUMBER, "upper_bound?": NUMBER, "count": NUMBER}
COMMON = {"num_present": int, "num_missing": int}
STATISTICS: Mapping[str, Any] = {
    "version": float,
    "dataset": {"item_count": int},
    "features": [
        {
            "name": str,
            "inferred_type": str,
            "numerical_statistics?": {
                "common": COMMON,
                "mean": (*NUMBER, type(None)),
                "sum": NUMBER,
                "std_dev": (*NUMBER, type(None)),
                "min": (*NUMBER, type(None)),
                "max": (*NUMBER, type(None)),
                "distribution": {"kll": {"buckets": [BUCKET]}},
            },
            "string_statistics?": {
                "common": COMMON,
                "distinct_count": float,
                "distribution": {"categorical": {"buckets": [{"value": str, "count": int}]}},
            },
        }
    ],
}
CONSTRAINTS: Mapping[str, Any] = {
    "version": float,
    "features": [
        {
            "name": str,
            "inferred_type": str,
            "completeness": NUMBER,
            "num_constraints?": {"is_non_negative": bool},
            "string_constraints?": {"domains": [str]},
        }
    ],
    "monitoring_config": {
        "evaluate_constraints": str,
        "emit_metrics": str,
        "datatype_check_threshold": NUMBER,
        "domain_content_threshold": NUMBER,
        "distribution_constraints": {
            "perform_comparison": str,
            "comparison_threshold": NUMBER,
            "comparison_method": str,
        },
    },
}


def hold(document: Any, shape: Any, path: str = "$") -> None:
    """Assert that a document has exactly the members of a shape, with their types."""
    if isinstance(shape, Mapping):
        allowed = {name.rstrip("?") for name in shape}
        assert set(document) <= allowed, f"{path}: {set(document) - allowed}"
        for name, kind in shape.items():
            if name.rstrip("?") in document or not name.endswith("?"):
                hold(document[name.rstrip("?")], kind, f"{path}.{name}")
    elif isinstance(shape, list):
        for index, item in enumerate(document):
            hold(item, shape[0], f"{path}[{index}]")
    else:
        assert isinstance(document, shape), f"{path}: {document!r}"


def test_statistics_have_model_monitors_shape(lines: Any, baseline: Baseline) -> None:
    """Numbers have mean, deviation, extremes and buckets; texts have levels."""
    document = statistics(baseline, count([lines.call("1,,north\n3,2,west\n")], baseline))
    hold(json.loads(json.dumps(document)), STATISTICS)
    price, stock, store = document["features"]
    assert document["dataset"] == {"item_count": 2}
    numbers = price["numerical_statistics"]
    assert (price["inferred_type"], numbers["mean"], numbers["sum"], numbers["std_dev"]) == (
        "Fractional",
        2.0,
        4.0,
        1.0,
    )
    assert (numbers["min"], numbers["max"]) == (1.0, 3.0)
    assert stock["numerical_statistics"]["common"] == {"num_present": 1, "num_missing": 1}
    buckets = numbers["distribution"]["kll"]["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == 2
    levels = {b["value"]: b["count"] for b in store["string_statistics"]["distribution"]["categorical"]["buckets"]}
    assert levels == {"north": 1, "south, old": 0, "__other__": 0, "__new__": 1}
    assert store["string_statistics"]["distinct_count"] == 2.0


def test_each_bucket_holds_what_its_bounds_say(lines: Any, baseline: Baseline) -> None:
    """Bucket counts agree with a recount of the values."""
    values = np.random.default_rng(3).lognormal(1, 0.6, 400).astype(np.float32)
    found = statistics(baseline, count([lines.call("\n".join(f"{v},1,north" for v in values))], baseline))
    buckets = found["features"][0]["numerical_statistics"]["distribution"]["kll"]["buckets"]
    for index, bucket in enumerate(buckets):
        low, high = bucket.get("lower_bound", -np.inf), bucket.get("upper_bound", np.inf)
        last = index == len(buckets) - 1
        assert bucket["count"] == ((values >= low) & ((values <= high) if last else (values < high))).sum()


def test_a_window_within_the_range_leaves_the_outer_buckets_open() -> None:
    """The outer buckets keep their edges and are unbounded where the window has no value."""
    feature = FeatureBaseline(name="x", type="number", edges=(1.0, 5.0), counts=(1, 1, 1, 0))
    baseline = Baseline(features=(feature,), rows=3, training_set_id="t", created="")
    counted = FeatureCounts(name="x", counts=(0, 2, 0, 0), sum=5.0, sum_squares=13.0, minimum=2.0, maximum=3.0)
    window = Counts(baseline_sha256="b", rows=2, calls=2, features=(counted,), first="", last="")

    statistic = statistics(baseline, window)["features"][0]["numerical_statistics"]

    assert statistic["distribution"]["kll"]["buckets"] == [
        {"upper_bound": 1.0, "count": 0.0},
        {"lower_bound": 1.0, "upper_bound": 5.0, "count": 2.0},
        {"lower_bound": 5.0, "count": 0.0},
    ]


def test_statistics_of_nothing_are_json(baseline: Baseline) -> None:
    """Without rows there is no mean or deviation and an unknown type, in the same shape."""
    document = json.loads(json.dumps(statistics(baseline, empty(baseline))))
    hold(document, STATISTICS)
    first = document["features"][0]
    assert (first["inferred_type"], first["numerical_statistics"]["mean"]) == ("Unknown", None)


def test_sums_of_huge_windows_keep_their_rest() -> None:
    """The exact sum is its first double plus all remainders."""
    feature = FeatureBaseline(name="x", type="number", edges=(1.0,), counts=(1, 1, 0))
    baseline = Baseline(features=(feature,), rows=2, training_set_id="t", created="")
    counted = FeatureCounts(
        name="x", counts=(1, 1, 0), sum=1e16, sum_rest=(1.0,), sum_squares=0.0, minimum=0.0, maximum=2.0
    )
    counts = Counts(baseline_sha256="b", rows=2, calls=2, features=(counted,), first="", last="")
    numbers = statistics(baseline, counts)["features"][0]["numerical_statistics"]
    assert (numbers["sum"], numbers["mean"]) == (1e16, 5e15)


def test_constraints_have_model_monitors_shape(baseline: Baseline) -> None:
    """Contains completeness and sign of the training data, its levels, and our thresholds in Model Monitor's fields."""
    document = constraints(baseline, MonitorSpec(minimum_effect=0.02, minimum_share=0.01))
    hold(json.loads(json.dumps(document)), CONSTRAINTS)
    price, stock, store = document["features"]
    assert price["num_constraints"] == {"is_non_negative": True}
    assert price["completeness"] == 1
    assert stock["completeness"] == pytest.approx(0.9, abs=0.02)
    assert store["string_constraints"]["domains"] == list(baseline.features[2].levels)
    config = document["monitoring_config"]
    assert (config["distribution_constraints"]["comparison_threshold"], config["datatype_check_threshold"]) == (
        0.02,
        0.99,
    )


NOW = datetime(2017, 8, 8, tzinfo=UTC)
CLASSES = Baseline(
    features=(), rows=1, training_set_id="t", created="2017-08-01T00:00:00Z", target="classification", positive=0.4
)
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
    """Return the file as read back."""
    file = quality_statistics(rows, baseline, evaluated_at=NOW)
    loaded: dict[str, Any] = json.loads(json.dumps(file, allow_nan=False))
    return loaded


def test_regression_metrics() -> None:
    """The four metrics have standard deviations; that of the mean squared error is near the sampled one."""
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
    """Has every documented key; curves end at their limits; the confusion matrix is by actual label first."""
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
    """The standard deviation is the string NaN, as Model Monitor writes it."""
    rows = Rows.of(np.array([0.2, 0.3]), np.zeros(2))
    metrics = file_of(rows, CLASSES)["binary_classification_metrics"]
    assert metrics["auc"] == metrics["recall"] == {"value": "NaN", "standard_deviation": "NaN"}
    assert metrics["accuracy"] == {"value": 1.0, "standard_deviation": "NaN"}
    assert metrics["precision_recall_curve"]["recalls"] == []


@pytest.mark.parametrize("huge", [1e150, 1e154, 1e200, -1.7e308])
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_label_beyond_all_measure_is_no_crash(huge: float) -> None:
    """A label whose square overflows a double leaves dependent metrics undefined; the file is JSON."""
    label = np.arange(1.0, 301.0)
    label[7] = huge
    found = quality_statistics(Rows.of(label + 1, label), None, evaluated_at=NOW)
    assert found is not None
    assert json.dumps(found, allow_nan=False)


def test_nothing_labelled_is_no_file() -> None:
    """Without labelled rows there is no file, since an empty one would suggest metrics."""
    rows = Rows.of(np.empty(0), np.empty(0))
    assert quality_statistics(rows, CLASSES, evaluated_at=NOW) is None


def test_the_metrics_of_classes_are_scikit_learns() -> None:
    """The confusion is by name and metrics are weighted by class size; several outputs have no such file."""
    random = np.random.default_rng(3)
    label = np.concatenate([np.arange(3), random.integers(0, 3, 300)])
    rows = Rows.of(random.dirichlet(np.ones(3), 303), label.astype(float))
    predicted, names = rows.prediction.argmax(axis=1), ("a", "b", "c")
    baseline = Baseline(features=(), rows=1, training_set_id="t", created="", target="classes", classes=names)
    found = quality_statistics(rows, baseline, evaluated_at=NOW)
    assert found is not None
    metrics = found["multiclass_classification_metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(reference.accuracy_score(label, predicted))
    for name, beta in (("precision", None), ("recall", None), ("f1", 1.0), ("f0_5", 0.5), ("f2", 2.0)):
        scores = reference.precision_recall_fscore_support(label, predicted, average="weighted", beta=beta or 1.0)
        expected = scores[("precision", "recall").index(name)] if beta is None else scores[2]
        assert metrics[f"weighted_{name}"]["value"] == pytest.approx(expected)
    table = reference.confusion_matrix(label, predicted).tolist()
    assert [[metrics["confusion_matrix"][a][b] for b in names] for a in names] == table
    outputs = Baseline(features=(), rows=1, training_set_id="t", created="", target="outputs", outputs=("w", "x", "y"))
    several = Rows.of(rows.prediction, rows.prediction)
    assert quality_statistics(several, outputs, evaluated_at=NOW) is None
