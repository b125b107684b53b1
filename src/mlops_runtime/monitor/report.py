"""From what was read to states, report and metrics. Silence is a state of its own, never OK."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.monitor import Baseline, Counts, MonitorReport, MonitorState, metric_dimensions
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.decide import FeatureDecision
from mlops_runtime.monitor.quality import Quality
from mlops_runtime.monitor.spec import MonitorSpec

_TESTED = (MonitorState.OK, MonitorState.VIOLATION)


@dataclass(frozen=True, slots=True)
class Window:
    """Whole hours, ``start`` included, ``end`` excluded, both UTC. Successive windows share no hour and leave out none."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, now: datetime, hours: int) -> "Window":
        """Return the last ``hours`` full hours before ``now``.

        Example:
            >>> Window.before(datetime(2017, 8, 8, 0, 5, tzinfo=UTC), 24).start.isoformat()
            '2017-08-07T00:00:00+00:00'
        """
        end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return cls(end - timedelta(hours=hours), end)

    def extended(self, hours: int) -> "Window":
        """Return the window with ``hours`` more before it."""
        return Window(self.start - timedelta(hours=hours), self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one run read.

    Args:
        live: What serves; None before the first rollout.
        baseline: The live model's baseline; None when nothing serves.
        counts: The window's counts against that baseline; None when nothing serves.
        quality: The labels' verdict; None when nothing serves.
        decisions: The drift test's results, empty when there were too few rows.
        uncounted: Capture objects of the window that have not been counted.
        invocations: Calls in the window as CloudWatch counts them.
    """

    live: LivePointer | None = None
    baseline: Baseline | None = None
    counts: Counts | None = None
    quality: Quality | None = None
    decisions: tuple[FeatureDecision, ...] = ()
    uncounted: int = 0
    invocations: int = 0


def drift_state(evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    """Return what is known about drift: the first of the reasons not to know, else the test's verdict."""
    live, baseline, counts = evidence.live, evidence.baseline, evidence.counts
    if live is None or baseline is None or counts is None:
        return MonitorState.NOT_YET_DEPLOYED
    if baseline.training_set_id != live.training_set_id:
        return MonitorState.BASELINE_OLDER_THAN_MODEL
    if counts.rows == 0 and evidence.uncounted:
        return MonitorState.MONITOR_NOT_RUN
    if counts.rows == 0 and counts.malformed == 0:
        return MonitorState.NO_CAPTURE if evidence.invocations else MonitorState.NO_TRAFFIC
    if counts.rows < spec.minimum_rows:
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.VIOLATION if any(d.drift.drifted for d in evidence.decisions) else MonitorState.OK


def quality_state(evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    """Return what is known about quality."""
    live, baseline, quality = evidence.live, evidence.baseline, evidence.quality
    if live is None or baseline is None or quality is None:
        return MonitorState.NOT_YET_DEPLOYED
    if baseline.training_set_id != live.training_set_id:
        return MonitorState.BASELINE_OLDER_THAN_MODEL
    if quality.rows == 0:
        return MonitorState.NO_LABELS_YET
    ratio = wape_ratio(quality, baseline)
    if quality.rows < spec.minimum_labels or ratio is None:
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.VIOLATION if ratio > spec.maximum_wape_ratio else MonitorState.OK


def wape_ratio(quality: Quality, baseline: Baseline) -> float | None:
    """Return live WAPE over the holdout's; None where either is not defined or the holdout's is 0."""
    holdout = baseline.quality.get("wape")
    return None if quality.wape is None or not holdout else quality.wape / holdout


def build(evidence: Evidence, spec: MonitorSpec, *, endpoint: str, variant: str, window: Window) -> MonitorReport:
    """Return the report of one run."""
    live, baseline, quality = evidence.live, evidence.baseline, evidence.quality
    measured: dict[str, float] = {}
    if quality is not None and baseline is not None:
        values = {"wape": quality.wape, "bias": quality.bias, "wape_ratio": wape_ratio(quality, baseline)}
        measured = {name: value for name, value in values.items() if value is not None}
    return MonitorReport(
        endpoint=endpoint,
        variant=variant,
        window_from=str(to_dict(window.start)),
        window_until=str(to_dict(window.end)),
        drift_state=drift_state(evidence, spec),
        quality_state=quality_state(evidence, spec),
        rows=0 if evidence.counts is None else evidence.counts.rows,
        labelled_rows=0 if quality is None else quality.rows,
        baseline_sha256=None if evidence.counts is None else evidence.counts.baseline_sha256,
        model_package_arn=None if live is None else live.model_package_arn,
        features=tuple(decision.drift for decision in evidence.decisions),
        quality=measured,
        quality_baseline={} if baseline is None else dict(baseline.quality),
    )


def metric_data(report: MonitorReport, spec: MonitorSpec, now: datetime) -> list[dict[str, Any]]:
    """Return ``PutMetricData`` entries: the heartbeat and sample counts always, results only where there are some.

    A result that is not known is not published: drift and quality alarms ignore missing data, the heartbeat's do not.
    """
    data = [
        _datum(report, "heartbeat", "Heartbeat", 1, now),
        _datum(report, "drift", "SampleCount", report.rows, now),
        _datum(report, "quality", "SampleCount", report.labelled_rows, now),
    ]
    if report.drift_state in _TESTED:
        data.append(_datum(report, "drift", "FeaturesDrifted", sum(f.drifted for f in report.features), now))
        data.append(_datum(report, "drift", "MaxPsi", max((f.psi for f in report.features), default=0.0), now))
        data += [
            _datum(report, "drift", "Psi", feature.psi, now, Feature=feature.name)
            for feature in report.features
            if feature.name in spec.alarm_features
        ]
    if report.quality_state in _TESTED:
        names = {"wape": "Wape", "bias": "Bias", "wape_ratio": "WapeRatio"}
        data += [_datum(report, "quality", names[name], value, now) for name, value in report.quality.items()]
    return data


def _datum(report: MonitorReport, monitor: str, name: str, value: float, now: datetime, **more: str) -> dict[str, Any]:
    dimensions: Mapping[str, str] = {**metric_dimensions(report.endpoint, report.variant, monitor), **more}
    pairs: Sequence[Mapping[str, str]] = [{"Name": key, "Value": text} for key, text in dimensions.items()]
    unit = "Count" if name in ("Heartbeat", "SampleCount", "FeaturesDrifted") else "None"
    return {"MetricName": name, "Dimensions": pairs, "Timestamp": now, "Value": float(value), "Unit": unit}
