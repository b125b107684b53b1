"""CloudWatch metrics of endpoints, and the base of endpoints that are known by name."""

from typing import Literal, TypedDict, Unpack

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import sagemaker_arn
from mlops_constructs._validation import ValidationError
from mlops_constructs.model_endpoint.endpoint_capacity import VARIANT
from mlops_constructs.unit_interface import IBusinessUnit

Space = Literal["CALLS", "INSTANCES"]
Dimensions = Literal["VARIANT", "ENDPOINT"]
_FIVE_MINUTES = cdk.Duration.minutes(5)
_NAMESPACES: dict[Space, str] = {"CALLS": "AWS/SageMaker", "INSTANCES": "/aws/sagemaker/Endpoints"}


class MetricOptions(TypedDict, total=False):
    """Options of a metric: ``label`` in graphs, ``period`` and ``statistic`` of the aggregation."""

    label: str
    period: cdk.Duration
    statistic: str


class EndpointMetricOptions(MetricOptions, total=False):
    """Options of a metric that SageMaker publishes per variant."""

    variant: str


def endpoint_metric(
    endpoint_name: str, metric_name: str, options: EndpointMetricOptions, *, space: Space, dimensions: Dimensions
) -> cloudwatch.Metric:
    """Return a metric of an endpoint.

    Args:
        metric_name: SageMaker's name of the metric.
        options: Label, period (default five minutes), statistic and variant.
        space: Whether the metric is in the namespace of calls or of instances.
        dimensions: Whether the metric is published per variant or per endpoint.
    """
    names = {"EndpointName": endpoint_name}
    if dimensions == "VARIANT":
        names["VariantName"] = options["variant"]
    return cloudwatch.Metric(
        namespace=_NAMESPACES[space],
        metric_name=metric_name,
        dimensions_map=names,
        label=options.get("label"),
        period=options.get("period", _FIVE_MINUTES),
        statistic=options["statistic"],
    )


