"""What Model Monitor's executions add to what one run knows: from here on report, alarms, event and page are the same as ever."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_runtime.contracts.monitor import Facet, MonitorState
from mlops_runtime.monitor.model_monitor.baselines import put_baselines
from mlops_runtime.monitor.model_monitor.execution_store import ModelMonitorReports
from mlops_runtime.monitor.model_monitor.executions import Executions, MonitorName, read_executions, schedule_name
from mlops_runtime.monitor.monitors.attribution_ranking import Explanation
from mlops_runtime.monitor.monitors.label_measures import Quality
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.window_reading import UNCOUNTED

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


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
    """Return the evidence with what the window's executions say, and put the live model's baselines for those to come."""
    if evidence.baseline is not None:
        put_baselines(s3, bucket=bucket, endpoint=endpoint, baseline=evidence.baseline, spec=spec, monitors=monitors)
    reports = ModelMonitorReports(s3, bucket=bucket, endpoint=endpoint, monitors=monitors)
    found = read_executions(reports.of(window), alarm_windows=spec.alarm_windows, of_windows=spec.of_windows)
    silent = {name: _why(sagemaker, endpoint, name) for name in monitors if name not in found.reported}
    told = {f"{name}: {reason}": 1 for name, reason in silent.items() if reason is not None}
    known = with_executions(evidence, found, monitors)
    return replace(known, problems={**known.problems, **told})


def _why(sagemaker: "SageMakerClient", endpoint: str, monitor: MonitorName) -> str | None:
    """Return how the last execution of a monitor ended, where there was one."""
    described = sagemaker.describe_monitoring_schedule(MonitoringScheduleName=schedule_name(endpoint, monitor))
    last = described.get("LastMonitoringExecutionSummary")
    if last is None:
        return None
    reason = last.get("FailureReason")
    return f"the last execution is {last['MonitoringExecutionStatus']}{': ' + reason if reason else ''}"


def with_executions(evidence: Evidence, found: Executions, monitors: Sequence[MonitorName]) -> Evidence:
    """Return the evidence with the executions' verdicts in place of counts of ours, which this engine does not make.

    A monitor that runs and did not report in the window is a problem; data quality without a report stays ``MONITOR_NOT_RUN``, and
    explainability is. Quality and bias of monitors that do not run are those of the labels, as ever.
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
        quality=_quality(evidence.quality, found, monitors),
        explanation=_explanation(evidence.explanation, found, monitors),
        counts=None,
        analyzer=found.analyzer,
    )
    evidence = _with_facets(evidence, found, monitors)
    if "data_quality" not in found.reported:
        return evidence
    traffic = evidence.traffic
    seen = replace(traffic, counted=traffic.counted + traffic.uncounted, uncounted=0, rows=found.rows)
    return replace(evidence, traffic=seen, rows=found.rows, features=found.drift)


def _quality(ours: Quality | None, found: Executions, monitors: Sequence[MonitorName]) -> Quality | None:
    known = Quality(rows=0, wape=None, bias=None, unmatched=0, mismatched=0, malformed=0) if ours is None else ours
    if "model_quality" in monitors:
        known = replace(
            known, rows=found.labelled_rows, wape=None, bias=None, metrics=found.quality, segments=(), labelled=None
        )
    if "bias" in monitors:
        known = replace(known, bias_metrics=found.bias)
    return known


def _explanation(ours: Explanation | None, found: Executions, monitors: Sequence[MonitorName]) -> Explanation | None:
    if "explainability" not in monitors:
        return ours
    if "explainability" not in found.reported:
        return Explanation(state=MonitorState.MONITOR_NOT_RUN)
    state = MonitorState.OK if found.ndcg is None else MonitorState.VIOLATION
    return Explanation(state=state, attributions=found.attributions, ndcg=found.ndcg)


def _with_facets(evidence: Evidence, found: Executions, monitors: Sequence[MonitorName]) -> Evidence:
    """Let bias have a state where the monitor's own configuration names the groups, and the baseline names none."""
    baseline = evidence.baseline
    if "bias" not in monitors or baseline is None or baseline.facets:
        return evidence
    names: Mapping[str, None] = dict.fromkeys(metric.facet for metric in found.bias)
    facets = tuple(Facet(name=name) for name in names) or (Facet(name="facet"),)
    return replace(evidence, baseline=replace(baseline, facets=facets))
