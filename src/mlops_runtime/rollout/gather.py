"""Adapter of ``preflight``: reads what it decides on at the sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LockRow, ServingSpec
from mlops_runtime.rollout.preflight import Facts, live_pointer, verified_spec, wanted_package
from mlops_runtime.rollout.serving import Serving, read_description, read_serving, read_version
from mlops_runtime.rollout.table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where facts come from.

    Args:
        sagemaker: Client.
        cloudwatch: Client.
        s3: Client.
        table: The endpoint's row.
        group: Name of the model package group whose packages this endpoint serves.
        bucket: Bucket of the serving specs; a spec anywhere else is not read.
    """

    sagemaker: "SageMakerClient"
    cloudwatch: "CloudWatchClient"
    s3: "S3Client"
    table: RolloutTable
    group: str
    bucket: str

    def facts(self, request: DeployRequest) -> Facts:
        """Read everything that one request is decided on."""
        row = self.table.read()
        spec = self._spec(row)
        serving = read_serving(self.sagemaker, row.endpoint)
        return Facts(
            row=row,
            spec=spec,
            serving=serving,
            package=self._package(request, row, serving),
            alarm_states={} if spec is None else alarm_states(self.cloudwatch, spec.rollout.alarms),
            group=self.group,
        )

    def _spec(self, row: LockRow) -> ServingSpec | None:
        if row.desired is None:
            return None
        key = row.desired.removeprefix(f"s3://{self.bucket}/")
        return verified_spec(row.desired, self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def _package(self, request: DeployRequest, row: LockRow, serving: Serving | None) -> Mapping[str, Any] | None:
        live, previous = live_pointer(row), None
        if request.reason is DeployReason.ROLLBACK and live is not None and live.previous is not None:
            previous = read_version(self.sagemaker, live.previous)
        wanted = wanted_package(request, serving, previous)
        return None if wanted is None else read_description(self.sagemaker, wanted)


def alarm_states(cloudwatch: "CloudWatchClient", names: Sequence[str]) -> dict[str, str]:
    """Return the state of each of the named alarms that exist, metric or composite."""
    if not names:
        return {}
    answer = cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return {a["AlarmName"]: a["StateValue"] for a in [*answer["MetricAlarms"], *answer["CompositeAlarms"]]}
