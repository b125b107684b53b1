"""Maps events to executions of the Deploy machine: approvals, alarms during probation, dead executions, stack deployments.

The content of an event is not trusted: it is read again from its source, here and in preflight. Account and region must be the
machine's own, and an event that is too old, or too far in the future, is ignored.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html,
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html and
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/event-detail-stack-status-change.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.contracts import ContractError, from_json, to_dict
from mlops_runtime.contracts.events import BusEvent
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, DiedExecution, LockRow
from mlops_runtime.iso_time import with_offset
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.event_origin import Origin, age_problem, read_event
from mlops_runtime.rollout.execution_names import short_hash

OLDEST = timedelta(minutes=15)

APPROVAL = ("aws.sagemaker", "SageMaker Model Package State Change")
ALARM = ("aws.cloudwatch", "CloudWatch Alarm State Change")
EXECUTION = ("aws.states", "Step Functions Execution Status Change")
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html: every end but SUCCEEDED
DIED = ("ABORTED", "FAILED", "TIMED_OUT")
STACK = ("aws.cloudformation", "CloudFormation Stack Status Change")
# statuses after which the resources that a stack changed match its template
DEPLOYED = ("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_RECOVERY = "recover-"
# claim: approval-event-has-the-packages-time
_SAME_CHANGE = timedelta(seconds=5)


class IgnoredError(Exception):
    """An event that starts no execution; the message states the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Sources of events that may start rollouts of one endpoint."""

    machine_arn: str  # the Deploy machine; events of other accounts and regions are ignored
    group: str  # model package group whose approvals count
    alarms: tuple[str, ...] = ()  # names of the alarms that roll back during probation
    stack: str | None = None  # ARN of the stack whose deployments may change the live version without a run


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRollout:
    """The execution that an event requests: its name and input, and the conditions to confirm at the source.

    ``alarm`` must be in ALARM during the probation of the live version. ``died`` is an execution that must have ended and still
    hold the lock, which passes to the recovery; without a ``request``, the lock is only released. ``approved`` is a package that
    must be approved in the registry, with the time of its event.
    """

    name: str
    request: DeployRequest | None
    alarm: str | None = None
    died: str | None = None
    approved: tuple[str, datetime] | None = None


def requested_rollout(body: str, *, settings: GuardSettings, now: datetime) -> RequestedRollout:
    """Return the execution that an event requests.

    Raises:
        IgnoredError: If the event is malformed, stale, from another source, account or group, or an irrelevant change.
    """
    try:
        event = read_event(body)
    except ContractError as error:
        raise IgnoredError(str(error)) from error
    kinds = {APPROVAL: _approval, ALARM: _alarm, EXECUTION: _execution, STACK: _stack}
    read = kinds.get((event.source, event.detail_type))
    if read is None:
        raise IgnoredError(f"{event.detail_type!r} of {event.source!r} starts no rollout")
    if problem := Origin(machine_arn=settings.machine_arn).problem(event):
        raise IgnoredError(problem)
    if problem := age_problem(event, now=now, oldest=OLDEST):
        raise IgnoredError(f"{problem}: too old, or in the future")
    return read(event, settings)


def check_probation(request: RequestedRollout, row: LockRow, state: str | None, now: datetime) -> None:
    """Check an alarm's request against its sources.

    Args:
        request: The requested execution.
        row: The endpoint's row.
        state: Current state of the alarm; None if it does not exist.
        now: When the queue received the message.

    Raises:
        IgnoredError: If no probation is active, or the alarm is no longer in ALARM.
    """
    live = live_pointer(row)
    if live is None or live.probation_until is None or datetime.fromisoformat(live.probation_until) <= now:
        raise IgnoredError(f"{request.alarm} fired, but no probation is active")
    if state != "ALARM":
        raise IgnoredError(f"{request.alarm} is no longer in ALARM: it is {'deleted' if state is None else state}")


def recovery(request: RequestedRollout, described: Mapping[str, Any]) -> DeployRequest | None:
    """Return the request of a recovery, with the dead execution's reason, requester and package."""
    if request.request is None:
        return None
    try:
        was = from_json(DeployRequest, described["input"])
    except ContractError:
        was = None  # started by hand with another input
    died = DiedExecution(
        execution=str(described["executionArn"]),
        status=str(described["status"]),
        started=str(to_dict(described["startDate"])),
        reason="unknown" if was is None else was.reason.value,
        requested_by="unknown" if was is None else was.requested_by,
        model_package_arn=None if was is None else was.model_package_arn,
    )
    return replace(request.request, died=died)


