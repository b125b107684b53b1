"""How long the answers of both fleets of a rollout take: the 99th percentile that CloudWatch computes.

Of SageMaker's fleets it is that of ModelLatency by config, of slots that of the load balancer's TargetResponseTime by target group.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
and https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mlops_runtime.rollout.fleet_minutes import FleetMetric
from mlops_runtime.rollout.rollout_progress import RolloutProgress

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# percentiles of several periods cannot be merged, so one period is shown
_PERIOD = timedelta(minutes=5)
_SPAN = timedelta(hours=1)
_MICROSECOND, _SECOND = 0.001, 1000.0  # in milliseconds
# pods that a dead execution left get their last calls in it
_DRAINED = timedelta(minutes=2)
Which = Literal["new", "old"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFleet:
    """A fleet and where the time of its answers is.

    Args:
        config: Name of its config.
        time: The metric.
        milliseconds: How many its unit has.
        since: Before it answers were another version's. Default: all are its own.
    """

    config: str
    time: FleetMetric
    milliseconds: float
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLatency:
    """The answers of one fleet in the five minutes since ``since``: how many, and the time that 99 of 100 took at most."""

    fleet: Which
    config: str
    since: str
    answers: int
    p99_ms: float


def config_fleets(endpoint: str, *, variant: str, configs: Mapping[Which, str]) -> dict[Which, TimedFleet]:
    """Return the fleets of a SageMaker endpoint by the names of their configs.

    Args:
        endpoint: The endpoint.
        variant: Name of its variant.
        configs: Name of each fleet's config.
    """
    found: dict[Which, TimedFleet] = {}
    for fleet, config in configs.items():
        dimensions = {"EndpointName": endpoint, "VariantName": variant, "EndpointConfigName": config}
        time = FleetMetric(namespace="AWS/SageMaker", metric="ModelLatency", dimensions=dimensions)
        found[fleet] = TimedFleet(config=config, time=time, milliseconds=_MICROSECOND)
    return found


def slot_fleets(progress: RolloutProgress, *, configs: Mapping[Which, str]) -> dict[Which, TimedFleet]:
    """Return the slots of a rollout. The new one ran another version before, so its answers count since this rollout began.

    Args:
        progress: Where the rollout is; before it has a plan there are no slots.
        configs: Name of each slot's version.
    """
    begun = None if not progress.started else _next_period(datetime.fromisoformat(progress.started) + _DRAINED)
    return {
        fleet: TimedFleet(
            config=config,
            time=progress.slot_times[fleet],
            milliseconds=_SECOND,
            since=begun if fleet == "new" else None,
        )
        for fleet, config in configs.items()
        if fleet in progress.slot_times
    }


def fleet_latencies(
    cloudwatch: "CloudWatchClient", fleets: Mapping[Which, TimedFleet], *, now: datetime
) -> tuple[FleetLatency, ...]:
    """Return the newest five minutes of the last hour in which each fleet has answered; nothing of one that has not.

    Args:
        cloudwatch: Client.
        fleets: The fleets.
        now: Up to when.

    Raises:
        ClientError: If the caller may not read metrics.
    """
    if not fleets:
        return ()
    queries: list[Any] = [
        {"Id": f"{name}_{fleet}", "MetricStat": each.time.query(statistic, _PERIOD)}
        for fleet, each in fleets.items()
        for name, statistic in (("count", "SampleCount"), ("p99", "p99"))
    ]
    found: dict[str, dict[datetime, float]] = {}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=now - _SPAN, EndTime=now
    )
    for result in (each for page in pages for each in page["MetricDataResults"]):
        found.setdefault(result["Id"], {}).update(zip(result["Timestamps"], result["Values"], strict=True))
    newest = (
        _newest(found.get(f"count_{fleet}", {}), found.get(f"p99_{fleet}", {}), fleet, each)
        for fleet, each in fleets.items()
    )
    return tuple(each for each in newest if each is not None)


def _newest(
    counts: Mapping[datetime, float], times: Mapping[datetime, float], fleet: Which, each: TimedFleet
) -> FleetLatency | None:
    own = [at for at in times if each.since is None or at >= each.since]
    if not own:
        return None
    since = max(own)
    return FleetLatency(
        fleet=fleet,
        config=each.config,
        since=f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        answers=int(counts.get(since, 0)),
        p99_ms=times[since] * each.milliseconds,
    )


def _next_period(at: datetime) -> datetime:
    """Return the start of the first whole period from a time on."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - (midnight - at) // _PERIOD * _PERIOD
