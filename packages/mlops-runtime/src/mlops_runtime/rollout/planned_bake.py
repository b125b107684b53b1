"""Bake time of each step of a rollout, planned from the live fleet's traffic before the rollout.

SageMaker's waits are fixed when an update begins, so the time to detect a fault is computed before. The fault is a new fleet whose
failing share exceeds the live fleet's by one percentage point or by half, whichever is more; it is to be stopped in nine of ten
rollouts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, growth
from mlops_runtime.rollout.fleet_minutes import FleetMetric
from mlops_runtime.rollout.live_history import Counts

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# the fault that a bake must detect: additional failing share of the new fleet, absolute and relative to the old one's
_POINT, _PART = 0.01, 0.5
_MINUTE = 60
# first minutes with calls, whose evidence does not count
_WARM_UP_MINUTES = 1
_WEEK = timedelta(days=7)
_HOUR = timedelta(hours=1)
# CloudWatch keeps datapoints of five minutes for 63 days
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
_PERIOD = timedelta(minutes=5)
# quantile of the normal distribution: nine of ten
_NINE_OF_TEN = 1.2816


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Traffic of the live fleet.

    Example:
        >>> Traffic(calls=120.0, source="the hour before").failing
        0.0
    """

    calls: float = 0.0  # expected calls a minute of the whole endpoint; 0 if unknown
    failing: float = 0.0  # failing share of its responses
    source: str = "no call in this hour last week and in the hour before"  # period from which it was read


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBake:
    """Planned bake time."""

    seconds: int  # bake time of each step
    why: str = ""  # the reason, for the record; empty if nothing had to be planned


def read_traffic(cloudwatch: "CloudWatchClient", metric: FleetMetric, *, now: datetime) -> Traffic:
    """Return the traffic of this hour last week or of the hour before, whichever had fewer calls.

    An hour without calls is ignored. If metrics cannot be read, the traffic is unknown, and the bake has its maximum length.

    Args:
        cloudwatch: Client.
        metric: Metric with a 1 or a 0 for each response of the endpoint.
        now: Current time of the cloud.
    """
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    # datapoints begin at multiples of their period
    before = minute - timedelta(minutes=minute.minute % (_PERIOD // timedelta(minutes=1))) - _HOUR
    try:
        found = [
            (_counts(cloudwatch, metric, start), source)
            for start, source in ((before + _HOUR - _WEEK, "in this hour last week"), (before, "in the hour before"))
        ]
    except (BotoCoreError, ClientError) as error:
        return Traffic(source=f"calls could not be read: {error}")
    counted = [(counts, source) for counts, source in found if counts.calls]
    if not counted:
        return Traffic()
    counts, source = min(counted, key=lambda each: each[0].calls)
    return Traffic(calls=counts.calls / (_HOUR / timedelta(minutes=1)), failing=counts.share, source=source)


def _counts(cloudwatch: "CloudWatchClient", metric: FleetMetric, start: datetime) -> Counts:
    requested = {"calls": metric.query("SampleCount", _PERIOD), "failed": metric.query("Sum", _PERIOD)}
    queries: Any = [{"Id": name, "MetricStat": stat} for name, stat in requested.items()]
    sums = dict.fromkeys(requested, 0.0)
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=start, EndTime=start + _HOUR
    )
    for page in pages:
        for result in page["MetricDataResults"]:
            sums[result["Id"]] += sum(result["Values"])
    return Counts(calls=round(sums["calls"]), failed=round(sums["failed"]))


def fault(failing: float) -> float:
    """Return the failing share that a bake must detect if the live fleet's is ``failing``.

    Example:
        >>> fault(0.0), fault(0.04)
        (0.01, 0.06)
    """
    return min(1.0, failing + max(_POINT, _PART * failing))


def answers_to_see(*, share: float, failing: float) -> float:
    """Return the number of responses after which a new fleet with the ``fault`` is stopped in nine of ten rollouts.

    The log of the evidence grows by g per response on average, with variance v. In nine of ten cases it exceeds the limit L after n
    responses with n g - 1.28 sqrt(n v) = L. The best of the multiples counts; L includes its weight in the mixture.

    Args:
        share: The new fleet's share of the calls; 1 if the old fleet gets none.
        failing: The old fleet's failing share.

    Example:
        >>> round(answers_to_see(share=0.1, failing=0.0)), round(answers_to_see(share=0.1, failing=0.01))
        (1083, 6131)
    """
    best = math.inf
    for mean, variance, limit in growth(share=share, old=failing, new=fault(failing), rule=ComparisonRule()):
        if mean > 0:
            spread = _NINE_OF_TEN * math.sqrt(variance)
            best = min(best, ((spread + math.sqrt(spread**2 + 4 * mean * limit)) / (2 * mean)) ** 2)
    return best


def planned_bake(rollout: RolloutSpec, shares: Sequence[float], traffic: Traffic) -> PlannedBake:
    """Return the bake time of each step, between ``bake`` and ``max_bake``.

    Args:
        rollout: The policy.
        shares: The new fleet's share of the calls after each step. Both fleets are compared until the last one.
        traffic: Traffic of the live fleet.

    Example:
        >>> rollout = RolloutSpec(kind="CANARY", bake=600, maximum=28800, percent=10, max_bake=3600)
        >>> planned_bake(rollout, (0.1, 1.0), Traffic(calls=400.0, source="in the hour before")).why
        'bakes 29 minutes a step: 1,083 answers show 1 % failing answers instead of 0 %, at 400 calls a minute in the hour before'
    """
    most = rollout.bake if rollout.max_bake is None else rollout.max_bake
    if most <= rollout.bake:
        return PlannedBake(seconds=rollout.bake)
    if not traffic.calls:
        return PlannedBake(seconds=most, why=f"bakes {_minutes(most)} a step, which is max_bake: {traffic.source}")
    compared = shares[:-1] or shares
    mean = sum(compared) / len(compared)
    needed = max(float(rollout.min_invocations), answers_to_see(share=mean, failing=traffic.failing))
    wanted = needed / (traffic.calls * sum(compared)) + _WARM_UP_MINUTES
    seconds = math.ceil(min(wanted * _MINUTE, most) / _MINUTE) * _MINUTE
    seconds = max(rollout.bake, min(seconds, most))
    what = _shown(traffic.failing) if needed > rollout.min_invocations else "are needed"
    source = f"at {_number(traffic.calls)} calls a minute {traffic.source}"
    if math.isinf(needed):
        why = f"no number of answers {what} if the old fleet gets no calls, {source}"
    else:
        why = f"{needed:,.0f} answers {what}, {source}"
        if wanted * _MINUTE > most:
            why += f"; that would take {wanted:,.0f} minutes, and max_bake is {_minutes(most)}"
    return PlannedBake(seconds=seconds, why=f"bakes {_minutes(seconds)} a step: {why}")


def _shown(failing: float) -> str:
    return f"show {100 * fault(failing):.3g} % failing answers instead of {100 * failing:.2g} %"


def _number(calls: float) -> str:
    return f"{calls:.2g}" if calls < 10 else f"{calls:,.0f}"


def _minutes(seconds: int) -> str:
    whole = f"{seconds / _MINUTE:.3g}"
    return f"{whole} minute" if whole == "1" else f"{whole} minutes"
