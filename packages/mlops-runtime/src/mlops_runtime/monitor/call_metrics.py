"""Calls and latency of an endpoint from CloudWatch, each read with one query.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_runtime.monitor.monitors.latency_measures import BASELINE_WEEKS, PERCENTILES, LatencyHour
from mlops_runtime.monitor.window import HOUR, Window
from mlops_runtime.rollout.fleet_minutes import FleetMetric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

SAGEMAKER = "AWS/SageMaker"
_FINE = timedelta(minutes=5)
# CloudWatch retains five-minute values for 63 days and hourly values for 455
_FINE_DAYS = timedelta(days=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(FleetMetric):
    """A CloudWatch metric. ``milliseconds``: milliseconds per unit, of a latency metric."""

    milliseconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Calls:
    """The number of calls, and the hour of the newest call."""

    count: int
    newest: datetime | None


def sources(endpoint: str, variant: str, traffic: Mapping[str, Any] | None) -> tuple[Source, Source | None]:
    """Return the metrics of calls and of latency: SageMaker's, or those of ``traffic``; latency is None if ``traffic`` omits it.

    Args:
        traffic: ``namespace``, ``metric`` and ``dimensions`` of the calls; ``latency`` has the same keys and ``milliseconds``, the
            milliseconds per unit. Default: SageMaker's metrics.
    """
    if traffic is None:
        dimensions = {"EndpointName": endpoint, "VariantName": variant}
        calls = Source(namespace=SAGEMAKER, metric="Invocations", dimensions=dimensions)
        return calls, Source(namespace=SAGEMAKER, metric="ModelLatency", dimensions=dimensions, milliseconds=0.001)
    latency = traffic.get("latency")
    return (
        Source(namespace=traffic["namespace"], metric=traffic["metric"], dimensions=traffic["dimensions"]),
        None if latency is None else Source(**latency),
    )


def calls_of(cloudwatch: "CloudWatchClient", source: Source, window: Window, *, since: datetime) -> Calls:
    """Return a window's calls since a time; earlier ones were served by another model."""
    start = max(window.start, since.astimezone(UTC))
    period = _FINE if window.end - start <= _FINE_DAYS else HOUR
    # round up to a full period: the period that contains the start mixes calls of both models
    start = start + (datetime.min.replace(tzinfo=UTC) - start) % period
    if start >= window.end:
        return Calls(0, None)
    calls = values_of(cloudwatch, {"calls": source.query("Sum", period)}, start=start, end=window.end)["calls"]
    newest = max((time for time, value in calls.items() if value), default=None)
    return Calls(int(sum(calls.values())), None if newest is None else newest.replace(minute=0))


def latency_of(cloudwatch: "CloudWatchClient", source: Source, window: Window) -> list[LatencyHour]:
    """Return the hours that had calls, of a window and the four weeks before it."""
    statistics = {"calls": "SampleCount", **{name: name for name in PERCENTILES}}
    queries = {name: source.query(statistic, HOUR) for name, statistic in statistics.items()}
    start = window.start - timedelta(weeks=BASELINE_WEEKS)
    found = values_of(cloudwatch, queries, start=start, end=window.end)
    return [
        LatencyHour(
            hour=hour,
            calls=int(count),
            milliseconds={n: found[n][hour] * source.milliseconds for n in PERCENTILES if hour in found[n]},
        )
        for hour, count in sorted(found["calls"].items())
        if count
    ]


def values_of(
    cloudwatch: "CloudWatchClient", queries: Mapping[str, Mapping[str, object]], *, start: datetime, end: datetime
) -> dict[str, dict[datetime, float]]:
    """Return the values of each ``MetricStat`` by time, by the name of the query.

    Raises:
        ClientError: If the caller may not read metrics.
    """
    named: Any = [{"Id": name, "MetricStat": query} for name, query in queries.items()]
    found: dict[str, dict[datetime, float]] = {name: {} for name in queries}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(MetricDataQueries=named, StartTime=start, EndTime=end)
    for result in (each for page in pages for each in page["MetricDataResults"]):
        pairs = zip(result["Timestamps"], result["Values"], strict=True)
        found[result["Id"]].update({time.astimezone(UTC): value for time, value in pairs if value is not None})
    return found
