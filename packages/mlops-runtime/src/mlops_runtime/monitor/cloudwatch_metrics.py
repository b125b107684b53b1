"""The monitor's CloudWatch metrics: their names, also for the constructs, and how they are published. Imports no numpy.

Functions log them in embedded metric format, jobs call PutMetricData. CloudWatch charges monthly for each combination of name and
dimensions, so their number is bounded: aggregates of each monitor, staleness, and the PSI of ``alarm_features``. The report
contains the rest.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from mlops_runtime.contracts.monitor import MetricValue, metric_dimensions, metric_namespace
from mlops_runtime.monitor.monitors.quality_metrics import CLASSES
from mlops_runtime.monitor.monitors.quality_metrics import METRICS as METRICS_OF_QUALITY
from mlops_runtime.monitor.spec import MonitorSpec

Monitor = Literal["drift", "quality", "estimates", "bias", "explainability", "latency"]
# published if estimates have limits
BEYOND_LIMITS = "EstimatesBeyondLimits"
# by the value of the dimension Monitor; quality metrics are listed below
METRICS: Mapping[Monitor, tuple[str, ...]] = {
    "drift": (
        "SampleCount",
        "FeaturesDrifted",
        "FeaturesSuspect",
        "FeaturesToInspect",
        "MaxPsi",
        "BaselineTampered",
        "BaselineAgeDays",
        "CaptureLagHours",
        "UnannouncedCalls",
    ),
    "quality": ("SampleCount", "WapeRatio", "WapeRatioLow", "QualityViolations", "LabelCoverage", "LabelLagHours"),
    # one of the three, by the baseline's target: regression, classification or classes; one more with limits
    "estimates": ("EstimatedWape", "EstimatedAuc", "EstimatedMacroRecall"),
    "bias": ("BiasViolations",),
    "explainability": ("Ndcg",),
    "latency": ("LatencyRatio", "LatencyViolations"),
}
# a multiclass model publishes these two instead of the seven of _QUALITY; only the baseline contains the kind of target
PUBLISHED_OF_CLASSES = tuple(metric.name for metric in CLASSES)
_QUALITY = tuple(name for name, metric in METRICS_OF_QUALITY.items() if metric.is_published)
_COUNTS = frozenset(
    {
        "SampleCount",
        "FeaturesDrifted",
        "UnannouncedCalls",
        "FeaturesSuspect",
        "FeaturesToInspect",
        "BaselineTampered",
        "QualityViolations",
        "BiasViolations",
        "LatencyViolations",
    }
)


def metric_names(spec: MonitorSpec) -> tuple[str, ...]:
    """Return every metric that a monitor may publish, as ``monitor/name`` or ``drift/Psi/feature``; the cost estimate counts them.

    Args:
        spec: Names the features with their own metric and the quality metrics with a limit.

    Example:
        >>> len(metric_names(MonitorSpec())), metric_names(MonitorSpec(alarm_features=("price",)))[-1]
        (29, 'drift/Psi/price')
    """
    names = [f"{monitor}/{name}" for monitor, of_monitor in METRICS.items() for name in of_monitor]
    names += [f"quality/{camel(name)}" for name in quality_names(spec)]
    names += [f"estimates/{BEYOND_LIMITS}"] if spec.estimate_limits else []
    return (*names, *(f"drift/Psi/{feature}" for feature in spec.alarm_features))


def quality_names(spec: MonitorSpec) -> list[str]:
    """Return the quality metrics that are published: those of regression and classification, and those with a limit."""
    return [*_QUALITY, *sorted(set(spec.quality_limits) - set(_QUALITY))]


def camel(name: str) -> str:
    """Return a metric's name in CloudWatch's spelling.

    Example:
        >>> camel("wape_ratio"), camel("CaptureLagHours"), camel("recall/dry_red")
        ('WapeRatio', 'CaptureLagHours', 'Recall/dry_red')
    """
    base, slash, part = name.partition("/")
    return "".join(word[:1].upper() + word[1:] for word in base.split("_")) + slash + part


def metric_lines(values: Iterable[MetricValue], *, unit: str, endpoint: str, variant: str, now: datetime) -> list[str]:
    """Return the log lines that publish values: one line a dimension set, far below the limit of 100 metrics a directive.

    Example:
        >>> from datetime import UTC
        >>> rows = [MetricValue("drift", "SampleCount", 1)]
        >>> [line] = metric_lines(rows, unit="demand", endpoint="e", variant="v", now=datetime(2017, 8, 8, tzinfo=UTC))
        >>> json.loads(line)["SampleCount"], json.loads(line)["_aws"]["Timestamp"]
        (1, 1502150400000)
    """
    sets: dict[tuple[str, str | None], list[MetricValue]] = {}
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


def metric_data(
    values: Iterable[MetricValue], *, endpoint: str, variant: str, now: datetime
) -> list[dict[str, object]]:
    """Return values as ``MetricData`` of PutMetricData, for jobs: the class of their log group may not support embedded metrics.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html

    Args:
        values: The values to publish, far fewer than the limit of 1,000 a request.
        now: Timestamp of the values.
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
