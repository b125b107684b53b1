"""The 99th percentile of both fleets, as CloudWatch computes it from SageMaker's or a load balancer's metrics."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.console.fleet_latency import Which, config_fleets, fleet_latencies, slot_fleets
from mlops_runtime.eks.slot_alarms import answer_time
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress

CONFIGS: dict[Which, str] = {"new": "latency-new", "old": "latency-old"}


ELB = "arn:aws:elasticloadbalancing:us-east-1:000000000000"


def answered(cloud: Cloud, config: str, at: datetime, microseconds: list[float]) -> None:
    """SageMaker measures answers of a fleet."""
    dimensions = {"EndpointName": "latency", "VariantName": "AllTraffic", "EndpointConfigName": config}
    named: Any = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data: Any = [
        {"MetricName": "ModelLatency", "Dimensions": named, "Timestamp": at, "Value": value, "Unit": "Microseconds"}
        for value in microseconds
    ]
    cloud.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=data)


def test_the_newest_minutes_of_each_fleet_are_said(cloud: Cloud) -> None:
    """In milliseconds; an earlier period is not mixed in, and of a fleet without answers nothing is said."""
    now = datetime.fromisoformat(cloud.clock()["now"])
    start = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0) - timedelta(minutes=5)
    cloudwatch, fleets = cloud.client("cloudwatch"), config_fleets("latency", variant="AllTraffic", configs=CONFIGS)

    assert fleet_latencies(cloudwatch, fleets, now=now) == ()

    answered(cloud, "latency-new", start - timedelta(minutes=20), [900_000.0])
    answered(cloud, "latency-new", start + timedelta(minutes=1), [9_000.0] * 99 + [50_000.0])
    (new,) = fleet_latencies(cloudwatch, fleets, now=now)
    answered(cloud, "latency-old", start + timedelta(minutes=1), [4_000.0] * 10)
    _, old = fleet_latencies(cloudwatch, fleets, now=now)

    assert (new.fleet, new.config, new.answers, new.since) == ("new", "latency-new", 100, f"{start:%Y-%m-%dT%H:%M:%SZ}")
    assert 9 <= new.p99_ms <= 50
    assert (old.fleet, old.answers, old.p99_ms) == ("old", 10, pytest.approx(4.0, rel=0.01))


def test_slots_are_timed_by_target_group_since_their_rollout_began(cloud: Cloud) -> None:
    """A load balancer counts in seconds; what the new slot answered before was another version."""
    now = datetime.fromisoformat(cloud.clock()["now"])
    start = now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0) - timedelta(minutes=5)
    rule = f"{ELB}:listener-rule/app/timed/1/2/3"
    times = {
        fleet: answer_time(rule, f"{ELB}:targetgroup/{slot}/1") for fleet, slot in (("new", "green"), ("old", "blue"))
    }
    progress = RolloutProgress(
        execution="e",
        phase=Phase.BAKING,
        since="",
        slot_times=times,
        started=(start - timedelta(minutes=9)).isoformat(),
    )
    cloudwatch = cloud.client("cloudwatch")

    def measured(fleet: str, at: datetime, seconds: float) -> None:
        named: Any = [{"Name": name, "Value": value} for name, value in times[fleet].dimensions.items()]
        datum: Any = {"MetricName": "TargetResponseTime", "Dimensions": named, "Timestamp": at, "Value": seconds}
        cloudwatch.put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[datum])

    measured("new", start - timedelta(minutes=8), 0.9)
    measured("old", start + timedelta(minutes=1), 0.004)
    (alone,) = fleet_latencies(cloudwatch, slot_fleets(progress, configs=CONFIGS), now=now)
    measured("new", start - timedelta(minutes=4), 0.02)
    new, old = fleet_latencies(cloudwatch, slot_fleets(progress, configs=CONFIGS), now=now)
    unplanned = slot_fleets(replace(progress, slot_times={}, started=""), configs=CONFIGS)

    assert alone == old
    assert (old.fleet, old.config, old.answers, old.p99_ms) == ("old", "latency-old", 1, pytest.approx(4, rel=0.02))
    assert (new.fleet, new.answers, new.p99_ms) == ("new", 1, pytest.approx(20, rel=0.02))
    assert fleet_latencies(cloudwatch, unplanned, now=now) == ()
