"""Latency of both fleets of a rollout: the 99th percentile from CloudWatch.

SageMaker fleets use ModelLatency by endpoint config, slots on EKS the load balancer's TargetResponseTime by target group.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
and https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from mlops_runtime.monitor.call_metrics import values_of
from mlops_runtime.rollout.fleet_minutes import FleetMetric
from mlops_runtime.rollout.rollout_progress import RolloutProgress

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# percentiles of several periods cannot be combined, so one period is shown
_PERIOD = timedelta(minutes=5)
_SPAN = timedelta(hours=1)
_MICROSECOND, _SECOND = 0.001, 1000.0  # in milliseconds
# pods left by a failed execution may receive calls for this long
_DRAINED = timedelta(minutes=2)
Which = Literal["new", "old"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFleet:
    """A fleet and its latency metric."""

    config: str
    time: FleetMetric  # the latency metric
    milliseconds: float  # milliseconds per unit of the metric
    # start of its own responses; earlier ones are of another version. Default: all are its own
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLatency:
    """Responses of one fleet in the five minutes from ``since``: their number, and the 99th percentile of their latency."""

    fleet: Which
    config: str
    since: str
    answers: int
    p99_ms: float


def config_fleets(endpoint: str, *, variant: str, configs: Mapping[Which, str]) -> dict[Which, TimedFleet]:
    """Return the fleets of a SageMaker endpoint."""
    found: dict[Which, TimedFleet] = {}
    for fleet, config in configs.items():
        dimensions = {"EndpointName": endpoint, "VariantName": variant, "EndpointConfigName": config}
        time = FleetMetric(namespace="AWS/SageMaker", metric="ModelLatency", dimensions=dimensions)
        found[fleet] = TimedFleet(config=config, time=time, milliseconds=_MICROSECOND)
    return found


def slot_fleets(progress: RolloutProgress, *, configs: Mapping[Which, str]) -> dict[Which, TimedFleet]:
    """Return the slots of a rollout on EKS; responses of the new slot count from the start of this rollout.

    Args:
        progress: Progress of the rollout; there are no slots before its plan.
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
    """Return, for each fleet with responses in the last hour, the newest five minutes that have any.

    Args:
        cloudwatch: Client.
        now: End of the hour.

    Raises:
        ClientError: If the caller may not read metrics.
    """
    if not fleets:
        return ()
    queries = {
        f"{name}_{fleet}": each.time.query(statistic, _PERIOD)
        for fleet, each in fleets.items()
        for name, statistic in (("count", "SampleCount"), ("p99", "p99"))
    }
    found = values_of(cloudwatch, queries, start=now - _SPAN, end=now)
    newest = (_newest(found[f"count_{fleet}"], found[f"p99_{fleet}"], fleet, each) for fleet, each in fleets.items())
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
        since=f"{since:%Y-%m-%dT%H:%M:%SZ}",
        answers=int(counts.get(since, 0)),
        p99_ms=times[since] * each.milliseconds,
    )


def _next_period(at: datetime) -> datetime:
    """Return a time rounded up to the start of a period."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - (midnight - at) // _PERIOD * _PERIOD
