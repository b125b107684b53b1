"""Adapter of ``deploy_guard``: confirms an event at its source, and starts the Deploy machine."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.rollout import DeployRequest
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.rollout.deploy_guard import (
    GuardSettings,
    IgnoredError,
    RequestedRollout,
    check_approval,
    check_probation,
    recovery,
    requested_rollout,
)
from mlops_runtime.rollout.execution_names import execution_arn, start_once
from mlops_runtime.rollout.live_fleet import read_description
from mlops_runtime.rollout.preflight_facts import alarm_states
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployGuard:
    """Starts the Deploy machine on confirmed events."""

    stepfunctions: "SFNClient"
    cloudwatch: "CloudWatchClient"
    sagemaker: "SageMakerClient"
    table: RolloutTable  # the endpoint's row
    settings: GuardSettings  # sources of events that may start rollouts

    def handle(self, message: Message) -> str | None:
        """Start the execution that a message requests, once; return the execution's ARN; None if none was started."""
        try:
            requested = requested_rollout(message.body, settings=self.settings, now=message.sent)
            if requested.approved is not None:
                requested = check_approval(
                    requested, read_description(self.sagemaker, requested.approved[0]), self.settings
                )
            request = self._confirmed(requested, message.sent)
        except IgnoredError as ignored:
            _log(message, {"decision": "IGNORED", "reason": str(ignored)[:1000]})
            return None
        arn = None
        if request is not None:
            arn = start_once(self.stepfunctions, self.settings.machine_arn, requested.name, request)
        if requested.died is not None:
            # after the start: if the function is interrupted in between, the message is redelivered and the lock is still held
            self._pass_on(requested.died, arn)
        _log(message, {"decision": "RELEASED" if arn is None else "STARTED", "execution": arn or requested.died})
        return arn

    def _confirmed(self, request: RequestedRollout, now: datetime) -> DeployRequest | None:
        """Return the request after confirming its reason at the source."""
        if request.alarm is not None:
            state = alarm_states(self.cloudwatch, [request.alarm]).get(request.alarm)
            check_probation(request, self.table.read(), state, now)
        if request.died is not None:
            return recovery(request, self._described(request, request.died))
        return request.request

    def _described(self, request: RequestedRollout, died: str) -> Mapping[str, Any]:
        """Return the description of an execution that ended without releasing its lock."""
        heir = execution_arn(self.settings.machine_arn, request.name)
        if self.table.read().owner not in (died, heir):
            raise IgnoredError(f"{died} holds no lock")
        described = self.stepfunctions.describe_execution(executionArn=died)
        if described["status"] == "RUNNING":
            raise IgnoredError(f"{died} still runs")
        return described

    def _pass_on(self, died: str, heir: str | None) -> None:
        """Pass the lock from a dead execution to its recovery, so that no other execution builds on an unevaluated version."""
        if heir is None:
            self.table.release(died)
        else:
            self.table.hand_over(died, heir)


def _log(message: Message, decision: Mapping[str, Any]) -> None:
    logger.info(json.dumps({"message": message.id, **decision}))
