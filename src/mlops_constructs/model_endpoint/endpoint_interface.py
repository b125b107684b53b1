"""Interfaces of endpoints and served models, defined in the app or imported, and ownership of endpoints."""

from enum import StrEnum
from typing import Protocol, Unpack

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from mlops_constructs.model_endpoint.endpoint_metrics import EndpointMetricOptions, MetricOptions
from mlops_constructs.rollout import Rollout
from mlops_constructs.unit_interface import IBusinessUnit


class Ownership(StrEnum):
    """Whether the Deploy machine or CloudFormation creates and updates models, endpoint configs and the endpoint.

    With ``PIPELINE`` the Deploy machine deploys each approved package, and the stack defines only the serving spec. With
    ``CLOUDFORMATION`` the stack names the model package: deploying a new model is a deployment of the stack.
    """

    PIPELINE = "PIPELINE"
    CLOUDFORMATION = "CLOUDFORMATION"


class IWatchedModel(Protocol):
    """A model with a monitor: the members that alarms and dashboards use."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """Business unit that owns the model and its monitor."""
        ...

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint or service."""
        ...

    @property
    def variant(self) -> str:
        """Variant name of its captures."""
        ...

    @property
    def capture_bucket(self) -> s3.IBucket | None:
        """Bucket of captures and labels; ``None`` without data capture."""
        ...

    def metric_invocations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls."""
        ...


class IServedModel(IWatchedModel, Protocol):
    """A model with rollouts, on SageMaker or EKS: the members that retraining and monitors use."""

    @property
    def rollout(self) -> Rollout:
        """Rollout table, Deploy machine and functions."""
        ...


class IModelEndpoint(Protocol):
    """An endpoint, defined in the app or imported."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """Owning business unit; raises a ``ValidationError`` if the import did not name it."""
        ...

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        ...

    @property
    def endpoint_arn(self) -> str:
        """ARN of the endpoint."""
        ...

    @property
    def variant(self) -> str:
        """Name of its main variant."""
        ...

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant invoking the endpoint."""
        ...

    def grant_invoke_async(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant sending requests to an asynchronous endpoint."""
        ...

    def metric(self, metric_name: str, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return a metric that SageMaker publishes for the endpoint, by name."""
        ...

    def metric_invocations(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls; an asynchronous endpoint does not publish it."""
        ...

    def metric_invocations_per_instance(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls per instance, the metric that target tracking follows."""
        ...

    def metric_invocation_4xx_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls with a 4xx response."""
        ...

    def metric_invocation_5xx_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls with a 5xx response."""
        ...

    def metric_invocation_model_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls without a 2xx response from the model; real-time endpoints only."""
        ...

    def metric_concurrent_requests_per_model(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of concurrent requests, queued ones included; real-time endpoints only."""
        ...

    def metric_model_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the latency of the model container in microseconds."""
        ...

    def metric_overhead_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the latency that SageMaker adds in microseconds, cold starts included."""
        ...

    def metric_mid_stream_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of response streams that ended in an error."""
        ...

    def metric_first_chunk_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to the first chunk of a response stream in microseconds."""
        ...

    def metric_first_chunk_model_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the model's share of the time to the first chunk in microseconds."""
        ...

    def metric_first_chunk_overhead_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return SageMaker's share of the time to the first chunk in microseconds."""
        ...

    def metric_model_setup_time(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to launch new compute resources of a serverless endpoint in microseconds."""
        ...

    def metric_serverless_concurrent_executions_utilization(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls as a fraction (0 to 1) of the maximum concurrency."""
        ...

    def metric_serverless_provisioned_concurrency_executions(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls of a serverless endpoint with provisioned concurrency."""
        ...

    def metric_serverless_provisioned_concurrency_utilization(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls as a fraction (0 to 1) of the provisioned concurrency."""
        ...

    def metric_serverless_provisioned_concurrency_invocations(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return the number of calls that provisioned concurrency handled."""
        ...

    def metric_serverless_provisioned_concurrency_spillover_invocations(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return the number of calls beyond the provisioned concurrency."""
        ...

    def metric_approximate_backlog_size(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that are queued or in progress."""
        ...

    def metric_approximate_backlog_size_per_instance(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return the number of queued requests per instance, the metric that target tracking follows."""
        ...

    def metric_approximate_age_of_oldest_request(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the age of the oldest request in the queue in seconds."""
        ...

    def metric_has_backlog_without_capacity(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return 1 while requests are queued and no instance runs, else 0."""
        ...

    def metric_invocations_processed(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that were processed."""
        ...

    def metric_invocation_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that failed for any reason."""
        ...

    def metric_expired_requests(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that expired in the queue."""
        ...

    def metric_request_download_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that could not be read from S3."""
        ...

    def metric_response_upload_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of responses that could not be written to S3."""
        ...

    def metric_notification_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of notifications that could not be published."""
        ...

    def metric_request_download_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to read a request from S3 in microseconds."""
        ...

    def metric_response_upload_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to write a response to S3 in microseconds."""
        ...

    def metric_time_in_backlog(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time that a request spent in the queue, in the unit that AWS publishes (documented as microseconds)."""
        ...

    def metric_total_processing_time(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time from receipt to completion of a request in milliseconds."""
        ...

    def metric_cpu_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return CPU utilization in percent, 100 per core."""
        ...

    def metric_cpu_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return CPU utilization in percent of all cores."""
        ...

    def metric_memory_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return memory utilization in percent."""
        ...

    def metric_disk_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return disk utilization in percent; above 75, SageMaker stops data capture."""
        ...

    def metric_gpu_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU utilization in percent, 100 per GPU."""
        ...

    def metric_gpu_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU utilization in percent of all GPUs."""
        ...

    def metric_gpu_memory_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU memory utilization in percent, 100 per GPU."""
        ...

    def metric_gpu_memory_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU memory utilization in percent of all GPUs."""
        ...
