"""Names of a monitor's metrics, shared by the functions that publish them and the constructs. Imports no numpy."""

from collections.abc import Mapping
from typing import Literal

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
# a multiclass model publishes these two instead of the six of _QUALITY; only the baseline contains the kind of target
PUBLISHED_OF_CLASSES = tuple(metric.name for metric in CLASSES)
_QUALITY = tuple(name for name, metric in METRICS_OF_QUALITY.items() if metric.is_published)


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
