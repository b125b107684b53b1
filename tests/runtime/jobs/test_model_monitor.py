"""The analyzer by the container's contract: input by environment and folders, output by files and message."""

import json
from pathlib import Path

import pytest
from tests.runtime.jobs.model_monitor_container import Container, call

from mlops_runtime.jobs import model_monitor
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.monitor.model_monitor.profile import profile, statistics_document

CONSTRAINTS = {
    "features": [
        {"name": "prediction", "inferred_type": "Fractional", "completeness": 1.0},
        {"name": "price", "inferred_type": "Fractional", "completeness": 1.0},
    ],
    "monitoring_config": {"datatype_check_threshold": 1.0},
}


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """Return an empty container."""
    return Container(tmp_path)


def test_data_are_analyzed_by_the_contract(container: Container) -> None:
    """Only calls of the window count; unreadable ones are reported; metrics have CloudWatch's format."""
    columns, count = profile([{"prediction": 1.0 + i, "price": 5.0 + i} for i in range(20)])
    container.environment |= {
        "baseline_constraints": container.put("processing/baseline/constraints/constraints.json", CONSTRAINTS),
        "baseline_statistics": container.put(
            "processing/baseline/stats/statistics.json", statistics_document(columns.values(), count)
        ),
    }
    early, late = "2017-08-07T09:59:59Z", "2017-08-07T11:00:00Z"
    lines = [call(i, f"{90.5 + i}", f"{1.0 + i}") for i in range(10)]
    container.capture([*lines, call(98, "x", "y", early), call(99, "x", "y", late), "{", ""])
    model_monitor.run(container.environment)

    statistics = container.read("statistics.json")
    assert statistics["dataset"] == {"item_count": 10}
    assert (statistics["analyzer"], statistics["problems"]) == ("mlops_runtime", {"line is not a capture record": 1})
    found = [
        (v["feature_name"], v["constraint_check_type"])
        for v in container.read("constraint_violations.json")["violations"]
    ]
    assert ("price", "baseline_drift_check") in found
    assert container.message == f"CompletedWithViolations: Job completed successfully with {len(found)} violations."
    metrics = [
        json.loads(line)
        for line in (container.root / "output/metrics/cloudwatch/cloudwatch_metrics.jsonl").read_text().splitlines()
    ]
    by_name = {metric["MetricName"]: metric for metric in metrics}
    assert by_name["feature_baseline_drift_price"]["Value"] == 1.0
    assert by_name["feature_data_price"]["StatisticValues"]["SampleCount"] == 10
    assert by_name["feature_non_null_price"]["Dimensions"] == [
        {"Name": "Endpoint", "Value": "demand"},
        {"Name": "MonitoringSchedule", "Value": "hourly"},
    ]


def test_what_fits_has_no_violations(container: Container) -> None:
    """The container's message reports it."""
    container.environment["baseline_constraints"] = container.put("c.json", CONSTRAINTS)
    container.environment["publish_cloudwatch_metrics"] = "Disabled"
    container.capture([call(1, "5.5", "1.5")])
    model_monitor.run(container.environment)

    assert container.read("constraint_violations.json") == {"violations": []}
    assert container.message == "Completed: Job completed successfully with no violations."
    assert not (container.root / "output/metrics").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_format": '{"csv": {"header": true}}'}, "dataset_format must be one of sagemakerCaptureJson or"),
        ({"record_preprocessor_script": "s.py"}, "record_preprocessor_script is not supported by this analyzer"),
        ({"analysis_type": "MODEL_QUALITY"}, "needs records merged with labels, got captures"),
        ({}, "baseline_constraints is not set"),
        ({"baseline_constraints": "absent.json"}, "absent.json cannot be read"),
    ],
)
def test_what_cannot_be_analyzed_says_why(container: Container, changes: dict[str, str], message: str) -> None:
    """In the job's log and reason."""
    container.capture([call(1, "5", "1")])
    with pytest.raises(JobError, match=message):
        model_monitor.run(container.environment | changes)


def test_a_window_without_rows_is_no_success(container: Container) -> None:
    """The message has the problems."""
    container.environment["baseline_constraints"] = container.put("c.json", CONSTRAINTS)
    container.capture(["{", "["])
    with pytest.raises(JobError, match=r"no row: line is not a capture record \(2 times\)"):
        model_monitor.run(container.environment)


def test_quality_is_measured_on_merged_records(container: Container) -> None:
    """Only numeric records are measured."""
    container.environment |= {
        "dataset_format": '{"sagemakerMergeJson":{"captureIndexNames":["endpointOutput"]}}',
        "analysis_type": "MODEL_QUALITY",
        "problem_type": "Regression",
        "inference_attribute": "1",
        "baseline_constraints": container.put(
            "c.json",
            {"regression_constraints": {"mae": {"threshold": 0.5, "comparison_operator": "GreaterThanThreshold"}}},
        ),
    }
    truths = [{"data": "4", "encoding": "CSV"}, {"data": "none", "encoding": "CSV"}]
    container.capture([call(i, "5", "x,6", groundTruthData=truth) for i, truth in enumerate(truths)])
    model_monitor.run(container.environment)

    statistics = container.read("statistics.json")
    assert statistics["dataset"]["item_count"] == 1
    assert statistics["regression_metrics"]["mae"]["value"] == 2.0
    (violation,) = container.read("constraint_violations.json")["violations"]
    assert violation["description"] == "Metric mae with 2 was GreaterThanThreshold '0.5'"
