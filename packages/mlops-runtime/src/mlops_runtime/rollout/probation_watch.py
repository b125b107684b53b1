"""Scheduled checks of a model on probation: golden requests are sent again until the probation ends.

Each execution of the Deploy machine enables the schedule, and this module disables it, so nothing runs or costs without a
probation. A model whose answers differ from those of its rehearsal is rolled back by a request that preflight checks against the
probation and the failed version.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LivePointer, LockRow, ServingSpec
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.execution_names import short_hash, start_once
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationWatch:
    """The probation watch of one endpoint."""

    table: RolloutTable  # the endpoint's row
    s3: "S3Client"
    events: "EventBridgeClient"
    cloudwatch: "CloudWatchClient"
    stepfunctions: "SFNClient"
    caller: GoldenCaller  # sends golden requests
    machine_arn: str  # the Deploy machine
    bucket: str  # bucket of the specs

    def look(self, now: datetime, *, has_time: Callable[[], bool] = lambda: True) -> str:
        """Run one check, and return its result in words.

        Args:
            now: Current time of the cloud.
            has_time: Returns whether there is time for another call. Default: always.

        Raises:
            GoldenCallError: If the endpoint could not be invoked, so that there is no verdict on its model.
        """
        row = self.table.read()
        if row.owner is not None:
            return f"{row.owner} holds the endpoint's lock: two fleets may respond"
        live = live_pointer(row)
        if live is None or live.probation_until is None or datetime.fromisoformat(live.probation_until) <= now:
            self._end()
            return "no probation is active: the schedule is disabled until the next one"
        golden = self._spec(live.spec_uri or str(row.desired)).rollout.golden
        if golden is None or live.rehearsed is None:
            return f"{live.config} was not rehearsed with golden requests: none are sent again"
        found = self.caller.handle(
            {
                "mode": "again",
                "endpoint": self.table.endpoint,
                "golden": to_dict(golden),
                "answers": live.rehearsed,
                "now": now.isoformat(),
                "execution": live.execution,
                # a SageMaker endpoint has no slots
                **({} if live.slot is None else {"slot": live.slot}),
            },
            has_time=has_time,
        )
        if found["passed"]:
            return f"{live.config} is on probation until {live.probation_until}: {found['reason']}"
        if _moved(row, self.table.read()):
            return "an execution took the endpoint's lock in the meantime: two fleets may have responded"
        return self._take_back(live, str(found["reason"]), now)

    def _spec(self, uri: str) -> ServingSpec:
        """Return the spec of the live version; the desired one if a recovery did not know it."""
        key = uri.removeprefix(f"s3://{self.bucket}/")
        return verified_spec(uri, self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def _take_back(self, live: LivePointer, reason: str, now: datetime) -> str:
        request = DeployRequest(
            reason=DeployReason.ROLLBACK,
            requested_by=REQUESTED_BY,
            requested_at=str(to_dict(now)),
            config=live.config,
            comment=f"golden requests, sent again during probation: {reason}",
        )
        # one request a day: a rollback that was not possible is requested again, and its record informs people in the meantime
        name = f"probation-{short_hash(f'{live.config} {now:%Y-%m-%d}')}"
        started = start_once(self.stepfunctions, self.machine_arn, name, request)
        return f"{live.config} is rolled back by {started}: {reason}"

    def _end(self) -> None:
        with Tolerated("ResourceNotFound", "ResourceNotFoundException"):
            self.cloudwatch.delete_alarms(AlarmNames=[probation_alarm(self.table.endpoint)])
        self.events.disable_rule(Name=probation_rule(self.table.endpoint))


def _moved(before: LockRow, after: LockRow) -> bool:
    return after.owner is not None or after.live != before.live
