"""Adapter of ``release_guard``: confirms an event at its source, and starts the Release machine."""

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.release import ReleaseRequest
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.promotion.release_guard import (
    ReleaseSettings,
    RequestedRelease,
    Trigger,
    approved_name,
    promoted_name,
    promoted_package,
    recheck_name,
    requested_release,
)
from mlops_runtime.rollout.deploy_guard import IgnoredError
from mlops_runtime.rollout.execution_names import start_once
from mlops_runtime.rollout.live_fleet import read_description
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseGuard:
    """Starts the Release machine on confirmed events."""

    stepfunctions: "SFNClient"
    sagemaker: "SageMakerClient"
    table: RolloutTable  # row of the endpoint, if one promotes
    automation: Automation  # the unit's freeze calendar and pause
    settings: ReleaseSettings  # settings of the registry's releases

    def handle(self, message: Message) -> str | None:
        """Start the execution that a message requests, once. While automatic work is paused none starts; the schedule retries.

        Returns:
            The execution's ARN; None if none was started.
        """
        try:
            request = requested_release(message.body, settings=self.settings, now=message.sent)
            package, name = self._found(request, message.sent)
        except IgnoredError as ignored:
            _log(message, "IGNORED", str(ignored)[:1000])
            return None
        release = ReleaseRequest(
            package_arn=package, requested_by=f"{request.trigger} {request.id}", requested_at=str(to_dict(message.sent))
        )
        arn = start_once(self.stepfunctions, self.settings.machine_arn, name, release)
        _log(message, "STARTED", arn)
        return arn

    def _found(self, request: RequestedRelease, now: datetime) -> tuple[str, str]:
        """Return the package to release and the name of its execution, after checking their sources."""
        if rests := self.automation.rests(now):
            raise IgnoredError(f"nothing is released: {rests}")
        if self.settings.endpoint is not None:
            live = promoted_package(self.table.read(), now=now)
            name = promoted_name(live) if request.trigger is Trigger.PROMOTED else recheck_name(request)
            return live.model_package_arn, name
        if request.approval is not None and request.approval.approved is not None:
            arn = request.approval.approved[0]
            return arn, approved_name(request, read_description(self.sagemaker, arn), self.settings)
        return self._newest(), recheck_name(request)

    def _newest(self) -> str:
        """Return the newest approved package: older ones were released at their approval, or are obsolete."""
        answer = self.sagemaker.list_model_packages(
            ModelPackageGroupName=self.settings.group,
            ModelPackageType="Versioned",
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=1,
        )
        found = [summary["ModelPackageArn"] for summary in answer["ModelPackageSummaryList"]]
        if not found:
            raise IgnoredError(f"no package of {self.settings.group!r} is approved")
        return found[0]


def _log(message: Message, decision: str, what: str) -> None:
    logger.info(json.dumps({"message": message.id, "decision": decision, "what": what}))
