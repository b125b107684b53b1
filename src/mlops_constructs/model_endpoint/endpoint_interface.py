"""What every endpoint offers, defined here or elsewhere, and who decides which model it serves."""

from enum import StrEnum
from typing import Protocol, Unpack

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from mlops_constructs.model_endpoint.endpoint_metrics import EndpointMetricOptions, MetricOptions
from mlops_constructs.rollout import Rollout
from mlops_constructs.unit_interface import IBusinessUnit


class Ownership(StrEnum):
    """Who makes and changes models, configs and the endpoint.

    With ``PIPELINE`` the Deploy machine does, at each approval, and the stack only says how the endpoint is served. With
    ``CLOUDFORMATION`` the stack does, and names the model package: a new model is a deployment of the stack.
    """

    PIPELINE = "PIPELINE"
    CLOUDFORMATION = "CLOUDFORMATION"


class IWatchedModel(Protocol):
    """A model whose calls are watched: what alarms and dashboards need of it."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit that owns it, and its monitor."""
        ...

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint or service."""
        ...

    @property
    def variant(self) -> str:
        """Name under which calls are captured."""
        ...

    @property
    def capture_bucket(self) -> s3.IBucket | None:
        """Bucket of captures and labels; None without capture."""
        ...

    def metric_invocations(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls."""
        ...


class IServedModel(IWatchedModel, Protocol):
    """A model that a Deploy machine keeps up to date, wherever it runs: what retraining and monitors need of it."""

    @property
    def rollout(self) -> Rollout:
        """Rollout table, Deploy machine and functions."""
        ...


class IModelEndpoint(Protocol):
    """An endpoint, defined here or elsewhere."""

    @property
    def business_unit(self) -> IBusinessUnit:
        """The unit that owns it; a ``ValidationError`` where an import did not name it."""
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
        """Name of its variant."""
        ...

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant invoking the endpoint."""
        ...

    def grant_invoke_async(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant sending requests to an asynchronous endpoint."""
        ...

    def metric(self, metric_name: str, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return any of SageMaker's metrics of the endpoint."""
        ...

    def metric_invocations(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls; an asynchronous endpoint does not publish it."""
        ...

    def metric_invocations_per_instance(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return calls an instance, which target tracking follows."""
        ...

    def metric_invocation_4xx_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that the model refused."""
        ...

    def metric_invocation_5xx_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls that failed at the server."""
        ...

    def metric_invocation_model_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls without a 2xx answer; real-time endpoints only."""
        ...

    def metric_concurrent_requests_per_model(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return calls at the same time, queued ones included; real-time endpoints only."""
        ...

    def metric_model_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the model's own time in microseconds."""
        ...

    def metric_overhead_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return SageMaker's own time in microseconds, cold starts included."""
        ...

    def metric_mid_stream_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of streamed answers that broke off."""
        ...

    def metric_first_chunk_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to the first piece of a streamed answer in microseconds."""
        ...

    def metric_first_chunk_model_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the model's part of the time to the first piece in microseconds."""
        ...

    def metric_first_chunk_overhead_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return SageMaker's part of the time to the first piece in microseconds."""
        ...

    def metric_model_setup_time(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to start new resources of a serverless endpoint in microseconds."""
        ...

    def metric_serverless_concurrent_executions_utilization(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls as a share (0 to 1) of the maximum concurrency."""
        ...

    def metric_serverless_provisioned_concurrency_executions(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls of a serverless endpoint that keeps some warm."""
        ...

    def metric_serverless_provisioned_concurrency_utilization(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls as a share (0 to 1) of what is kept warm."""
        ...

    def metric_serverless_provisioned_concurrency_invocations(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return calls that found a warm place."""
        ...

    def metric_serverless_provisioned_concurrency_spillover_invocations(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return calls beyond what is kept warm."""
        ...

    def metric_approximate_backlog_size(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return requests of an asynchronous endpoint that wait or are worked on."""
        ...

    def metric_approximate_backlog_size_per_instance(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return requests in the queue an instance, which target tracking follows."""
        ...

    def metric_approximate_age_of_oldest_request(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the age of the oldest request in the queue in seconds."""
        ...

    def metric_has_backlog_without_capacity(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return 1 while requests wait and no instance runs, else 0."""
        ...

    def metric_invocations_processed(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that were worked on."""
        ...

    def metric_invocation_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that failed for any reason."""
        ...

    def metric_expired_requests(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that waited longer than they may."""
        ...

    def metric_request_download_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that could not be read from S3."""
        ...

    def metric_response_upload_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of answers that could not be written to S3."""
        ...

    def metric_notification_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of notifications that could not be published."""
        ...

    def metric_request_download_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to read a request from S3 in microseconds."""
        ...

    def metric_response_upload_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to write an answer to S3 in microseconds."""
        ...

    def metric_time_in_backlog(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time that a request waited, in the unit that AWS publishes it with (its page has said microseconds)."""
        ...

    def metric_total_processing_time(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time from receipt to the end of a request in milliseconds."""
        ...

    def metric_cpu_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the processors in percent, 100 a core."""
        ...

    def metric_cpu_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the processors in percent of all cores."""
        ...

    def metric_memory_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the memory in percent."""
        ...

    def metric_disk_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the disk in percent; above 75 SageMaker stops to capture."""
        ...

    def metric_gpu_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the GPUs in percent, 100 a GPU."""
        ...

    def metric_gpu_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the GPUs in percent of all."""
        ...

    def metric_gpu_memory_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the GPUs' memory in percent, 100 a GPU."""
        ...

    def metric_gpu_memory_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return use of the GPUs' memory in percent of all."""
        ...
