"""Events to executions of the Deploy machine: approvals, alarms during probation, executions that died, stacks that were deployed.

What an event says is not believed: it is read again at its source, here and in preflight. Account and region are the machine's own,
and an event that is old, or of a time to come, starts nothing.

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
from mlops_runtime.rollout.deploy_plan import live_pointer
from mlops_runtime.rollout.event_origin import LONGEST_BODY, Origin
from mlops_runtime.rollout.execution_names import short_hash

OLDEST = timedelta(minutes=15)
NEWEST = timedelta(minutes=5)  # clocks of senders may be ahead

APPROVAL = ("aws.sagemaker", "SageMaker Model Package State Change")
ALARM = ("aws.cloudwatch", "CloudWatch Alarm State Change")
EXECUTION = ("aws.states", "Step Functions Execution Status Change")
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html: ends that are not of its own making
DIED = ("ABORTED", "FAILED", "TIMED_OUT")
STACK = ("aws.cloudformation", "CloudFormation Stack Status Change")
# after which a stack's resources are as its template says, where it changed them
DEPLOYED = ("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_RECOVERY = "recover-"
# claim: approval-event-has-the-packages-time
_SAME_CHANGE = timedelta(seconds=5)


class IgnoredError(Exception):
    """An event that starts nothing; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """What may start rollouts of one endpoint.

    Args:
        machine_arn: The Deploy machine; its account and region are the only ones that events may be about.
        group: Model package group whose approvals count.
        alarms: Names of the alarms that roll back during probation. Default: none.
        stack: ARN of the stack whose deployments may change the live version without a run. Default: none.
    """

    machine_arn: str
    group: str
    alarms: tuple[str, ...] = ()
    stack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an event asks for: an execution's name and input, and what must still hold at its source.

    ``alarm`` must be in ALARM during the probation of the live version; ``died`` is an execution that must have ended and still
    hold the lock, which passes on to the recovery. A request of None only releases it. ``approved`` is a package that the registry
    must call approved, at the time of its event.
    """

    name: str
    request: DeployRequest | None
    alarm: str | None = None
    died: str | None = None
    approved: tuple[str, datetime] | None = None


def asked_by(body: str, *, settings: GuardSettings, now: datetime) -> Asked:
    """Return what an event asks for.

    Raises:
        IgnoredError: If it is malformed, stale, of another source, account or group, or no change that counts.
    """
    if len(body) > LONGEST_BODY:
        raise IgnoredError(f"a message must have at most {LONGEST_BODY} characters, got {len(body)}")
    try:
        event = from_json(BusEvent, body)
    except ContractError as error:
        raise IgnoredError(str(error)) from error
    kinds = {APPROVAL: _approval, ALARM: _alarm, EXECUTION: _execution, STACK: _stack}
    read = kinds.get((event.source, event.detail_type))
    if read is None:
        raise IgnoredError(f"{event.detail_type!r} of {event.source!r} starts no rollout")
    if problem := Origin(machine_arn=settings.machine_arn).problem(event):
        raise IgnoredError(problem)
    at = event.time if event.time.tzinfo is not None else event.time.replace(tzinfo=UTC)
    if not -NEWEST <= now - at <= OLDEST:
        raise IgnoredError(f"event of {event.time.isoformat()} came at {now.isoformat()}")
    return read(event, settings)


def check_probation(asked: Asked, row: LockRow, state: str | None, now: datetime) -> None:
    """Hold an alarm's request to its sources.

    Args:
        asked: What the event asked for.
        row: The endpoint's row.
        state: State of the alarm now; None if there is no such alarm.
        now: When the queue took the message.

    Raises:
        IgnoredError: If no probation is active, or the alarm is no longer in ALARM.
    """
    live = live_pointer(row)
    if live is None or live.probation_until is None or datetime.fromisoformat(live.probation_until) <= now:
        raise IgnoredError(f"{asked.alarm} fired, but no probation is active")
    if state != "ALARM":
        raise IgnoredError(f"{asked.alarm} is no longer in ALARM: it is {'gone' if state is None else state}")


def recovery(asked: Asked, described: Mapping[str, Any]) -> DeployRequest | None:
    """Return the request of a recovery, with what the execution that died was about."""
    if asked.request is None:
        return None
    try:
        was = from_json(DeployRequest, described["input"])
    except ContractError:
        was = None  # started by hand with something else
    died = DiedExecution(
        execution=str(described["executionArn"]),
        status=str(described["status"]),
        started=str(to_dict(described["startDate"])),
        reason="unknown" if was is None else was.reason.value,
        requested_by="unknown" if was is None else was.requested_by,
        model_package_arn=None if was is None else was.model_package_arn,
    )
    return replace(asked.request, died=died)


def _approval(event: BusEvent, settings: GuardSettings) -> Asked:
    """Recording writes to a package, which is an event again: only changes of the approval count."""
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
    return Asked(name=_approval_name(arn, event.time), request=request, approved=(arn, event.time))


def _approval_name(arn: str, at: datetime) -> str:
    """Return the name of an approval's execution: by package and second, since its events may have several ids."""
    moment = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
    return f"approval-{arn.rpartition('/')[2]}-{short_hash(f'{arn} {moment:%Y-%m-%dT%H:%M:%SZ}')}"


