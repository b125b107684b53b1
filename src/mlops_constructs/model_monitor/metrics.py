"""The metrics of a monitor: their names, and how many are paid for. A test holds that they are those of ``monitor.emf``.

That module needs numpy, which synthesis does not have.
"""

from collections.abc import Mapping
from typing import Literal

from mlops_runtime.monitor.spec import MonitorSpec

Monitor = Literal["drift", "quality", "bias", "explainability", "latency", "heartbeat"]
# by the value of the dimension Monitor; of quality besides those below
METRICS: Mapping[Monitor, tuple[str, ...]] = {
    "drift": (
        "SampleCount",
        "FeaturesDrifted",
        "FeaturesSuspect",
        "MaxPsi",
        "BaselineTampered",
        "BaselineAgeDays",
        "CaptureLagHours",
    ),
    "quality": ("SampleCount", "WapeRatio", "WapeRatioLow", "QualityViolations", "LabelCoverage", "LabelLagHours"),
    "bias": ("BiasViolations",),
    "explainability": ("Ndcg",),
    "latency": ("LatencyRatio", "LatencyViolations"),
    "heartbeat": ("Heartbeat",),
}
# of regression or classification, which only the baseline knows; what the spec limits is published besides
QUALITY = ("wape", "bias", "rmse", "r2", "auc", "f1", "brier")


def metric_count(spec: MonitorSpec) -> int:
    """Return how many custom metrics a monitor publishes at most, whatever the number of features.

    Args:
        spec: What is tested; each of its ``alarm_features`` has a metric of its own.

    Example:
        >>> metric_count(MonitorSpec(alarm_features=("price", "promo"))) - metric_count(MonitorSpec())
        2
    """
    return sum(map(len, METRICS.values())) + len({*QUALITY, *spec.quality_limits}) + len(spec.alarm_features)