class EndpointMetrics(Construct):
    """CloudWatch metrics of an endpoint.

    Each method accepts ``label``, ``period`` (default five minutes), ``statistic`` (default per metric) and ``variant`` (default
    the main variant).
    """

    def __init__(self, scope: Construct, id: str, *, endpoint_name: str, variant: str) -> None:
        super().__init__(scope, id)
        self._endpoint_name = endpoint_name
        self._variant = variant
        self._variants: tuple[str, ...] | None = None  # names that options may have; None if unknown

    def metric(self, metric_name: str, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return a metric that SageMaker publishes for the endpoint, by name.

        Args:
            metric_name: SageMaker's name of the metric.
            options: Label, period (default five minutes), statistic (default average) and variant.
        """
        return self._metric(metric_name, options)

    def metric_invocations(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls; an asynchronous endpoint does not publish it."""
        return self._metric("Invocations", options, cloudwatch.Stats.SUM)

    def metric_invocations_per_instance(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls per instance, the metric that target tracking follows."""
        return self._metric("InvocationsPerInstance", options, cloudwatch.Stats.SUM)

    def metric_invocation_4xx_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls with a 4xx response."""
        return self._metric("Invocation4XXErrors", options, cloudwatch.Stats.SUM)

    def metric_invocation_5xx_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls with a 5xx response."""
        return self._metric("Invocation5XXErrors", options, cloudwatch.Stats.SUM)

    def metric_invocation_model_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of calls without a 2xx response from the model; real-time endpoints only."""
        return self._metric("InvocationModelErrors", options, cloudwatch.Stats.SUM)

    def metric_concurrent_requests_per_model(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of concurrent requests, queued ones included; real-time endpoints only."""
        return self._metric("ConcurrentRequestsPerModel", options, cloudwatch.Stats.MAXIMUM)

    def metric_model_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the latency of the model container in microseconds."""
        return self._metric("ModelLatency", options, "p95")

    def metric_overhead_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the latency that SageMaker adds in microseconds, cold starts included."""
        return self._metric("OverheadLatency", options, "p95")

    def metric_mid_stream_errors(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of response streams that ended in an error."""
        return self._metric("MidStreamErrors", options, cloudwatch.Stats.SUM)

    def metric_first_chunk_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to the first chunk of a response stream in microseconds."""
        return self._metric("FirstChunkLatency", options, "p95")

    def metric_first_chunk_model_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the model's share of the time to the first chunk in microseconds."""
        return self._metric("FirstChunkModelLatency", options, "p95")

    def metric_first_chunk_overhead_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return SageMaker's share of the time to the first chunk in microseconds."""
        return self._metric("FirstChunkOverheadLatency", options, "p95")

    def metric_model_setup_time(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to launch new compute resources of a serverless endpoint in microseconds."""
        return self._metric("ModelSetupTime", options, "p95")

    def metric_serverless_concurrent_executions_utilization(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls as a fraction (0 to 1) of the maximum concurrency."""
        return self._metric("ServerlessConcurrentExecutionsUtilization", options, cloudwatch.Stats.MAXIMUM)

    def metric_serverless_provisioned_concurrency_executions(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls of a serverless endpoint with provisioned concurrency."""
        return self._metric("ServerlessProvisionedConcurrencyExecutions", options, cloudwatch.Stats.MAXIMUM)

    def metric_serverless_provisioned_concurrency_utilization(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return concurrent calls as a fraction (0 to 1) of the provisioned concurrency."""
        return self._metric("ServerlessProvisionedConcurrencyUtilization", options, cloudwatch.Stats.MAXIMUM)

    def metric_serverless_provisioned_concurrency_invocations(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return the number of calls that provisioned concurrency handled."""
        return self._metric("ServerlessProvisionedConcurrencyInvocations", options, cloudwatch.Stats.MAXIMUM)

    def metric_serverless_provisioned_concurrency_spillover_invocations(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return the number of calls beyond the provisioned concurrency."""
        return self._metric("ServerlessProvisionedConcurrencySpilloverInvocations", options, cloudwatch.Stats.MAXIMUM)

    def metric_approximate_backlog_size(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that are queued or in progress."""
        return self._metric("ApproximateBacklogSize", options, cloudwatch.Stats.MAXIMUM, dimensions="ENDPOINT")

    def metric_approximate_backlog_size_per_instance(
        self, **options: Unpack[EndpointMetricOptions]
    ) -> cloudwatch.Metric:
        """Return the number of queued requests per instance, the metric that target tracking follows."""
        return self._metric(
            "ApproximateBacklogSizePerInstance", options, cloudwatch.Stats.AVERAGE, dimensions="ENDPOINT"
        )

    def metric_approximate_age_of_oldest_request(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the age of the oldest request in the queue in seconds."""
        return self._metric("ApproximateAgeOfOldestRequest", options, cloudwatch.Stats.MAXIMUM, dimensions="ENDPOINT")

    def metric_has_backlog_without_capacity(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return 1 while requests are queued and no instance runs, else 0."""
        return self._metric("HasBacklogWithoutCapacity", options, cloudwatch.Stats.MAXIMUM, dimensions="ENDPOINT")

    def metric_invocations_processed(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that were processed."""
        return self._metric("InvocationsProcessed", options, cloudwatch.Stats.SUM)

    def metric_invocation_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of asynchronous requests that failed for any reason."""
        return self._metric("InvocationFailures", options, cloudwatch.Stats.SUM)

    def metric_expired_requests(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that expired in the queue."""
        return self._metric("ExpiredRequests", options, cloudwatch.Stats.SUM)

    def metric_request_download_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of requests that could not be read from S3."""
        return self._metric("RequestDownloadFailures", options, cloudwatch.Stats.SUM)

    def metric_response_upload_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of responses that could not be written to S3."""
        return self._metric("ResponseUploadFailures", options, cloudwatch.Stats.SUM)

    def metric_notification_failures(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the number of notifications that could not be published."""
        return self._metric("NotificationFailures", options, cloudwatch.Stats.SUM)

    def metric_request_download_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to read a request from S3 in microseconds."""
        return self._metric("RequestDownloadLatency", options, cloudwatch.Stats.AVERAGE)

    def metric_response_upload_latency(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time to write a response to S3 in microseconds."""
        return self._metric("ResponseUploadLatency", options, cloudwatch.Stats.AVERAGE)

    def metric_time_in_backlog(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time that a request spent in the queue, in the unit that AWS publishes (documented as microseconds)."""
        return self._metric("TimeInBacklog", options, cloudwatch.Stats.AVERAGE)

    def metric_total_processing_time(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return the time from receipt to completion of a request in milliseconds."""
        return self._metric("TotalProcessingTime", options, cloudwatch.Stats.AVERAGE)

    def metric_cpu_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return CPU utilization in percent, 100 per core."""
        return self._metric("CPUUtilization", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_cpu_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return CPU utilization in percent of all cores."""
        return self._metric("CPUUtilizationNormalized", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_memory_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return memory utilization in percent."""
        return self._metric("MemoryUtilization", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_disk_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return disk utilization in percent; above 75, SageMaker stops data capture."""
        return self._metric("DiskUtilization", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_gpu_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU utilization in percent, 100 per GPU."""
        return self._metric("GPUUtilization", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_gpu_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU utilization in percent of all GPUs."""
        return self._metric("GPUUtilizationNormalized", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_gpu_memory_utilization(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU memory utilization in percent, 100 per GPU."""
        return self._metric("GPUMemoryUtilization", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def metric_gpu_memory_utilization_normalized(self, **options: Unpack[EndpointMetricOptions]) -> cloudwatch.Metric:
        """Return GPU memory utilization in percent of all GPUs."""
        return self._metric("GPUMemoryUtilizationNormalized", options, cloudwatch.Stats.AVERAGE, space="INSTANCES")

    def _metric(
        self,
        name: str,
        options: EndpointMetricOptions,
        statistic: str = cloudwatch.Stats.AVERAGE,
        *,
        space: Space = "CALLS",
        dimensions: Dimensions = "VARIANT",
    ) -> cloudwatch.Metric:
        chosen: EndpointMetricOptions = {"statistic": statistic, "variant": self._variant, **options}
        return endpoint_metric(self._endpoint_name, name, chosen, space=space, dimensions=dimensions)


class ModelEndpointBase(EndpointMetrics):
    """An endpoint identified by name: base of ``ModelEndpoint`` and class of imported endpoints."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        endpoint_name: str,
        variant: str = VARIANT,
        business_unit: IBusinessUnit | None = None,
    ) -> None:
        super().__init__(scope, id, endpoint_name=endpoint_name, variant=variant)
        self._owner = business_unit

    @property
    def business_unit(self) -> IBusinessUnit:
        """Business unit that owns the endpoint.

        Raises:
            ValidationError: If the endpoint was imported without its unit.
        """
        if self._owner is None:
            problem = (
                f"endpoint {self._endpoint_name!r} was imported without its unit; give "
                "ModelEndpoint.from_endpoint_name(..., business_unit=...)"
            )
            raise ValidationError("NoBusinessUnit", [problem], self)
        return self._owner

    @property
    def endpoint_name(self) -> str:
        """Name of the endpoint."""
        return self._endpoint_name

    @property
    def endpoint_arn(self) -> str:
        """ARN of the endpoint."""
        return sagemaker_arn(self, "endpoint", self._endpoint_name)

    @property
    def variant(self) -> str:
        """Name of its main variant."""
        return self._variant

    def grant_invoke(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant invoking the endpoint.

        Args:
            grantee: Principal to grant access to.
        """
        return self._grant(grantee, "sagemaker:InvokeEndpoint")

    def grant_invoke_async(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant invoking an asynchronous endpoint, without access to the S3 objects of requests and responses.

        Args:
            grantee: Principal to grant access to.
        """
        return self._grant(grantee, "sagemaker:InvokeEndpointAsync")

    def _grant(self, grantee: iam.IGrantable, action: str) -> iam.Grant:
        return iam.Grant.add_to_principal(grantee=grantee, actions=[action], resource_arns=[self.endpoint_arn])
