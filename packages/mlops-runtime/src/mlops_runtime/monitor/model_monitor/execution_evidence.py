"""Add the results of Model Monitor's executions to a run's evidence, so that report, alarms, event and page work as usual."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_runtime.contracts.monitor import Baseline, MonitorState
from mlops_runtime.contracts.monitor_report import (
    BiasResult,
    DriftResult,
    ExplainabilityResult,
    MonitorResult,
    QualityResult,
)
from mlops_runtime.monitor.cloudwatch_metrics import Monitor
from mlops_runtime.monitor.model_monitor.baselines import put_baselines
from mlops_runtime.monitor.model_monitor.executions import (
    Executions,
    ModelMonitorReports,
    MonitorName,
    read_executions,
    schedule_name,
)
from mlops_runtime.monitor.monitors.label_measures import measure
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.window_reading import UNCOUNTED

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

_SHOWN = 5


def add_executions(
    evidence: Evidence,
    window: Window,
    *,
    spec: MonitorSpec,
    endpoint: str,
    monitors: Sequence[MonitorName],
    s3: "S3Client",
    bucket: str,
    sagemaker: "SageMakerClient",
) -> Evidence:
    """Return the evidence with the results of the window's executions, and write the live model's baselines for future ones."""
    problem = None if evidence.baseline is None else _unreadable(evidence.baseline)
    if problem is not None:
        return replace(evidence, problems={**evidence.problems, problem: 1}, counts=None)
    if evidence.baseline is not None:
        put_baselines(s3, bucket=bucket, endpoint=endpoint, baseline=evidence.baseline, spec=spec, monitors=monitors)
    reports = ModelMonitorReports(s3, bucket=bucket, endpoint=endpoint, monitors=monitors)
    found = read_executions(reports.of(window), alarm_windows=spec.alarm_windows, of_windows=spec.of_windows)
    silent = {name: _why(sagemaker, endpoint, name) for name in monitors if name not in found.reported}
    problems = {f"{name}: {reason}": 1 for name, reason in silent.items() if reason is not None}
    known = with_executions(evidence, found, monitors, spec)
    return replace(known, problems={**known.problems, **problems})


def _unreadable(baseline: Baseline) -> str | None:
    """Return why Model Monitor cannot read the model's predictions: its jobs support one value a row."""
    if baseline.columns is None:
        return None
    return (
        f"Model Monitor reads one value a row, the live model returns {baseline.columns} "
        f"({', '.join((baseline.classes or baseline.outputs or ())[:_SHOWN])}); monitor it with the functions or a MonitorJob"
    )


def _why(sagemaker: "SageMakerClient", endpoint: str, monitor: MonitorName) -> str | None:
    described = sagemaker.describe_monitoring_schedule(MonitoringScheduleName=schedule_name(endpoint, monitor))
    last = described.get("LastMonitoringExecutionSummary")
    if last is None:
        return None
    reason = last.get("FailureReason")
    return f"the last execution is {last['MonitoringExecutionStatus']}{': ' + reason if reason else ''}"


def with_executions(
    evidence: Evidence, found: Executions, monitors: Sequence[MonitorName], spec: MonitorSpec
) -> Evidence:
    """Return the evidence with the executions' results in place of counts, which this engine does not write.

    A scheduled monitor without a report in the window is a problem; data quality and explainability are then ``MONITOR_NOT_RUN``.
    Quality and bias of monitors that are not scheduled are measured with labels as usual.
    """
    if evidence.live is None or evidence.baseline is None:
        return evidence
    silent = {
        f"{monitor}: no execution of Model Monitor reported in the window": 1
        for monitor in monitors
        if monitor not in found.reported
    }
    others = {name: times for name, times in evidence.problems.items() if name != UNCOUNTED}
    evidence = replace(
        evidence,
        problems={**others, **found.problems, **silent},
        violations=found.violations.violations,
        measured={**evidence.measured, **_measured(evidence, evidence.baseline, found, monitors, spec)},
        counts=None,
        analyzer=found.analyzer,
    )
    if "data_quality" not in found.reported:
        return evidence
    traffic = evidence.traffic
    seen = replace(traffic, counted=traffic.counted + traffic.uncounted, uncounted=0, rows=found.rows)
    return replace(evidence, traffic=seen, rows=found.rows)


def _measured(
    evidence: Evidence, baseline: Baseline, found: Executions, monitors: Sequence[MonitorName], spec: MonitorSpec
) -> dict[Monitor, MonitorResult]:
    results: dict[Monitor, MonitorResult] = {}
    if "data_quality" in found.reported:
        results["drift"] = DriftResult(features=found.drift, left_out=baseline.left_out)
    if "model_quality" in monitors:
        ours = QualityResult() if evidence.labels is None else measure(evidence.labels, baseline, spec)
        results["quality"] = replace(ours, rows=found.labelled_rows, values={}, metrics=found.quality, segments=())
    if "bias" in monitors:
        results["bias"] = BiasResult(metrics=found.bias)
    if "explainability" in monitors:
        state = MonitorState.OK if found.ndcg is None else MonitorState.VIOLATION
        results["explainability"] = (
            ExplainabilityResult(state=state, attributions=found.attributions, ndcg=found.ndcg)
            if "explainability" in found.reported
            else ExplainabilityResult()
        )
    return results
