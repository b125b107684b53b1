"""Metrics of an endpoint match the names, statistics and dimensions in AWS's documentation.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints-monitoring.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
"""

import inspect
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch

from mlops_constructs import IModelEndpoint, ModelEndpoint

# method without its prefix: SageMaker's name, default statistic, namespace, number of dimensions
METRICS = {
    "invocations": ("Invocations", "Sum", "AWS/SageMaker", 2),
    "invocations_per_instance": ("InvocationsPerInstance", "Sum", "AWS/SageMaker", 2),
    "invocation_4xx_errors": ("Invocation4XXErrors", "Sum", "AWS/SageMaker", 2),
    "invocation_5xx_errors": ("Invocation5XXErrors", "Sum", "AWS/SageMaker", 2),
    "invocation_model_errors": ("InvocationModelErrors", "Sum", "AWS/SageMaker", 2),
    "concurrent_requests_per_model": ("ConcurrentRequestsPerModel", "Maximum", "AWS/SageMaker", 2),
    "model_latency": ("ModelLatency", "p95", "AWS/SageMaker", 2),
    "overhead_latency": ("OverheadLatency", "p95", "AWS/SageMaker", 2),
    "mid_stream_errors": ("MidStreamErrors", "Sum", "AWS/SageMaker", 2),
    "first_chunk_latency": ("FirstChunkLatency", "p95", "AWS/SageMaker", 2),
    "first_chunk_model_latency": ("FirstChunkModelLatency", "p95", "AWS/SageMaker", 2),
    "first_chunk_overhead_latency": ("FirstChunkOverheadLatency", "p95", "AWS/SageMaker", 2),
    "model_setup_time": ("ModelSetupTime", "p95", "AWS/SageMaker", 2),
    "serverless_concurrent_executions_utilization": (
        "ServerlessConcurrentExecutionsUtilization",
        "Maximum",
        "AWS/SageMaker",
        2,
    ),
    "serverless_provisioned_concurrency_executions": (
        "ServerlessProvisionedConcurrencyExecutions",
        "Maximum",
        "AWS/SageMaker",
        2,
    ),
    "serverless_provisioned_concurrency_utilization": (
        "ServerlessProvisionedConcurrencyUtilization",
        "Maximum",
        "AWS/SageMaker",
        2,
    ),
    "serverless_provisioned_concurrency_invocations": (
        "ServerlessProvisionedConcurrencyInvocations",
        "Maximum",
        "AWS/SageMaker",
        2,
    ),
    "serverless_provisioned_concurrency_spillover_invocations": (
        "ServerlessProvisionedConcurrencySpilloverInvocations",
        "Maximum",
        "AWS/SageMaker",
        2,
    ),
    "approximate_backlog_size": ("ApproximateBacklogSize", "Maximum", "AWS/SageMaker", 1),
    "approximate_backlog_size_per_instance": ("ApproximateBacklogSizePerInstance", "Average", "AWS/SageMaker", 1),
    "approximate_age_of_oldest_request": ("ApproximateAgeOfOldestRequest", "Maximum", "AWS/SageMaker", 1),
    "has_backlog_without_capacity": ("HasBacklogWithoutCapacity", "Maximum", "AWS/SageMaker", 1),
    "invocations_processed": ("InvocationsProcessed", "Sum", "AWS/SageMaker", 2),
    "invocation_failures": ("InvocationFailures", "Sum", "AWS/SageMaker", 2),
    "expired_requests": ("ExpiredRequests", "Sum", "AWS/SageMaker", 2),
    "request_download_failures": ("RequestDownloadFailures", "Sum", "AWS/SageMaker", 2),
    "response_upload_failures": ("ResponseUploadFailures", "Sum", "AWS/SageMaker", 2),
    "notification_failures": ("NotificationFailures", "Sum", "AWS/SageMaker", 2),
    "request_download_latency": ("RequestDownloadLatency", "Average", "AWS/SageMaker", 2),
    "response_upload_latency": ("ResponseUploadLatency", "Average", "AWS/SageMaker", 2),
    "time_in_backlog": ("TimeInBacklog", "Average", "AWS/SageMaker", 2),
    "total_processing_time": ("TotalProcessingTime", "Average", "AWS/SageMaker", 2),
    "cpu_utilization": ("CPUUtilization", "Average", "/aws/sagemaker/Endpoints", 2),
    "cpu_utilization_normalized": ("CPUUtilizationNormalized", "Average", "/aws/sagemaker/Endpoints", 2),
    "memory_utilization": ("MemoryUtilization", "Average", "/aws/sagemaker/Endpoints", 2),
    "disk_utilization": ("DiskUtilization", "Average", "/aws/sagemaker/Endpoints", 2),
    "gpu_utilization": ("GPUUtilization", "Average", "/aws/sagemaker/Endpoints", 2),
    "gpu_utilization_normalized": ("GPUUtilizationNormalized", "Average", "/aws/sagemaker/Endpoints", 2),
    "gpu_memory_utilization": ("GPUMemoryUtilization", "Average", "/aws/sagemaker/Endpoints", 2),
    "gpu_memory_utilization_normalized": ("GPUMemoryUtilizationNormalized", "Average", "/aws/sagemaker/Endpoints", 2),
}


@pytest.fixture(scope="module")
def endpoint() -> IModelEndpoint:
    """An endpoint of another stack."""
    stack = cdk.Stack(cdk.App(), "S")
    return ModelEndpoint.from_endpoint_name(stack, "Endpoint", endpoint_name="demand-forecast")


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_sagemakers(endpoint: Any, name: str) -> None:
    """Metrics have SageMaker's name, statistic, namespace and dimensions."""
    metric_name, statistic, namespace, dimensions = METRICS[name]
    metric: cloudwatch.Metric = getattr(endpoint, f"metric_{name}")()
    assert (metric.metric_name, metric.statistic, metric.namespace) == (metric_name, statistic, namespace)
    expected = {"EndpointName": "demand-forecast", "VariantName": "AllTraffic"}
    assert metric.dimensions == dict(list(expected.items())[:dimensions])
    assert metric.period.to_minutes() == 5


def test_the_table_is_complete(endpoint: Any) -> None:
    """Class and protocol have exactly the metrics of the table."""
    for owner in (type(endpoint), IModelEndpoint, ModelEndpoint):
        methods = {n.removeprefix("metric_") for n, _ in inspect.getmembers(owner) if n.startswith("metric_")}
        assert methods == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_duration_says_its_unit(name: str) -> None:
    """Labels of latencies name microseconds or milliseconds."""
    text = inspect.getdoc(getattr(ModelEndpoint, f"metric_{name}")) or ""
    if name.endswith(("latency", "_time", "in_backlog", "oldest_request")):
        assert "seconds" in text


def test_callers_choose_label_period_statistic_and_variant(endpoint: Any) -> None:
    """Options replace only their own default."""
    minute: Callable[[int], cdk.Duration] = cdk.Duration.minutes
    metric = endpoint.metric_model_latency(label="p99", period=minute(1), statistic="p99", variant="Arm")
    assert (metric.label, metric.statistic, metric.period.to_minutes()) == ("p99", "p99", 1)
    assert metric.dimensions["VariantName"] == "Arm"
    assert endpoint.metric("Anything").statistic == "Average"
