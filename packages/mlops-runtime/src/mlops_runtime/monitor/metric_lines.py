"""The monitor's metrics: a function logs them in CloudWatch's embedded metric format, a job publishes them.

Every pair of name and dimensions is a metric that is paid for by the month, so their number is bounded: aggregates of each monitor,
staleness, and the PSI of ``alarm_features`` alone. The report has the rest.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_runtime.contracts.monitor import (
    TESTED,
    MonitorReport,
    MonitorState,
    is_confirmed,
    metric_dimensions,
    metric_namespace,
)
from mlops_runtime.monitor.metric_names import METRICS, Monitor, camel, quality_names
from mlops_runtime.monitor.spec import MonitorSpec

_COUNTS = frozenset(
    {
        "SampleCount",
        "FeaturesDrifted",
        "UnannouncedCalls",
        "FeaturesSuspect",
        "BaselineTampered",
        "QualityViolations",
        "BiasViolations",
        "LatencyViolations",
    }
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One value. ``feature`` is set where a feature has a metric of its own."""

    monitor: Monitor
    name: str
    value: float
    feature: str | None = None


def metrics(report: MonitorReport, spec: MonitorSpec) -> list[Metric]:
    """Return a report's values: sample counts and staleness always, results only where there are some.

    A result that is not known is not published: alarms on drift, quality, bias, explainability and latency ignore missing data.
    While a rollout runs nothing is published as drift. That the monitor runs at all is told by AWS Lambda's own metrics, which no
    other can write.

    Args:
        report: What one run decided.
        spec: Which features and quality metrics have a metric of their own.
    """
    found = [
        Metric("drift", "SampleCount", report.rows),
        Metric("quality", "SampleCount", report.labelled_rows),
    ]
    found += [
        Metric(monitor, camel(name), value)
        for name, value in (report.staleness or {}).items()
        for monitor in [_monitor_of(camel(name))]
    ]
    if report.drift_state is not MonitorState.NOT_YET_DEPLOYED:
        found.append(Metric("drift", "BaselineTampered", float(report.baseline_flaw is not None)))
    if report.unannounced_calls is not None:
        found.append(Metric("drift", "UnannouncedCalls", report.unannounced_calls))
    if report.drift_state in TESTED and report.suppressed is None:
        found += _drift(report, spec)
    if report.quality_state in TESTED or (
        report.quality_state is MonitorState.INSUFFICIENT_DATA and report.labelled_rows >= spec.minimum_labels
    ):  # also where nothing is asked of any metric
        found += _quality(report, spec)
    if report.bias_state in TESTED:
        violated = sum(bool(each.metric.violated) for each in report.bias or ())
        found.append(Metric("bias", "BiasViolations", violated))
    if report.explainability_state in TESTED and report.ndcg is not None:
        found.append(Metric("explainability", "Ndcg", report.ndcg))
    if report.latency_state in TESTED:
        found += _latency(report)
    return [metric for metric in found if math.isfinite(metric.value)]


def lines(values: Iterable[Metric], *, unit: str, endpoint: str, variant: str, now: datetime) -> list[str]:
    """Return the log lines that publish values: one a dimension set, each far below the 100 metrics that a directive may have.

    Args:
        values: What to publish.
        unit: The business unit, whose namespace they are in.
        endpoint: Name of the endpoint.
        variant: Name of the variant.
        now: The time that they are of.

    Example:
        >>> from datetime import UTC
        >>> rows = [Metric("drift", "SampleCount", 1)]
        >>> [line] = lines(rows, unit="demand", endpoint="e", variant="v", now=datetime(2017, 8, 8, tzinfo=UTC))
        >>> json.loads(line)["SampleCount"], json.loads(line)["_aws"]["Timestamp"]
        (1, 1502150400000)
    """
    sets: dict[tuple[Monitor, str | None], list[Metric]] = {}
    for value in values:
        sets.setdefault((value.monitor, value.feature), []).append(value)
    written = []
    for (monitor, feature), of_set in sets.items():
        dimensions = metric_dimensions(endpoint, variant, monitor)
        dimensions |= {} if feature is None else {"Feature": feature}
        directive = {
            "Namespace": metric_namespace(unit),
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": v.name, "Unit": "Count" if v.name in _COUNTS else "None"} for v in of_set],
        }
        metadata = {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [directive]}
        written.append(json.dumps({"_aws": metadata, **dimensions, **{v.name: v.value for v in of_set}}))
    return written


def data(values: Iterable[Metric], *, endpoint: str, variant: str, now: datetime) -> list[dict[str, Any]]:
    """Return values as PutMetricData takes them: for a job, whose lines go to a log group of which nobody here knows the class.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html

    Args:
        values: What to publish; far fewer than the 1,000 that a request may have.
        endpoint: Name of the endpoint.
        variant: Name of the variant.
        now: The time that they are of.
    """
    written = []
    for value in values:
        dimensions = metric_dimensions(endpoint, variant, value.monitor)
        dimensions |= {} if value.feature is None else {"Feature": value.feature}
        written.append(
            {
                "MetricName": value.name,
                "Dimensions": [{"Name": name, "Value": text} for name, text in dimensions.items()],
                "Timestamp": now,
                "Value": float(value.value),
                "Unit": "Count" if value.name in _COUNTS else "None",
            }
        )
    return written


def _monitor_of(name: str) -> Monitor:
    return "quality" if name in METRICS["quality"] else "drift"


def _drift(report: MonitorReport, spec: MonitorSpec) -> list[Metric]:
    return [
        Metric("drift", "FeaturesDrifted", sum(map(is_confirmed, report.features))),
        Metric("drift", "FeaturesSuspect", sum(feature.drifted for feature in report.features)),
        Metric("drift", "MaxPsi", max((feature.psi for feature in report.features), default=0.0)),
        *(
            Metric("drift", "Psi", feature.psi, feature.name)
            for feature in report.features
            if feature.name in spec.alarm_features
        ),
    ]


def _quality(report: MonitorReport, spec: MonitorSpec) -> list[Metric]:
    measured = report.quality_metrics or ()
    values: Mapping[str, float] = {
        **{metric.name: metric.value for metric in measured if metric.value is not None},
        **report.quality,
    }
    names = (*quality_names(spec), "wape_ratio")
    found = [Metric("quality", camel(name), values[name]) for name in names if name in values]
    wape = next((metric for metric in measured if metric.name == "wape"), None)
    if wape is not None and wape.low is not None and wape.baseline:
        found.append(Metric("quality", "WapeRatioLow", wape.low / wape.baseline))
    return [*found, Metric("quality", "QualityViolations", sum(bool(metric.violated) for metric in measured))]


def _latency(report: MonitorReport) -> list[Metric]:
    measured = report.latency or ()
    ratios = [m.value / m.baseline for m in measured if m.value is not None and m.baseline]
    ratio = [Metric("latency", "LatencyRatio", max(ratios))] if ratios else []
    return [*ratio, Metric("latency", "LatencyViolations", sum(bool(m.violated) for m in measured))]
