"""Queries to CloudWatch and the use of its responses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_runtime.monitor.call_metrics import Calls, Source, calls_of, latency_of, sources
from mlops_runtime.monitor.window import HOUR, Window

WINDOW = Window(datetime(2017, 8, 7, tzinfo=UTC), datetime(2017, 8, 8, tzinfo=UTC))
LONG_AGO = datetime(2017, 1, 1, tzinfo=UTC)


def client() -> tuple[Any, Stubber]:
    """Return a client with scripted responses, and the script."""
    made = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return made, Stubber(made)


def query(source: Source, name: str, statistic: str, period: int) -> dict[str, Any]:
    """Return a query in CloudWatch's format."""
    dimensions = [{"Name": key, "Value": value} for key, value in source.dimensions.items()]
    metric = {"Namespace": source.namespace, "MetricName": source.metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic}}


def result(name: str, values: dict[datetime, float]) -> dict[str, Any]:
    """Return one series."""
    return {"Id": name, "Timestamps": list(values), "Values": list(values.values()), "StatusCode": "Complete"}


LOAD_BALANCER = {"namespace": "AWS/ApplicationELB", "metric": "RequestCount", "dimensions": {"LoadBalancer": "app/x/1"}}


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        (None, ("AWS/SageMaker", "Invocations", {"EndpointName": "e", "VariantName": "v"})),
        (LOAD_BALANCER, ("AWS/ApplicationELB", "RequestCount", {"LoadBalancer": "app/x/1"})),
    ],
)
def test_calls_are_counted_where_they_are_published(traffic: Any, expected: tuple[str, str, dict[str, str]]) -> None:
    """Reads all pages of SageMaker's metric, or of the load balancer's before a cluster's pods."""
    cloudwatch, script = client()
    source, latency = sources("e", "v", traffic)
    assert (source.namespace, source.metric, source.dimensions) == expected
    assert (latency is None) is (traffic is not None)
    at = WINDOW.start + 3 * HOUR
    requested = {
        "MetricDataQueries": [query(source, "calls", "Sum", 300)],
        "StartTime": WINDOW.start,
        "EndTime": WINDOW.end,
    }
    first = {"MetricDataResults": [result("calls", {at: 3.0, at + timedelta(minutes=70): 4.0})], "NextToken": "t"}
    script.add_response("get_metric_data", first, requested)
    last = {"MetricDataResults": [result("calls", {at + timedelta(hours=9): 0.0})]}
    script.add_response("get_metric_data", last, {**requested, "NextToken": "t"})
    with script:
        assert calls_of(cloudwatch, source, WINDOW, since=LONG_AGO) == Calls(7, at + HOUR)


def test_calls_of_the_model_before_are_not_counted() -> None:
    """Counts from the first whole five minutes of the live model; a model that went live after the window has none."""
    cloudwatch, script = client()
    source, _ = sources("e", "v", None)
    since = WINDOW.start + timedelta(hours=2, minutes=1)
    requested = {
        "MetricDataQueries": [query(source, "calls", "Sum", 300)],
        "StartTime": WINDOW.start + timedelta(hours=2, minutes=5),
        "EndTime": WINDOW.end,
    }
    script.add_response("get_metric_data", {"MetricDataResults": [result("calls", {})]}, requested)
    with script:
        assert calls_of(cloudwatch, source, WINDOW, since=since) == Calls(0, None)
        assert calls_of(cloudwatch, source, WINDOW, since=WINDOW.end) == Calls(0, None)


def test_long_periods_are_asked_by_the_hour() -> None:
    """CloudWatch stores five-minute periods for 63 days."""
    cloudwatch, script = client()
    source, _ = sources("e", "v", None)
    window = Window(WINDOW.end - timedelta(days=90), WINDOW.end)
    requested = {
        "MetricDataQueries": [query(source, "calls", "Sum", 3600)],
        "StartTime": window.start,
        "EndTime": window.end,
    }
    script.add_response("get_metric_data", {"MetricDataResults": [result("calls", {})]}, requested)
    with script:
        assert calls_of(cloudwatch, source, window, since=LONG_AGO).count == 0


def test_latency_comes_by_the_hour_in_milliseconds() -> None:
    """SageMaker's latency is in microseconds; hours without calls are left out; a percentile may be missing."""
    cloudwatch, script = client()
    _, source = sources("e", "v", None)
    assert source is not None
    hours = [WINDOW.start - HOUR, WINDOW.start]
    results = [
        result("calls", {hours[1]: 40.0, hours[0]: 60.0, hours[1] + HOUR: 0.0}),
        result("p50", {hours[0]: 4000.0, hours[1]: 5000.0}),
        result("p95", {hours[0]: 9000.0, hours[1]: 9500.0}),
        result("p99", {hours[0]: 20000.0}),
    ]
    statistics = (("calls", "SampleCount"), ("p50", "p50"), ("p95", "p95"), ("p99", "p99"))
    requested = {
        "MetricDataQueries": [query(source, name, statistic, 3600) for name, statistic in statistics],
        "StartTime": WINDOW.start - timedelta(weeks=4),
        "EndTime": WINDOW.end,
    }
    script.add_response("get_metric_data", {"MetricDataResults": results}, requested)
    with script:
        found = latency_of(cloudwatch, source, WINDOW)
    assert [(hour.hour, hour.calls, dict(hour.milliseconds)) for hour in found] == [
        (hours[0], 60, {"p50": 4.0, "p95": 9.0, "p99": 20.0}),
        (hours[1], 40, {"p50": 5.0, "p95": 9.5}),
    ]


def test_a_load_balancer_may_say_where_its_latency_is() -> None:
    """The load balancer's metric is in seconds."""
    latency = {
        "namespace": "AWS/ApplicationELB",
        "metric": "TargetResponseTime",
        "dimensions": {},
        "milliseconds": 1000,
    }
    assert sources("e", "v", {**LOAD_BALANCER, "latency": latency})[1] == Source(
        namespace="AWS/ApplicationELB", metric="TargetResponseTime", milliseconds=1000
    )


def test_the_embedded_cloud_answers_as_cloudwatch_does(cloud: Any) -> None:
    """Percentiles of each hour come from values published with counts."""
    cloudwatch = cloud.client("cloudwatch")
    _, source = sources("traffic-test", "v", None)
    assert source is not None
    hour = (
        datetime.fromisoformat(cloud.clock()["now"]).astimezone(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    )
    dimensions = [{"Name": name, "Value": value} for name, value in source.dimensions.items()]
    datum = {"MetricName": "ModelLatency", "Dimensions": dimensions, "Timestamp": hour, "Unit": "Microseconds"}
    published = [{**datum, "Values": [4000.0, 90000.0], "Counts": [98.0, 2.0]}]
    cloudwatch.put_metric_data(Namespace=source.namespace, MetricData=published)
    [found] = latency_of(cloudwatch, source, Window(hour, hour + HOUR))
    assert (found.hour, found.calls, found.milliseconds["p50"]) == (hour, 100, 4.0)
    assert found.milliseconds["p99"] > found.milliseconds["p95"] == 4.0
