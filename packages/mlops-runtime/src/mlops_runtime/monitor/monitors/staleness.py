"""The monitor of staleness: how old captures, labels and baseline are. It has no state of its own, metrics and advice alone."""

from collections.abc import Iterator
from datetime import UTC, datetime

from mlops_runtime.contracts.monitor import MetricValue, MonitorReport
from mlops_runtime.monitor.metric_names import METRICS, camel
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import percent

_DAY = 24 * HOUR


def staleness(evidence: Evidence, window: Window, spec: MonitorSpec) -> dict[str, float] | None:
    """Return how old what the monitors rest on is, and how many predictions have their label; None before the first rollout.

    ``capture_lag_hours`` is from the newest capture to the newest call, 0 without a call since; without any capture, the window's
    length. ``label_lag_hours`` is from the newest label's upload to the window's end; without any label, the time that was read.
    ``baseline_age_days`` is of the training data that the baseline was made of. ``label_coverage`` is the share of the predictions
    due a label that have one.
    """
    if evidence.live is None:
        return None
    quality, baseline = evidence.quality, evidence.baseline
    found: dict[str, float] = {"capture_lag_hours": _capture_lag(evidence, window)}
    if baseline is not None:
        oldest = window.start - spec.label_delay_hours * HOUR
        found["label_lag_hours"] = (window.end - (evidence.newest_label or oldest)) / HOUR
        found["baseline_age_days"] = max(0.0, (window.end - _time(baseline.created)) / _DAY)
    if quality is not None and quality.coverage is not None:
        found["label_coverage"] = quality.coverage
    return found


def _capture_lag(evidence: Evidence, window: Window) -> float:
    if evidence.newest_call is None:
        return 0.0
    if evidence.newest_capture is None:
        return float(window.hours)
    return max(0.0, (evidence.newest_call - evidence.newest_capture) / HOUR)


def _time(text: str) -> datetime:
    """Return a time; one without a zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def metrics(report: MonitorReport) -> Iterator[MetricValue]:
    """Yield what is published, with the dimension of the monitor that it is about."""
    for name, value in (report.staleness or {}).items():
        metric = camel(name)
        yield MetricValue("quality" if metric in METRICS["quality"] else "drift", metric, value)


def advice(report: MonitorReport) -> Iterator[str]:
    """Yield what to do where less than half of the predictions have their label."""
    coverage = (report.staleness or {}).get("label_coverage")
    if coverage is not None and coverage < 0.5:
        yield f"only {percent(coverage)} of the predictions due a label have one: ask for the others"
