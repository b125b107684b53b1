"""Maps events to executions of the Release machine: approvals, promotions, and a schedule that retries. Pure.

A registry with an endpoint in its stack releases the versions that the endpoint promoted; any other registry releases approved
versions. The content of an event is not trusted: it is read again from its source, here and by the machine.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.events import BusEvent, DetailType, event_source
from mlops_runtime.contracts.rollout import LivePointer, LockRow, Outcome
from mlops_runtime.rollout.deploy_guard import APPROVAL, OLDEST, IgnoredError, RequestedRollout, check_approval
from mlops_runtime.rollout.deploy_guard import GuardSettings as ApprovalSettings
from mlops_runtime.rollout.deploy_guard import requested_rollout as approval_by
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.event_origin import Origin, age_problem, read_event
from mlops_runtime.rollout.execution_names import short_hash

_SCHEDULER = ("aws.events", "Scheduled Event")


class Trigger(StrEnum):
    """Cause of a release."""

    APPROVED = "approved"
    PROMOTED = "promoted"
    RECHECK = "recheck"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSettings:
    """Settings of one registry's releases."""

    machine_arn: str  # the Release machine; events of other accounts and regions are ignored
    unit: str  # the business unit
    group: str  # the package group
    recheck_rule: str  # ARN of the scheduled rule
    endpoint: str | None = None  # the endpoint whose promotions are released. Default: approved versions are released

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ReleaseSettings":
        """Create them from the guard's environment variables; ``SERVED`` is set if an endpoint promotes.

        Raises:
            KeyError: If a variable is missing.
        """
        return cls(
            machine_arn=environ["RELEASE_MACHINE_ARN"],
            unit=environ["UNIT"],
            group=environ["MODEL_PACKAGE_GROUP"],
            recheck_rule=environ["RECHECK_RULE"],
            endpoint=environ["ENDPOINT"] if environ.get("SERVED") == "true" else None,
        )

    @property
    def approvals(self) -> ApprovalSettings:
        """The settings for events of approvals."""
        return ApprovalSettings(machine_arn=self.machine_arn, group=self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRelease:
    """A release that an event requests; ``id`` is the event's, ``approval`` the approval that it reports, if any."""

    trigger: Trigger
    id: str
    approval: RequestedRollout | None = None


def requested_release(body: str, *, settings: ReleaseSettings, now: datetime) -> RequestedRelease:
    """Return the release that an event requests.

    Raises:
        IgnoredError: If it is malformed, stale, of another source, account, group or endpoint, or starts no release here.
    """
    try:
        event = read_event(body)
    except ContractError as error:
        raise IgnoredError(str(error)) from error
    if problem := Origin(machine_arn=settings.machine_arn).problem(event):
        raise IgnoredError(problem)
    if problem := age_problem(event, now=now, oldest=OLDEST):
        raise IgnoredError(f"{problem}: too old, or in the future")
    kind = (event.source, event.detail_type)
    if kind == _SCHEDULER and settings.recheck_rule in (event.resources or ()):
        return RequestedRelease(trigger=Trigger.RECHECK, id=event.id)
    if settings.endpoint is None and kind == APPROVAL:
        approval = approval_by(body, settings=settings.approvals, now=now)
        return RequestedRelease(trigger=Trigger.APPROVED, id=event.id, approval=approval)
    if settings.endpoint is not None and kind == (event_source(settings.unit), DetailType.ROLLOUT_FINISHED):
        _check_promotion(event, settings.endpoint)
        return RequestedRelease(trigger=Trigger.PROMOTED, id=event.id)
    raise IgnoredError(f"{event.detail_type!r} of {event.source!r} releases nothing of {settings.group!r}")


def approved_name(request: RequestedRelease, described: Mapping[str, Any] | None, settings: ReleaseSettings) -> str:
    """Return the name of an approval's execution, after checking the approval in the registry.

    Raises:
        IgnoredError: If the package is not completed and approved in the group.
    """
    if request.approval is None:
        raise IgnoredError(f"event {request.id} names no package")
    return check_approval(request.approval, described, settings.approvals).name


def promoted_package(row: LockRow, *, now: datetime) -> LivePointer:
    """Return an endpoint's live version if it may be released: promoted, after its probation, and without a running rollout.

    Raises:
        IgnoredError: If it may not be released now; the message states the reason.
    """
    problem = standing_problem(row, now=now)
    live = live_pointer(row)
    if problem is not None or live is None:
        raise IgnoredError(problem or "nothing is live")
    return live


def standing_problem(row: LockRow, *, now: datetime, package_arn: str | None = None) -> str | None:
    """Return why an endpoint's live version may not be released now; None if it may.

    Args:
        row: The endpoint's row.
        now: Current time of the cloud.
        package_arn: The package to release. Default: the live one.
    """
    if row.owner is not None and (row.lock_until or 0) > now.timestamp():
        return f"{row.owner} is running on {row.endpoint}, so its live version may change"
    live = live_pointer(row)
    if live is None:
        return f"{row.endpoint} serves nothing yet"
    if package_arn is not None and live.model_package_arn != package_arn:
        return f"{row.endpoint} serves {live.model_package_arn} now: {package_arn} was rolled back or replaced"
    if live.probation_until is not None and now < datetime.fromisoformat(live.probation_until):
        return f"{live.model_package_arn} is on probation until {live.probation_until}"
    return None


def promoted_name(live: LivePointer) -> str:
    """Return the name of a promotion's execution, by package and rollout."""
    return f"promoted-{live.model_package_arn.rpartition('/')[2]}-{short_hash(f'{live.execution} {live.since}')}"


def recheck_name(request: RequestedRelease) -> str:
    """Return the name of a scheduled event's execution, the same for each delivery."""
    return f"recheck-{short_hash(request.id)}"


def _check_promotion(event: BusEvent, endpoint: str) -> None:
    subject, outcome = event.detail.get("subject"), event.detail.get("outcome")
    if subject != endpoint:
        raise IgnoredError(f"{subject!r} is not endpoint {endpoint!r}")
    if outcome != Outcome.PROMOTED:
        raise IgnoredError(f"the rollout of {endpoint} ended as {outcome!r}")
