"""``AWS::Oam::Sink`` and ``AWS::Oam::Link``: sharing of metrics, logs and traces between accounts.

Links have no effect: metrics and logs stay in their account. Requests that AWS rejects are rejected.

See: https://docs.aws.amazon.com/OAM/latest/APIReference/API_CreateLink.html
"""

import uuid
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import provisioners

from mlops_local.iam.owners import owner, scope_of
from mlops_local.saved_state import kept_stores
from mlops_local.stacks.resource_types import check_schema

Properties = dict[str, Any]
SINK, LINK = "AWS::Oam::Sink", "AWS::Oam::Link"
_MOST_LINKS = 5  # per source account
# properties by ARN
_SINKS: dict[str, Properties] = kept_stores.keep(__name__, "_SINKS", {})
_LINKS: dict[str, Properties] = kept_stores.keep(__name__, "_LINKS", {})


class LinkError(ValueError):
    """AWS rejects a sink or a link; the message names it and the fix."""


def install() -> None:
    """Register both resource types."""
    handlers = provisioners._RESOURCE_HANDLERS
    handlers[SINK] = {
        "create": _create_sink,
        "update": _update_sink,
        "update_with_logical_id": True,
        "delete": _delete_sink,
    }
    handlers[LINK] = {
        "create": _create_link,
        "update": _update_link,
        "update_with_logical_id": True,
        "delete": _delete_link,
    }


def _create_sink(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, Properties]:
    # claim: one-sink-an-account-and-region
    check_schema(SINK, properties)
    there = [arn for arn in _SINKS if arn.startswith(_arn("sink/"))]
    if there:
        raise LinkError(
            f"ConflictException: account {get_account_id()} has a sink in {get_region()} already: {there[0]}"
        )
    arn = _arn(f"sink/{uuid.uuid4()}")
    _SINKS[arn] = dict(properties)
    return arn, {"Arn": arn}


def _update_sink(
    physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
) -> tuple[str, Properties]:
    check_schema(SINK, new)
    if old.get("Name") != new.get("Name"):  # created before the old one is deleted, which AWS rejects too
        return _create_sink(logical_id, new, stack)
    _SINKS[physical_id] = dict(new)
    return physical_id, {"Arn": physical_id}


def _delete_sink(physical_id: str, _properties: Properties) -> None:
    # claim: sinks-with-links-stay
    linked = [arn for arn, link in _LINKS.items() if link["SinkIdentifier"] == physical_id]
    if linked:
        raise LinkError(
            f"ConflictException: sink {physical_id} has {len(linked)} links; delete them first: {linked[0]}"
        )
    _SINKS.pop(physical_id, None)


def _create_link(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, Properties]:
    check_schema(LINK, properties)
    sink = str(properties["SinkIdentifier"])
    own = [link["SinkIdentifier"] for arn, link in _LINKS.items() if arn.startswith(_arn("link/"))]
    _check_sink(sink, properties, "oam:CreateLink")
    # claim: a-source-has-five-links
    if sink in own:
        raise LinkError(f"ConflictException: account {get_account_id()} is linked to {sink} already")
    if len(own) >= _MOST_LINKS:
        raise LinkError(f"ServiceQuotaExceededException: an account has at most {_MOST_LINKS} links in a Region")
    arn = _arn(f"link/{uuid.uuid4()}")
    _LINKS[arn] = dict(properties)
    return arn, {"Arn": arn, "Label": properties.get("LabelTemplate", "$AccountName")}


def _update_link(
    physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
) -> tuple[str, Properties]:
    if any(old.get(name) != new.get(name) for name in ("SinkIdentifier", "LabelTemplate")):
        _LINKS.pop(physical_id, None)  # its schema: replacement deletes first
        return _create_link(logical_id, new, stack)
    check_schema(LINK, new)
    _check_sink(str(new["SinkIdentifier"]), new, "oam:UpdateLink")
    _LINKS[physical_id] = dict(new)
    return physical_id, {"Arn": physical_id, "Label": new.get("LabelTemplate", "$AccountName")}


def _delete_link(physical_id: str, _properties: Properties) -> None:
    _LINKS.pop(physical_id, None)


# claim: a-sink-permits-its-links
def _check_sink(sink: str, properties: Properties, action: str) -> None:
    """Reject a missing sink, one of another Region, and one whose policy does not allow the account and resource types."""
    found, theirs = _SINKS.get(sink), owner(sink)
    if found is None or theirs is None or theirs.region != get_region():
        where = f"account {get_account_id()} can only link to sinks of {get_region()}"
        raise LinkError(f"ResourceNotFoundException: sink {sink} does not exist in {get_region()}; {where}")
    account = get_account_id()
    question = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:iam::{account}:root", principal_type="root", principal_account=account, action=action,
        resource_arn=sink, region=get_region(), principal_keys={},
        service_context={"oam:resourcetypes": list(properties["ResourceTypes"])},
    )  # fmt: skip
    with scope_of(theirs):
        result = iam_evaluator.evaluate_resource_policy(found.get("Policy"), question)
    if result.decision != "Allow":
        shared = ", ".join(properties["ResourceTypes"])
        raise LinkError(
            f"AccessDeniedException: the policy of sink {sink} does not allow account {account} {action} with {shared}"
        )


def _arn(resource: str) -> str:
    return f"arn:aws:oam:{get_region()}:{get_account_id()}:{resource}"
