"""States from executions of Model Monitor instead of counts."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.runtime.monitor.evidence import SPEC, states

from mlops_runtime.contracts.monitor import Baseline, MonitorState
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.model_monitor.execution_evidence import add_executions, with_executions
from mlops_runtime.monitor.model_monitor.executions import MONITORS, ExecutionFiles, MonitorName, read_executions
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence, Traffic
from mlops_runtime.monitor.window_reading import UNCOUNTED

LIVE = LivePointer(
    endpoint="demand",
    config="c",
    model="m",
    model_package_arn="arn",
    model_sha256="",
    artifact_uri="",
    baseline_uri="",
    baseline_sha256="8" * 64,
    evaluation_uri="",
    training_set_id="t",
    spec_sha256="",
    spec_uri="",
    execution="",
    since="2017-08-01T00:00:00Z",
    artifact_sha256="a" * 64,
    container_sha256="c" * 64,
)
EVIDENCE = Evidence(
    live=LIVE,
    baseline=Baseline(features=(), rows=0, training_set_id="t", created="2017-08-01T00:00:00Z"),
    traffic=Traffic(invocations=1000, uncounted=4),
    problems={UNCOUNTED: 4, "labels: late": 1},
)
DRIFT = {
    "feature_name": "price",
    "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.3",
}


def _execution(
    monitor: MonitorName, at: int, rows: int = 1000, violations: Any = (), **analysis: Any
) -> ExecutionFiles:
    documents = {
        "statistics.json": {"dataset": {"item_count": rows}, **analysis},
        "constraint_violations.json": {"violations": list(violations)},
        "analysis.json": analysis,
    }
    files = {name: json.dumps(document).encode() for name, document in documents.items()}
    return ExecutionFiles(monitor=monitor, at=f"2017-08-08T{at:02}:00:00Z", files=files)


def _states(
    executions: list[ExecutionFiles], monitors: tuple[MonitorName, ...] = ("data_quality",)
) -> dict[str, MonitorState]:
    evidence = with_executions(EVIDENCE, read_executions(executions), monitors, SPEC)
    return states(evidence)


def test_no_execution_is_a_monitor_that_did_not_run() -> None:
    """Captures without an execution show a monitor that did not run."""
    evidence = with_executions(EVIDENCE, read_executions([]), ("data_quality",), SPEC)

    assert _states([])["drift"] is MonitorState.MONITOR_NOT_RUN
    assert evidence.problems == {
        "labels: late": 1,
        "data_quality: no execution of Model Monitor reported in the window": 1,
    }


@pytest.mark.parametrize(
    ("executions", "state"),
    [
        ([_execution("data_quality", 5)], MonitorState.OK),
        ([_execution("data_quality", 5, rows=10)], MonitorState.INSUFFICIENT_DATA),
        ([_execution("data_quality", 5, violations=[DRIFT])], MonitorState.OK),
        ([_execution("data_quality", at, violations=[DRIFT]) for at in (4, 5)], MonitorState.VIOLATION),
    ],
)
def test_drift_is_confirmed_by_executions(executions: list[ExecutionFiles], state: MonitorState) -> None:
    """Two of the last three executions confirm drift, as with windows of the other engine."""
    assert _states(executions)["drift"] is state


def test_each_monitor_has_its_state() -> None:
    """Quality follows metrics, bias the facets of the execution, and attributions their ranking."""
    metrics = {"regression_metrics": {"mae": {"value": 3.0, "standard_deviation": 0.1}}}
    section = {"facets": {"age": [{"value_or_threshold": "40", "metrics": [{"name": "DPPL", "value": 0.4}]}]}}
    bias = {"facet": "age", "facet_value": "40", "metric_name": "DPPL", "constraint_check_type": "bias_drift_check"}
    mae = {"metric_name": "mae", "constraint_check_type": "GreaterThanThreshold", "description": "Metric mae with 3"}
    shap = {
        "label": "label0",
        "constraint_check_type": "feature_attribution_drift_check",
        "description": "Feature attribution drift 0.76 exceeds threshold 0.9",
    }
    executions = [
        _execution("data_quality", 5),
        _execution("model_quality", 5, violations=[mae], **metrics),
        _execution("bias", 5, violations=[bias], post_training_bias_metrics=section),
        _execution("explainability", 5, violations=[shap]),
    ]
    found = _states(executions, MONITORS)

    assert found == {
        "drift": MonitorState.OK,
        "quality": MonitorState.VIOLATION,
        "bias": MonitorState.VIOLATION,
        "explainability": MonitorState.VIOLATION,
    }
    evidence = with_executions(EVIDENCE, read_executions(executions), MONITORS, SPEC)
    assert [v.constraint_check_type for v in evidence.violations or ()] == [
        "GreaterThanThreshold",
        "bias_drift_check",
        "feature_attribution_drift_check",
    ]
    assert _states([_execution("data_quality", 5)], MONITORS)["explainability"] is MonitorState.MONITOR_NOT_RUN


def test_before_a_model_serves_nothing_is_added() -> None:
    """Without a live model or a baseline, the evidence is unchanged."""
    assert with_executions(Evidence(), read_executions([]), MONITORS, SPEC) == Evidence()
    flawed = replace(EVIDENCE, baseline=None)
    assert with_executions(flawed, read_executions([]), MONITORS, SPEC) == flawed


def test_a_model_of_classes_is_refused_by_name() -> None:
    """Models of classes are unsupported: no service is called, and the report names the engine to use."""
    baseline = replace(EVIDENCE.baseline, classes=("a", "b", "c"), target="classes")  # type: ignore[type-var] # there is one
    requested: Any = None  # any call would fail
    found = add_executions(
        replace(EVIDENCE, baseline=baseline),
        Window.before(datetime(2017, 8, 8, tzinfo=UTC), 24),
        spec=SPEC,
        endpoint="demand",
        monitors=("data_quality", "model_quality"),
        s3=requested,
        bucket="artifacts",
        sagemaker=requested,
    )
    text = "Model Monitor reads one value a row, the live model returns 3 (a, b, c); monitor it with the functions or a MonitorJob"
    assert found.problems == {**EVIDENCE.problems, text: 1}
