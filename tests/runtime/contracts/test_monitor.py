"""The monitors' contracts, and the names of their metrics."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.aws_api import check_request
from mlops_runtime.contracts import content_hash, from_dict, from_json, to_dict
from mlops_runtime.contracts.monitor import (
    Baseline,
    Counts,
    MonitorState,
    Violation,
    Violations,
    metric_dimensions,
    metric_namespace,
)


def test_metrics_are_named_as_cloudwatch_allows() -> None:
    """Namespace of the unit, three dimensions."""
    dimensions = metric_dimensions("demand-forecast", "AllTraffic", "drift")
    datum = {
        "MetricName": "MaxPsi",
        "Value": 0.1,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }

    assert metric_namespace("demand") == "MLOps/demand"
    assert dimensions == {"Endpoint": "demand-forecast", "Variant": "AllTraffic", "Monitor": "drift"}
    assert (
        check_request("cloudwatch", "PutMetricData", {"Namespace": metric_namespace("demand"), "MetricData": [datum]})
        == []
    )


def test_the_states_are_those_of_the_alarms() -> None:
    """Silence has six states of its own, and none of them is OK."""
    assert {state.value for state in MonitorState} == {
        "NOT_YET_DEPLOYED",
        "NO_TRAFFIC",
        "NO_CAPTURE",
        "NO_LABELS_YET",
        "BASELINE_OLDER_THAN_MODEL",
        "MONITOR_NOT_RUN",
        "INSUFFICIENT_DATA",
        "OK",
        "VIOLATION",
    }


def test_the_hash_of_a_stored_baseline_never_changes(example: Callable[..., Any]) -> None:
    """Counts are merged by it, so another hash would discard a window."""
    baseline = from_dict(Baseline, example("Baseline"))

    assert content_hash(baseline) == "ccf955acf17d56e2b44a876c9ddeb5b6614f17814aaed56486a2a4b70c98899a"


def test_counts_fit_the_bins_of_their_baseline(example: Callable[..., Any]) -> None:
    """Numbers: bins and null; categories: levels, other and null; every row of the examples is in one of them."""
    baseline, counts = from_dict(Baseline, example("Baseline")), from_dict(Counts, example("Counts"))

    for feature, live in zip(baseline.features, counts.features, strict=True):
        bins = len(feature.edges) + 2 if feature.type == "number" else len(feature.levels) + 2
        assert (live.name, len(feature.counts), len(live.counts)) == (feature.name, bins, bins)
        assert (sum(feature.counts), sum(live.counts)) == (baseline.rows, counts.rows)


def test_model_monitors_violations_are_read_and_written() -> None:
    """The file has Model Monitor's shape.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
    """
    text = (
        '{"violations": [{"feature_name": "price", "constraint_check_type": "completeness_check",'
        ' "description": "completeness 0.5 is below 1.0"}]}'
    )

    violations = from_json(Violations, text)

    assert violations.violations == (
        Violation(
            feature_name="price",
            constraint_check_type="completeness_check",
            description="completeness 0.5 is below 1.0",
        ),
    )
    assert list(to_dict(violations)["violations"][0]) == ["feature_name", "constraint_check_type", "description"]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Baseline, {"features.0.type": "date"}, "$.features[0].type must be one of 'number', 'category', got 'date'"),
        (Baseline, {"features.0.counts": [1.5]}, "$.features[0].counts[0] must be an integer, got 1.5"),
        (Baseline, {"features.0.edges": ["1"]}, "$.features[0].edges[0] must be a number, got '1'"),
        (Baseline, {"features.1.levels": [1]}, "$.features[1].levels[0] must be a string, got 1"),
        (Baseline, {"prediction": {"name": "units", "type": "number"}}, "$.prediction.counts is missing"),
        (Baseline, {"quality": {"wape": None}}, "$.quality.wape must be a number, got None"),
        (Counts, {"baseline_sha256": ...}, "$.baseline_sha256 is missing"),
        (Counts, {"features.0.sum": "83"}, "$.features[0].sum must be a number, got '83'"),
        (Counts, {"rows": True}, "$.rows must be an integer, got True"),
        (Counts, {"last": 1501664401}, "$.last must be a string, got 1501664401"),
        (Counts, {"format": "mlops.counts/2"}, "$.format must be one of 'mlops.counts/1', got 'mlops.counts/2'"),
    ],
)
def test_fails_on_a_document_that_counts_nothing(
    kind: type, changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Partly read counts would look like small ones."""
    assert refusal(kind, example(kind.__name__, **changes)) == f"not a valid {kind.__name__}: {message}"


def test_fails_on_violations_with_other_names(refusal: Callable[..., str]) -> None:
    """Names of other services' APIs are rejected."""
    document = {"violations": [{"FeatureName": "price", "constraint_check_type": "c", "description": "d"}]}

    assert refusal(Violations, document) == "not a valid Violations: $.violations[0].feature_name is missing"
