"""How long the answers of both fleets of a rollout take: the 99th percentile that CloudWatch computes of SageMaker's ModelLatency.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mlops_runtime.rollout.fleet_minutes import FleetMetric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# percentiles of several periods cannot be merged, so one period is shown
_PERIOD = timedelta(minutes=5)
_SPAN = timedelta(hours=1)
_MICROSECOND = 0.001  # of a millisecond


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLatency:
    """The answers of one fleet in the five minutes since ``since``: how many, and the time that 99 of 100 took at most."""

    fleet: Literal["new", "old"]
    config: str
    since: str
    answers: int
    p99_ms: float


def fleet_latencies(
    cloudwatch: "CloudWatchClient", *, endpoint: str, variant: str, configs: Mapping[str, str], now: datetime
) -> tuple[FleetLatency, ...]:
    """Return the newest five minutes of the last hour in which each fleet has answered; nothing of one that has not.

    Args:
        cloudwatch: Client.
        endpoint: The endpoint.
        variant: Name of its variant.
        configs: Name of each fleet's config: ``new`` and ``old``.
        now: Up to when.

    Raises:
        ClientError: If the caller may not read metrics.
    """
    queries: list[Any] = []
    for fleet, config in configs.items():
        dimensions = {"EndpointName": endpoint, "VariantName": variant, "EndpointConfigName": config}
        latency = FleetMetric(namespace="AWS/SageMaker", metric="ModelLatency", dimensions=dimensions)
        queries += [
            {"Id": f"{fleet}_{name}", "MetricStat": latency.query(statistic, _PERIOD)}
            for name, statistic in (("count", "SampleCount"), ("p99", "p99"))
        ]
    found: dict[str, dict[datetime, float]] = {}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=now - _SPAN, EndTime=now
    )
    for result in (each for page in pages for each in page["MetricDataResults"]):
        found.setdefault(result["Id"], {}).update(zip(result["Timestamps"], result["Values"], strict=True))
    return tuple(_newest(found, fleet, config) for fleet, config in configs.items() if found.get(f"{fleet}_p99"))


def _newest(found: Mapping[str, Mapping[datetime, float]], fleet: Any, config: str) -> FleetLatency:
    times = found[f"{fleet}_p99"]
    since = max(times)
    return FleetLatency(
        fleet=fleet,
        config=config,
        since=f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        answers=int(found.get(f"{fleet}_count", {}).get(since, 0)),
        p99_ms=times[since] * _MICROSECOND,
    )
