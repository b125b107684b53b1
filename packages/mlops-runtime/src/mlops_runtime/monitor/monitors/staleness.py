"""Staleness: ages of captures, labels and baseline, and coverage by labels. It has metrics and advice, but no state."""

from collections.abc import Iterator
from dataclasses import asdict, replace

from mlops_runtime.contracts.monitor import MetricValue
from mlops_runtime.contracts.monitor_report import MonitorReport, QualityResult, Staleness
from mlops_runtime.iso_time import parse_time
from mlops_runtime.monitor.cloudwatch_metrics import METRICS, camel
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import percent

_DAY = 24 * HOUR


def staleness(evidence: Evidence, quality: QualityResult, window: Window, spec: MonitorSpec) -> Staleness | None:
    """Return the ages of the monitors' data and the coverage by labels; None before the first rollout.

    ``capture_lag_hours`` is the time from the newest capture to the newest call, 0 without a later call; without any capture, the
    window's length. ``label_lag_hours`` is the time from the newest label's upload to the window's end; without any label, the
    period that was read. ``baseline_age_days`` is the age of the baseline's training data. ``label_coverage`` is the share of
    predictions due a label that have one.
    """
    if evidence.live is None:
        return None
    found = Staleness(capture_lag_hours=_capture_lag(evidence, window), label_coverage=quality.coverage)
    if evidence.baseline is None:
        return found
    oldest = window.start - spec.label_delay_hours * HOUR
    return replace(
        found,
        label_lag_hours=(window.end - (evidence.newest_label or oldest)) / HOUR,
        baseline_age_days=max(0.0, (window.end - parse_time(evidence.baseline.created)) / _DAY),
    )


def _capture_lag(evidence: Evidence, window: Window) -> float:
    if evidence.newest_call is None:
        return 0.0
    if evidence.newest_capture is None:
        return float(window.hours)
    return max(0.0, (evidence.newest_call - evidence.newest_capture) / HOUR)


def metrics(report: MonitorReport) -> Iterator[MetricValue]:
    """Yield the metric values, each with the monitor of its dimension."""
    for name, value in ({} if report.staleness is None else asdict(report.staleness)).items():
        metric = camel(name)
        if value is not None:
            yield MetricValue("quality" if metric in METRICS["quality"] else "drift", metric, value)


def advice(report: MonitorReport) -> Iterator[str]:
    """Yield the next step if fewer than half of the predictions have their label."""
    coverage = None if report.staleness is None else report.staleness.label_coverage
    if coverage is not None and coverage < 0.5:
        yield f"only {percent(coverage)} of the predictions due a label have one: request the others"
