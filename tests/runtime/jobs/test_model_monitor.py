"""The analyzers by the container's contract: environment and folders in, files and message out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_runtime.jobs import model_monitor, model_monitor_clarify, model_monitor_merge
from mlops_runtime.jobs.optml import JobError
from mlops_runtime.monitor.profile import profile, statistics_document

CONSTRAINTS = {
    "features": [
        {"name": "prediction", "inferred_type": "Fractional", "completeness": 1.0},
        {"name": "price", "inferred_type": "Fractional", "completeness": 1.0},
    ],
    "monitoring_config": {"datatype_check_threshold": 1.0},
}
NO_MODEL = "no model is asked for"


class Container:
    """The folders and variables of one job."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            "dataset_format": '{"sagemakerCaptureJson":{"captureIndexNames":["endpointInput","endpointOutput"]}}',
            "dataset_source": str(root / "processing/input_data"),
            "output_path": str(root / "processing/output"),
            "start_time": "2017-08-07T10: 00: 00Z",
            "end_time": "2017-08-07T11:00:00Z",
            "publish_cloudwatch_metrics": "Enabled",
            "sagemaker_endpoint_name": "demand",
            "sagemaker_monitoring_schedule_name": "hourly",
            "MLOPS_OPT_ML": str(root),
        }

    def put(self, path: str, content: Any) -> str:
        """Write a file below the root, lines or a document, and return its path."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(content) if isinstance(content, list) else json.dumps(content))
        return str(target)

    def capture(self, lines: list[str], hour: str = "2017/08/07/10") -> None:
        """Write captures of an hour."""
        self.put(f"processing/input_data/demand/AllTraffic/{hour}/a.jsonl", lines)

    def read(self, name: str) -> Any:
        """Read a result."""
        return json.loads((self.root / "processing/output" / name).read_text())

    @property
    def message(self) -> str:
        """What becomes ``ExitMessage``."""
        return (self.root / "output/message").read_text()


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """An empty one."""
    return Container(tmp_path)


def call(number: int, data: str, output: str, at: str = "2017-08-07T10:30:00Z", **more: Any) -> str:
    """Write one captured call."""
    captured = {
        side: {"observedContentType": "text/csv", "mode": mode, "data": text, "encoding": "CSV"}
        for side, mode, text in (("endpointInput", "INPUT", data), ("endpointOutput", "OUTPUT", output))
    }
    metadata = {"eventId": f"e-{number}", "inferenceTime": at}
    return json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": "0", **more})


def label(number: int, value: object) -> str:
    """Write one label."""
    truth = {"data": str(value), "encoding": "CSV"}
    return json.dumps({"groundTruthData": truth, "eventMetadata": {"eventId": f"e-{number}"}, "eventVersion": "0"})


def test_data_are_analyzed_by_the_contract(container: Container) -> None:
    """Only calls of the window count; what cannot be read is told; metrics have CloudWatch's shape."""
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
    assert (statistics["analyzer"], statistics["problems"]) == ("mlops_runtime", {"line is no capture record": 1})
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
    """And the message of the container says so."""
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
        ({"dataset_format": '{"csv": {"header": true}}'}, "dataset_format must be of sagemakerCaptureJson or"),
        ({"record_preprocessor_script": "s.py"}, "record_preprocessor_script is not run by this analyzer"),
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
    """With what was wrong."""
    container.environment["baseline_constraints"] = container.put("c.json", CONSTRAINTS)
    container.capture(["{", "["])
    with pytest.raises(JobError, match=r"no row: line is no capture record \(2 times\)"):
        model_monitor.run(container.environment)


def test_labels_are_merged_by_id_the_last_one_wins(container: Container) -> None:
    """At the place of the call, in the record's own shape."""
    container.capture([call(1, "5", "1"), call(2, "6", "2"), "broken"])
    container.put("processing/groundtruth/2017/08/07/12/a.jsonl", [label(1, 3), label(9, 1)])
    container.put("processing/groundtruth/2017/08/07/13/a.jsonl", [label(1, 4), "broken"])
    model_monitor_merge.run(
        container.environment | {"ground_truth_source": str(container.root / "processing/groundtruth")}
    )

    (line,) = (container.root / "processing/output/demand/AllTraffic/2017/08/07/10/a.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["groundTruthData"]["data"] == "4"
    assert record["captureData"]["endpointInput"]["data"] == "5"
    with pytest.raises(JobError, match="ground_truth_source must be set"):
        model_monitor_merge.run(container.environment)


def test_quality_is_measured_on_merged_records(container: Container) -> None:
    """Of numbers alone."""
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


def _biased(share: float, count: int = 400) -> list[str]:
    random = np.random.default_rng(3)
    lines = []
    for i in range(count):
        age = 50 if i % 2 else 30
        prediction = float(random.random() < (share if age > 40 else 0.5))
        truth = {"data": str(int(random.random() < 0.5)), "encoding": "CSV"}
        lines.append(call(i, f"{age},north", f"{prediction}", groundTruthData=truth))
    return lines


def test_bias_is_compared_with_the_baselines_analysis(container: Container) -> None:
    """A group that is predicted less often than it was is reported, under its Clarify name."""
    config = {
        "headers": ["age", "region"],
        "label": "bought",
        "label_values_or_threshold": [1],
        "facet": [{"name_or_index": "age", "value_or_threshold": [40]}],
        "methods": {"post_training_bias": {"methods": "all"}},
    }
    container.environment |= {
        "dataset_format": '{"sagemakerMergeJson":{}}',
        "analysis_config": container.put("config.json", config),
        "baseline_constraints": container.put("empty.json", {}),
    }

    def model_of(_: str) -> Any:
        raise AssertionError(NO_MODEL)

    container.capture(_biased(0.5))
    model_monitor_clarify.run(container.environment, model_of)
    assert container.read("constraint_violations.json") == {"version": "1.0", "violations": []}
    container.environment["baseline_constraints"] = container.put("baseline.json", container.read("analysis.json"))
    container.capture(_biased(0.1))
    model_monitor_clarify.run(container.environment, model_of)

    violated = {
        (v["facet"], v["facet_value"], v["metric_name"])
        for v in container.read("constraint_violations.json")["violations"]
    }
    assert {("age", "40", "DPPL"), ("age", "40", "DI")} <= violated
    assert ("age", "40", "CI") not in violated
    assert container.message.startswith("CompletedWithViolations")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"label": "y", "facet": [{"name_or_index": "sex", "value_or_threshold": ["f"]}]},
            "facets must be columns of the input, 'sex'",
        ),
        ({"methods": {"shap": {}}}, "predictor must have a model_name, got None; shap must have a baseline of rows"),
        ({"label": "y"}, "facet must list at least one group"),
    ],
)
def test_clarify_says_what_it_cannot_do(container: Container, config: dict[str, Any], message: str) -> None:
    """By name."""
    container.environment |= {
        "dataset_format": '{"sagemakerMergeJson":{}}',
        "analysis_config": container.put("config.json", config),
        "baseline_constraints": container.put("b.json", {}),
    }
    container.capture(_biased(0.5, 20))
    with pytest.raises(JobError, match=message):
        model_monitor_clarify.run(container.environment, pytest.fail)
