"""Removes an endpoint and everything that the Deploy machine made for it; what is gone already is success."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.rollout.render import ENDPOINT_TAG, alarm_prefix
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
        """Delete the endpoint, its configs and models that carry our tag, and the alarms of new fleets.

        Raises:
            RemovalError: If a deployment is under way that SageMaker does not let anyone delete.
        """
        self._delete_endpoint(endpoint)
        version = re.compile(re.escape(endpoint) + "-[0-9a-f]{8}")
        config_pages = self.sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=endpoint)
        configs = [
            (c["EndpointConfigName"], c["EndpointConfigArn"]) for p in config_pages for c in p["EndpointConfigs"]
        ]
        for name, arn in configs:
            if version.fullmatch(name) and self._is_ours(arn, endpoint):
                self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        model_pages = self.sagemaker.get_paginator("list_models").paginate(NameContains=endpoint)
        models = [(m["ModelName"], m["ModelArn"]) for p in model_pages for m in p["Models"]]
        for name, arn in models:
            if version.fullmatch(name) and self._is_ours(arn, endpoint):
                self.sagemaker.delete_model(ModelName=name)
        alarm_pages = self.cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=alarm_prefix(endpoint))
        alarms = [a["AlarmName"] for p in alarm_pages for a in p["MetricAlarms"]]
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

    def _is_ours(self, arn: str, endpoint: str) -> bool:
        tags = self.sagemaker.list_tags(ResourceArn=arn)["Tags"]
        return {"Key": ENDPOINT_TAG, "Value": endpoint} in tags
