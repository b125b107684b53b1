"""Removes an endpoint and everything that the Deploy machine made for it; what is gone already is success."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.rollout.leftovers import Made
from mlops_runtime.sagemaker_errors import is_missing

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: what is under way cannot be deleted
_UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack")


class RemovalError(Exception):
    """Something cannot be removed now; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Removal of one endpoint.

    Args:
        sagemaker: Client.
        cloudwatch: Client.
        stepfunctions: Client.
    """

    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    stepfunctions: "SFNClient"

    def stop_executions(self, machine_arn: str) -> None:
        """Stop running executions, so that none makes anew what is being deleted."""
        pages = self.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=machine_arn, statusFilter="RUNNING"
        )
        for arn in [execution["executionArn"] for page in pages for execution in page["executions"]]:
            self.stepfunctions.stop_execution(
                executionArn=arn, error="EndpointDeleted", cause="the stack deletes the endpoint"
            )

    def remove_endpoint(self, endpoint: str) -> None:
        """Delete the endpoint, its rehearsals, configs and models that carry our tag, and the alarms of new fleets.

        Raises:
            RemovalError: If a deployment is under way that SageMaker does not let anyone delete.
        """
        self._delete_endpoint(endpoint)
        made = Made(sagemaker=self.sagemaker, cloudwatch=self.cloudwatch, endpoint=endpoint)
        for name in list(made.rehearsals()):
            self._delete_endpoint(name)
        for name in list(made.configs()):
            self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        for name in list(made.models()):
            self.sagemaker.delete_model(ModelName=name)
        alarms = list(made.alarms())
        for start in range(0, len(alarms), 100):  # DeleteAlarms takes 100 at a time
            self.cloudwatch.delete_alarms(AlarmNames=alarms[start : start + 100])

    def _delete_endpoint(self, endpoint: str) -> None:
        try:
            status = self.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]
            if status in _UNDER_WAY:
                raise RemovalError(
                    f"endpoint {endpoint} is {status}, and SageMaker deletes none that is; its rollout is stopped, "
                    "so delete the stack again when the endpoint is InService"
                )
            if status != "Deleting":
                self.sagemaker.delete_endpoint(EndpointName=endpoint)
        except ClientError as error:
            if not is_missing(error):
                raise
