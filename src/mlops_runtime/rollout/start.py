"""Adapter of ``guard``: reads again what an event says, and starts the Deploy machine."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.messages import Message
from mlops_runtime.rollout.gather import alarm_states
from mlops_runtime.rollout.guard import Asked, GuardSettings, IgnoredError, asked_by, check_probation
from mlops_runtime.rollout.machine import start_deploy
from mlops_runtime.rollout.table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployGuard:
    """What stands between events and the Deploy machine.

    Args:
        stepfunctions: Client.
        cloudwatch: Client.
        table: The endpoint's row.
        settings: What may start rollouts.
    """

    stepfunctions: "SFNClient"
    cloudwatch: "CloudWatchClient"
    table: RolloutTable
    settings: GuardSettings

    def handle(self, message: Message) -> str | None:
        """Start what a message asks for, once.

        Returns:
            The execution's ARN, or None.
        """
        try:
            asked = asked_by(message.body, settings=self.settings, now=message.sent)
            self._confirm(asked, message.sent)
        except IgnoredError as ignored:
            _log(message, {"decision": "IGNORED", "reason": str(ignored)[:1000]})
            return None
        arn = None
        if asked.request is not None:
            arn = start_deploy(self.stepfunctions, self.settings.machine_arn, asked.name, asked.request)
        if asked.died is not None:
            # after the start: a message that is cut off between the two comes again and finds the lock still held
            self.table.release(asked.died)
        _log(message, {"decision": "RELEASED" if arn is None else "STARTED", "execution": arn or asked.died})
        return arn

    def _confirm(self, asked: Asked, now: datetime) -> None:
        if asked.alarm is not None:
            state = alarm_states(self.cloudwatch, [asked.alarm]).get(asked.alarm)
            check_probation(asked, self.table.read(), state, now)
        if asked.died is not None:
            self._check_died(asked.died)

    def _check_died(self, execution: str) -> None:
        """Hold the end of an execution to its sources; one that came to its own end has released the lock itself."""
        if self.table.read().owner != execution:
            raise IgnoredError(f"{execution} holds no lock")
        if self.stepfunctions.describe_execution(executionArn=execution)["status"] == "RUNNING":
            raise IgnoredError(f"{execution} still runs")


def _log(message: Message, decision: Mapping[str, Any]) -> None:
    logger.info(json.dumps({"message": message.id, **decision}))