def _approval(event: BusEvent, settings: GuardSettings) -> RequestedRollout:
    """Only changes of the approval status count: the recorder updates packages too, which sends events."""
    region, account = settings.machine_arn.split(":")[3:5]
    detail, arn = event.detail, event.detail.get("ModelPackageArn")
    ours = re.compile(
        rf"arn:aws[a-z-]*:sagemaker:{region}:{account}:model-package/{re.escape(settings.group)}/([1-9]\d{{0,8}})",
        re.ASCII,
    )
    if not isinstance(arn, str) or not ours.fullmatch(arn):
        raise IgnoredError(f"{arn!r} is not a model package of group {settings.group!r}")
    if detail.get("ModelApprovalStatus") != "Approved":
        raise IgnoredError(f"{arn} is {detail.get('ModelApprovalStatus')!r}")
    updated = detail.get("UpdatedModelPackageFields")
    if isinstance(updated, list) and updated and "ModelApprovalStatus" not in updated:
        raise IgnoredError(f"{arn} was updated in {', '.join(map(str, updated))} only")
    request = DeployRequest(
        reason=DeployReason.APPROVAL,
        requested_by=f"event {event.id}",
        requested_at=str(to_dict(event.time)),
        model_package_arn=arn,
    )
    return RequestedRollout(name=_approval_name(arn, event.time), request=request, approved=(arn, event.time))


def _approval_name(arn: str, at: datetime) -> str:
    """Return the name of an approval's execution, by package and second: one approval may have several event ids."""
    moment = with_offset(at).astimezone(UTC)
    return f"approval-{arn.rpartition('/')[2]}-{short_hash(f'{arn} {moment:%Y-%m-%dT%H:%M:%SZ}')}"


def check_approval(
    request: RequestedRollout, described: Mapping[str, Any] | None, settings: GuardSettings
) -> RequestedRollout:
    """Check an approval's request against the registry, and name its execution after the registry's time of the change.

    Two events of one approval may be seconds apart and have different ids. If the package was not changed since, its own
    modification time names the execution, so that both events start the same one.

    Args:
        request: The requested execution.
        described: Response of DescribeModelPackage; None if the package does not exist.
        settings: Sources that may start rollouts.

    Raises:
        IgnoredError: If the package is not completed and approved in the group.
    """
    if request.approved is None:
        return request
    arn, at = request.approved
    if described is None:
        raise IgnoredError(f"{arn} is not in the registry")
    wanted = {
        "ModelPackageArn": arn,
        "ModelPackageGroupName": settings.group,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
    }
    for name, value in wanted.items():
        if described.get(name) != value:
            raise IgnoredError(f"{arn} has {name} {described.get(name)!r} in the registry, expected {value!r}")
    changed = described.get("LastModifiedTime")
    at = with_offset(at)
    is_same = isinstance(changed, datetime) and abs(changed - at) <= _SAME_CHANGE
    return replace(request, name=_approval_name(arn, changed if is_same and isinstance(changed, datetime) else at))


def _alarm(event: BusEvent, settings: GuardSettings) -> RequestedRollout:
    name, state = event.detail.get("alarmName"), event.detail.get("state")
    value = state.get("value") if isinstance(state, Mapping) else None
    if not isinstance(name, str) or name not in settings.alarms:
        raise IgnoredError(f"alarm {name!r} is not one of {', '.join(settings.alarms) or 'none'}")
    if problem := Origin(machine_arn=settings.machine_arn).alarm_problem(event, name):
        raise IgnoredError(problem)
    if value != "ALARM":
        raise IgnoredError(f"alarm {name} changed to {value!r}")
    request = DeployRequest(
        reason=DeployReason.ROLLBACK, requested_by=f"alarm {name}", requested_at=str(to_dict(event.time)), alarm=name
    )
    return RequestedRollout(name=f"probation-{short_hash(event.id)}", request=request, alarm=name)


def _execution(event: BusEvent, settings: GuardSettings) -> RequestedRollout:
    """A stopped execution still holds the lock and leaves its resources, which its recovery takes over."""
    arn, status = event.detail.get("executionArn"), event.detail.get("status")
    name = Origin(machine_arn=settings.machine_arn).execution_name(arn)
    if not isinstance(arn, str) or name is None:
        raise IgnoredError(f"{arn!r} is not an execution of {settings.machine_arn}")
    if status not in DIED:
        raise IgnoredError(f"{arn} is {status!r}")
    if name.startswith(_RECOVERY):  # the death of a recovery starts no further recovery
        return RequestedRollout(name=name, request=None, died=arn)
    request = DeployRequest(
        reason=DeployReason.SPEC, requested_by=f"end of {arn} ({status})", requested_at=str(to_dict(event.time))
    )
    return RequestedRollout(name=f"{_RECOVERY}{short_hash(arn)}", request=request, died=arn)


def _stack(event: BusEvent, settings: GuardSettings) -> RequestedRollout:
    """If a deployment reset the live version to the template's, the execution corrects it; otherwise it reports no change."""
    arn, details = event.detail.get("stack-id"), event.detail.get("status-details")
    status = details.get("status") if isinstance(details, Mapping) else None
    if settings.stack is None or arn != settings.stack:
        raise IgnoredError(f"stack {arn!r} is not {settings.stack!r}")
    if status not in DEPLOYED:
        raise IgnoredError(f"{arn} is {status!r}")
    request = DeployRequest(
        reason=DeployReason.SPEC, requested_by=f"deployment of {arn} ({status})", requested_at=str(to_dict(event.time))
    )
    return RequestedRollout(name=f"deployed-{short_hash(event.id)}", request=request)
