"""The monitor's CloudWatch metrics: functions log them in embedded metric format, jobs call PutMetricData.

CloudWatch charges monthly for each combination of name and dimensions, so their number is bounded: aggregates of each monitor,
staleness, and the PSI of ``alarm_features``. The report contains the rest.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from mlops_runtime.contracts.monitor import MetricValue, metric_dimensions, metric_namespace

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


def lines(values: Iterable[MetricValue], *, unit: str, endpoint: str, variant: str, now: datetime) -> list[str]:
    """Return the log lines that publish values: one line a dimension set, far below the limit of 100 metrics a directive.

    Example:
        >>> from datetime import UTC
        >>> rows = [MetricValue("drift", "SampleCount", 1)]
        >>> [line] = lines(rows, unit="demand", endpoint="e", variant="v", now=datetime(2017, 8, 8, tzinfo=UTC))
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


def data(values: Iterable[MetricValue], *, endpoint: str, variant: str, now: datetime) -> list[dict[str, Any]]:
    """Return values as ``MetricData`` of PutMetricData, for jobs: the class of their log group may not support embedded metrics.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html

    Args:
        values: The values to publish, far fewer than the limit of 1,000 a request.
        endpoint: Name of the endpoint.
        variant: Name of the variant.
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
