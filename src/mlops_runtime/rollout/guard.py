"""Approval events to executions of the Deploy machine. What an event says is not believed: preflight reads the package again.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import ContractError, from_json, to_dict
from mlops_runtime.contracts.events import BusEvent
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest
from mlops_runtime.messages import Message
from mlops_runtime.rollout.machine import short_hash, start_deploy

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)

DETAIL_TYPE = "SageMaker Model Package State Change"


class IgnoredError(Exception):
    """An event that starts nothing; the message says why."""


def request_from(body: str, *, machine_arn: str, group: str) -> tuple[str, DeployRequest]:
    """Return execution name and request of an approval event.

    Raises:
        IgnoredError: If the event is not an approval of a package of the group: malformed, of another source, account or group,
            or an update of a package that did not touch its approval (recording would otherwise start the machine again).
    """
    try:
        event = from_json(BusEvent, body)
    except ContractError as error:
        raise IgnoredError(str(error)) from error
    region, account = machine_arn.split(":")[3:5]
    detail, arn = event.detail, event.detail.get("ModelPackageArn")
    ours = re.compile(
        rf"arn:aws[a-z-]*:sagemaker:{region}:{account}:model-package/{re.escape(group)}/(\d{{1,9}})", re.ASCII
    )
    if (event.source, event.detail_type) != ("aws.sagemaker", DETAIL_TYPE):
        raise IgnoredError(f"{event.detail_type!r} of {event.source!r} is not a change of a model package")
    if event.account != account:
        raise IgnoredError(f"account {event.account!r} is not {account!r}")
    if not isinstance(arn, str) or not (version := ours.fullmatch(arn)):
        raise IgnoredError(f"{arn!r} is not a model package of group {group!r}")
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
    return f"approval-{version[1]}-{short_hash(event.id)}", request


def guard(message: Message, *, stepfunctions: "SFNClient", machine_arn: str, group: str) -> str | None:
    """Start the Deploy machine for an approval; anything else is logged and dropped.

    Returns:
        The execution's ARN, or None.
    """
    try:
        name, request = request_from(message.body, machine_arn=machine_arn, group=group)
    except IgnoredError as ignored:
        _log(message, {"decision": "IGNORED", "reason": str(ignored)[:1000]})
        return None
    arn = start_deploy(stepfunctions, machine_arn, name, request)
    _log(message, {"decision": "STARTED", "execution": arn})
    return arn


def _log(message: Message, decision: Mapping[str, Any]) -> None:
    logger.info(json.dumps({"message": message.id, **decision}))