def check_approval(asked: Asked, described: Mapping[str, Any] | None, settings: GuardSettings) -> Asked:
    """Hold an approval's request to the registry, and return it named by the change that the registry knows.

    Two events of one approval may be seconds apart and have two ids. Where the package was not changed since, its own time names
    the execution, so that both start one.

    Args:
        asked: What the event asked for.
        described: What DescribeModelPackage returns; None if there is no such package.
        settings: What may start rollouts.

    Raises:
        IgnoredError: If the registry does not have the package in the group, complete and approved.
    """
    if asked.approved is None:
        return asked
    arn, at = asked.approved
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
            raise IgnoredError(f"{arn} has {name} {described.get(name)!r} in the registry, wanted is {value!r}")
    changed = described.get("LastModifiedTime")
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    is_same = isinstance(changed, datetime) and abs(changed - at) <= _SAME_CHANGE
    return replace(asked, name=_approval_name(arn, changed if is_same and isinstance(changed, datetime) else at))


def _alarm(event: BusEvent, settings: GuardSettings) -> Asked:
    name, state = event.detail.get("alarmName"), event.detail.get("state")
    value = state.get("value") if isinstance(state, Mapping) else None
    if not isinstance(name, str) or name not in settings.alarms:
        raise IgnoredError(f"alarm {name!r} is not one of {', '.join(settings.alarms) or 'none'}")
    if problem := Origin(machine_arn=settings.machine_arn).alarm_problem(event, name):
        raise IgnoredError(problem)
    if value != "ALARM":
        raise IgnoredError(f"alarm {name} went to {value!r}")
    request = DeployRequest(
        reason=DeployReason.ROLLBACK,
        requested_by=f"alarm {name}",
        requested_at=str(to_dict(event.time)),
        alarm=name,
    )
    return Asked(name=f"probation-{short_hash(event.id)}", request=request, alarm=name)


def _execution(event: BusEvent, settings: GuardSettings) -> Asked:
    """A stopped execution leaves its lock, and its resources, to the next one."""
    arn, status = event.detail.get("executionArn"), event.detail.get("status")
    name = Origin(machine_arn=settings.machine_arn).execution_name(arn)
    if not isinstance(arn, str) or name is None:
        raise IgnoredError(f"{arn!r} is not an execution of {settings.machine_arn}")
    if status not in DIED:
        raise IgnoredError(f"{arn} is {status!r}")
    if name.startswith(_RECOVERY):  # a recovery that dies is not recovered for ever
        return Asked(name=name, request=None, died=arn)
    request = DeployRequest(
        reason=DeployReason.SPEC,
        requested_by=f"end of {arn} ({status})",
        requested_at=str(to_dict(event.time)),
    )
    return Asked(name=f"{_RECOVERY}{short_hash(arn)}", request=request, died=arn)


def _stack(event: BusEvent, settings: GuardSettings) -> Asked:
    """If a deployment reset the live version to the template, the run corrects it; else it reports no change."""
    arn, details = event.detail.get("stack-id"), event.detail.get("status-details")
    status = details.get("status") if isinstance(details, Mapping) else None
    if settings.stack is None or arn != settings.stack:
        raise IgnoredError(f"stack {arn!r} is not {settings.stack!r}")
    if status not in DEPLOYED:
        raise IgnoredError(f"{arn} is {status!r}")
    request = DeployRequest(
        reason=DeployReason.SPEC,
        requested_by=f"deployment of {arn} ({status})",
        requested_at=str(to_dict(event.time)),
    )
    return Asked(name=f"deployed-{short_hash(event.id)}", request=request)
