"""What the deciding function is told of a service whose calls a load balancer counts."""

import json
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs.model_monitor._access import MonitorAccess
from mlops_runtime.monitor.call_metrics import sources
from mlops_runtime.monitor.spec import MonitorSpec


def _environment(metric: cloudwatch.Metric) -> dict[str, str]:
    part: Any = SimpleNamespace
    endpoint = part(
        endpoint_name="e",
        variant="v",
        rollout=part(table=part(table_name="t")),
        metric_invocations=lambda: metric,
    )
    unit = part(name="u", artifacts=part(bucket_name="a"), bus=part(event_bus_name="b"))
    stack: Any = cdk.Stack()
    access = MonitorAccess(
        scope=stack, business_unit=unit, endpoint=endpoint, captures=part(bucket_name="c"), period_hours=1
    )
    found: dict[str, str] = cdk.Stack.of(stack).resolve(access.environment(MonitorSpec(), window_hours=1))
    return found


def test_a_load_balancers_latency_is_watched():
    """Beside its calls, by the same dimensions, in milliseconds."""
    dimensions = {"LoadBalancer": "app/e/1"}
    metric = cloudwatch.Metric(
        namespace="AWS/ApplicationELB", metric_name="RequestCount", dimensions_map=dimensions, statistic="Sum"
    )
    calls, latency = sources("e", "v", json.loads(_environment(metric)["TRAFFIC"]))
    assert (calls.metric, calls.dimensions) == ("RequestCount", dimensions)
    assert latency is not None
    assert (latency.namespace, latency.metric) == ("AWS/ApplicationELB", "TargetResponseTime")
    assert (latency.dimensions, latency.milliseconds) == (dimensions, 1000)


def test_sagemaker_needs_no_word():
    """Its own metrics are the default."""
    metric = cloudwatch.Metric(namespace="AWS/SageMaker", metric_name="Invocations")
    assert "TRAFFIC" not in _environment(metric)
