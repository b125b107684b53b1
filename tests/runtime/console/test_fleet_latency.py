"""The 99th percentile of both fleets, as CloudWatch computes it of what SageMaker measured."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.console.fleet_latency import fleet_latencies

CONFIGS = {"new": "latency-new", "old": "latency-old"}


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
    read: Any = {"endpoint": "latency", "variant": "AllTraffic", "configs": CONFIGS, "now": now}

    assert fleet_latencies(cloud.client("cloudwatch"), **read) == ()

    answered(cloud, "latency-new", start - timedelta(minutes=20), [900_000.0])
    answered(cloud, "latency-new", start + timedelta(minutes=1), [9_000.0] * 99 + [50_000.0])
    (new,) = fleet_latencies(cloud.client("cloudwatch"), **read)
    answered(cloud, "latency-old", start + timedelta(minutes=1), [4_000.0] * 10)
    _, old = fleet_latencies(cloud.client("cloudwatch"), **read)

    assert (new.fleet, new.config, new.answers, new.since) == ("new", "latency-new", 100, f"{start:%Y-%m-%dT%H:%M:%SZ}")
    assert 9 <= new.p99_ms <= 50
    assert (old.fleet, old.answers, old.p99_ms) == ("old", 10, pytest.approx(4.0, rel=0.01))
