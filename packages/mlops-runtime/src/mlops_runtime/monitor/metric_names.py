"""Names of a monitor's metrics, as the functions publish and the constructs declare and price them. Needs no numpy."""

from collections.abc import Mapping
from typing import Literal

from mlops_runtime.monitor.monitors.quality_metrics import CLASSES
from mlops_runtime.monitor.monitors.quality_metrics import METRICS as METRICS_OF_QUALITY
from mlops_runtime.monitor.spec import MonitorSpec

Monitor = Literal["drift", "quality", "estimates", "bias", "explainability", "latency"]
# of estimates that have limits
BEYOND_LIMITS = "EstimatesBeyondLimits"
# by the value of the dimension Monitor; of quality besides those below
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
    # one of them: of a regression, a classification or classes, which only the baseline knows; with limits one more
    "estimates": ("EstimatedWape", "EstimatedAuc", "EstimatedMacroRecall"),
    "bias": ("BiasViolations",),
    "explainability": ("Ndcg",),
    "latency": ("LatencyRatio", "LatencyViolations"),
}
# of regression or classification, which only the baseline knows; a model of classes publishes two others instead of these six
PUBLISHED_OF_CLASSES = tuple(metric.name for metric in CLASSES)
_QUALITY = tuple(name for name, metric in METRICS_OF_QUALITY.items() if metric.is_published)


def metric_names(spec: MonitorSpec) -> tuple[str, ...]:
    """Return every metric that a monitor may publish, as ``monitor/name`` or ``drift/Psi/feature``: what its price is of.

    Args:
        spec: Which features have a metric of their own, and which quality metrics have a limit.

    Example:
        >>> len(metric_names(MonitorSpec())), metric_names(MonitorSpec(alarm_features=("price",)))[-1]
        (29, 'drift/Psi/price')
    """
    names = [f"{monitor}/{name}" for monitor, of_monitor in METRICS.items() for name in of_monitor]
    names += [f"quality/{camel(name)}" for name in quality_names(spec)]
    names += [f"estimates/{BEYOND_LIMITS}"] if spec.estimate_limits else []
    return (*names, *(f"drift/Psi/{feature}" for feature in spec.alarm_features))


def quality_names(spec: MonitorSpec) -> list[str]:
    """Return the quality metrics that are published: those of either target, and those that have a limit."""
    return [*_QUALITY, *sorted(set(spec.quality_limits) - set(_QUALITY))]


def camel(name: str) -> str:
    """Return a metric's name as CloudWatch's are written.

    Example:
        >>> camel("wape_ratio"), camel("CaptureLagHours"), camel("recall/dry_red")
        ('WapeRatio', 'CaptureLagHours', 'Recall/dry_red')
    """
    base, slash, part = name.partition("/")
    return "".join(word[:1].upper() + word[1:] for word in base.split("_")) + slash + part
