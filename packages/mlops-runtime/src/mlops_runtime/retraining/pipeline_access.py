"""Access to a pipeline for its callers: the entries that its stack published, and clients that are created on first use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from mlops_runtime.contracts.unit_entries import PipelineEntry, UnitEntry

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, kw_only=True)
class PipelineAccess:
    """One pipeline and the clients of its services.

    Creating a client takes 10 to 100 ms, so each is created once, on first use.
    """

    client: Callable[[str], Any]  # returns the boto3 client of a service name
    unit: UnitEntry  # the unit's entry
    pipeline: PipelineEntry  # the pipeline's entry

    @cached_property
    def s3(self) -> "S3Client":
        """Client of S3."""
        return cast("S3Client", self.client("s3"))

    @cached_property
    def events(self) -> "EventBridgeClient":
        """Client of EventBridge."""
        return cast("EventBridgeClient", self.client("events"))

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Client of DynamoDB."""
        return cast("DynamoDBClient", self.client("dynamodb"))

    @cached_property
    def stepfunctions(self) -> "SFNClient":
        """Client of Step Functions."""
        return cast("SFNClient", self.client("stepfunctions"))

    @cached_property
    def sagemaker(self) -> "SageMakerClient":
        """Client of SageMaker."""
        return cast("SageMakerClient", self.client("sagemaker"))

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """Client of CloudWatch Logs."""
        return cast("CloudWatchLogsClient", self.client("logs"))
