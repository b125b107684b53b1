"""Removal of an endpoint and all resources that the Deploy machine created for it; already deleted ones count as removed.

SageMaker cannot delete an endpoint during an update. A rollout that bakes is therefore rolled back by its abort alarm, which takes
minutes, before the deletion: the deletion of a stack must not wait for a rollout to end.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, WaiterError

from mlops_runtime.lambda_protocol import is_missing
from mlops_runtime.rollout.execution_names import running_executions
from mlops_runtime.rollout.fleet_alarms import ABORT
from mlops_runtime.rollout.live_fleet import Made

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: statuses in which it cannot be deleted
_UNDER_WAY = ("Creating", "Updating", "SystemUpdating", "RollingBack")
# eight of the function's ten minutes; a stack deletion waits for it
_DELAY, _ATTEMPTS = 5, 96


class RemovalError(Exception):
    """A resource cannot be removed now; the message names the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Removal of one endpoint."""

    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    stepfunctions: "SFNClient"

    def stop_executions(self, machine_arn: str) -> list[str]:
        """Stop running executions, so that none recreates deleted resources, and return their ARNs."""
        running = running_executions(self.stepfunctions, machine_arn)
        for arn in running:
            self.stepfunctions.stop_execution(
                executionArn=arn, error="EndpointDeleted", cause="the stack deletes the endpoint"
            )
        return running

    def remove_endpoint(self, endpoint: str) -> None:
        """Delete the endpoint, its rehearsals, its tagged configs and models, and the alarms of new fleets.

        A running deployment is rolled back first.

        Raises:
            RemovalError: If the endpoint is still changing when the time is up.
        """
        made = Made(sagemaker=self.sagemaker, cloudwatch=self.cloudwatch, endpoint=endpoint)
        if self._status(endpoint) in _UNDER_WAY:
            for alarm in made.alarms():
                if alarm.endswith(f"-{ABORT}"):
                    self.cloudwatch.set_alarm_state(
                        AlarmName=alarm, StateValue="ALARM", StateReason="the stack deletes the endpoint"
                    )
        for name in (endpoint, *made.rehearsals()):
            self._delete_endpoint(name)
        for name in list(made.configs()):
            self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        for name in list(made.models()):
            self.sagemaker.delete_model(ModelName=name)
        self.remove_alarms(endpoint)

    def remove_alarms(self, endpoint: str) -> None:
        """Delete the alarms of new fleets, and the probation alarm."""
        made = Made(sagemaker=self.sagemaker, cloudwatch=self.cloudwatch, endpoint=endpoint)
        alarms = [*made.alarms(), *made.probation_alarms()]
        for start in range(0, len(alarms), 100):  # DeleteAlarms takes 100 at a time
            self.cloudwatch.delete_alarms(AlarmNames=alarms[start : start + 100])

    def _delete_endpoint(self, endpoint: str) -> None:
        status = self._status(endpoint)
        if status in _UNDER_WAY:
            status = self._at_rest(endpoint)
        if status in _UNDER_WAY:
            raise RemovalError(
                f"endpoint {endpoint} is still {status} after {_DELAY * _ATTEMPTS} s and cannot be deleted; its rollout is "
                "stopped, so delete the stack again when the endpoint is InService"
            )
        if status in (None, "Deleting"):
            return
        try:
            self.sagemaker.delete_endpoint(EndpointName=endpoint)
        except ClientError as error:
            if not is_missing(error):
                raise

    def _at_rest(self, endpoint: str) -> str | None:
        """Wait some minutes for the end of changes to the endpoint, and return its status."""
        with suppress(WaiterError):  # it failed, was deleted, or the time is up: the status shows which
            self.sagemaker.get_waiter("endpoint_in_service").wait(
                EndpointName=endpoint, WaiterConfig={"Delay": _DELAY, "MaxAttempts": _ATTEMPTS}
            )
        return self._status(endpoint)

    def _status(self, endpoint: str) -> str | None:
        try:
            return str(self.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])
        except ClientError as error:
            if not is_missing(error):
                raise
            return None
