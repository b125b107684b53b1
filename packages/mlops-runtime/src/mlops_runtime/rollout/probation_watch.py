"""What happens on schedule while a model is on probation: golden requests are asked again, and at its end the watch ends.

The schedule is enabled by each execution of the Deploy machine and disabled here, so nothing runs, and nothing costs, without a
probation. A model that no longer answers as before it had traffic is rolled back, by a request which preflight holds to the
probation and the version that failed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LivePointer, LockRow, ServingSpec
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.execution_names import short_hash, start_deploy
from mlops_runtime.rollout.golden_rehearsal import GoldenCaller
from mlops_runtime.rollout.preflight import verified_spec
from mlops_runtime.rollout.probation_alarm import probation_alarm, probation_rule
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

REQUESTED_BY = "golden requests of the probation"
_GONE = ("ResourceNotFound", "ResourceNotFoundException")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationWatch:
    """The watch of one endpoint.

    Args:
        table: The endpoint's row.
        s3: Client.
        events: Client.
        cloudwatch: Client.
        stepfunctions: Client.
        caller: Asks golden requests.
        machine_arn: The Deploy machine.
        bucket: Where specs are.
    """

    table: RolloutTable
    s3: "S3Client"
    events: "EventBridgeClient"
    cloudwatch: "CloudWatchClient"
    stepfunctions: "SFNClient"
    caller: GoldenCaller
    machine_arn: str
    bucket: str

    def look(self, now: datetime, *, has_time: Callable[[], bool] = lambda: True) -> str:
        """Ask once, and return what came of it.

        Args:
            now: The time in the cloud.
            has_time: Whether another call still fits. Default: always.

        Raises:
            GoldenCallError: If the endpoint could not be asked, which says nothing of its model.
        """
        row = self.table.read()
        if row.owner is not None:
            return f"{row.owner} holds the endpoint: two fleets may answer"
        live = live_pointer(row)
        if live is None or live.probation_until is None or datetime.fromisoformat(live.probation_until) <= now:
            self._end()
            return "no probation is active: nothing is asked until the next one"
        golden = self._spec(live.spec_uri or str(row.desired)).rollout.golden
        if golden is None or live.rehearsed is None:
            return f"{live.config} answered no golden requests before it had traffic: none are asked again"
        found = self.caller.handle(
            {
                "mode": "again",
                "endpoint": self.table.endpoint,
                "golden": to_dict(golden),
                "answers": live.rehearsed,
                "now": now.isoformat(),
                "execution": live.execution,
                # an endpoint of SageMaker has no slots
                **({} if live.slot is None else {"slot": live.slot}),
            },
            has_time=has_time,
        )
        if found["passed"]:
            return f"{live.config} is on probation until {live.probation_until}: {found['reason']}"
        if _moved(row, self.table.read()):
            return "an execution took the endpoint meanwhile: two fleets may have answered"
        return self._take_back(live, str(found["reason"]), now)

    def _spec(self, uri: str) -> ServingSpec:
        """Return the spec by which the version was made; where a recovery did not know it, the one that is desired."""
        key = uri.removeprefix(f"s3://{self.bucket}/")
        return verified_spec(uri, self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def _take_back(self, live: LivePointer, reason: str, now: datetime) -> str:
        request = DeployRequest(
            reason=DeployReason.ROLLBACK,
            requested_by=REQUESTED_BY,
            requested_at=str(to_dict(now)),
            config=live.config,
            comment=f"golden requests, asked again during probation: {reason}",
        )
        # one a day: what could not be rolled back is asked for again, and people have its record meanwhile
        name = f"probation-{short_hash(f'{live.config} {now:%Y-%m-%d}')}"
        started = start_deploy(self.stepfunctions, self.machine_arn, name, request)
        return f"{live.config} is rolled back by {started}: {reason}"

    def _end(self) -> None:
        try:
            self.cloudwatch.delete_alarms(AlarmNames=[probation_alarm(self.table.endpoint)])
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
        self.events.disable_rule(Name=probation_rule(self.table.endpoint))


def _moved(before: LockRow, after: LockRow) -> bool:
    return after.owner is not None or after.live != before.live
