"""Quotas of policies, and deletions that IAM rejects, for API calls and CloudFormation.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
and https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ministack.services import iam
from ministack.services.cloudformation import provisioners

MANAGED_CHARACTERS = 6144
INLINE_CHARACTERS = 10240  # of all inline policies of a role together
ATTACHED = 10

Properties = dict[str, Any]
Answer = tuple[int, Mapping[str, str], bytes]
_MANAGED, _INLINE, _ROLE = "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::IAM::Role"


class PolicyError(ValueError):
    """IAM rejects a request; the message begins with IAM's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def characters(document: object) -> int:
    """Return the size of a policy document as IAM counts it: without white space.

    Example:
        >>> characters('{ "Statement": [] }')
        16
    """
    text = document if isinstance(document, str) else json.dumps(document)
    return len("".join(text.split()))


def check_managed(document: object) -> None:
    """Check the document of a managed policy.

    Raises:
        PolicyError: If it is too long.
    """
    # claim: policies-have-quotas
    if characters(document) > MANAGED_CHARACTERS:
        raise PolicyError("LimitExceeded", f"Cannot exceed quota for PolicySize: {MANAGED_CHARACTERS}")


def check_role(role: Mapping[str, Any]) -> None:
    """Check the policies of a role, all together.

    Raises:
        PolicyError: If its inline policies are too long, or too many managed ones are attached.
    """
    # claim: policies-have-quotas
    size, attached = sum(map(characters, role["InlinePolicies"].values())), len(role["AttachedPolicies"])
    if size > INLINE_CHARACTERS:
        raise PolicyError(
            "LimitExceeded", f"Maximum policy size of {INLINE_CHARACTERS} bytes exceeded for role {role['RoleName']}"
        )
    if attached > ATTACHED:
        raise PolicyError("LimitExceeded", f"Cannot exceed quota for PoliciesPerRole: {ATTACHED}")


def check_unused(arn: str) -> None:
    """Check that a managed policy may be deleted.

    Raises:
        PolicyError: If it is still attached, or used as a permissions boundary.
    """
    # claim: policies-in-use-stay
    policy = iam._policies.get(arn)
    if policy is not None and (policy.get("AttachmentCount", 0) > 0 or iam._boundary_usage_counts().get(arn)):
        raise PolicyError("DeleteConflict", "Cannot delete a policy attached to entities.")


def install() -> None:
    """Add the checks to IAM's operations and CloudFormation's handlers."""
    calls = iam._IAM_HANDLERS
    for name in ("CreatePolicy", "CreatePolicyVersion"):
        calls[name] = partial(_checked, calls[name], lambda params: check_managed(iam._p(params, "PolicyDocument")))
    calls["DeletePolicy"] = partial(
        _checked, calls["DeletePolicy"], lambda params: check_unused(iam._p(params, "PolicyArn"))
    )
    calls["PutRolePolicy"] = partial(_checked, calls["PutRolePolicy"], _check_put)
    calls["AttachRolePolicy"] = partial(_checked, calls["AttachRolePolicy"], _check_attach)
    types = provisioners._RESOURCE_HANDLERS
    for resource_type in (_MANAGED, _INLINE, _ROLE):
        types[resource_type].update(_limited(resource_type, types[resource_type]))


def _checked(call: Callable[[Any], Answer], check: Callable[[Any], None], params: Any) -> Answer:
    try:
        check(params)
    except PolicyError as refused:
        answer: Answer = iam._error(409, refused.code, refused.message, ns="iam")
        return answer
    return call(params)


def _check_put(params: Any) -> None:
    role = iam._roles.get(iam._p(params, "RoleName"))
    if role is not None:
        inline = {**role["InlinePolicies"], iam._p(params, "PolicyName"): iam._p(params, "PolicyDocument")}
        check_role({**role, "InlinePolicies": inline})


def _check_attach(params: Any) -> None:
    role = iam._roles.get(iam._p(params, "RoleName"))
    if role is not None:
        attached = {*role["AttachedPolicies"], iam._p(params, "PolicyArn")}
        check_role({**role, "AttachedPolicies": attached})


def _limited(resource_type: str, handler: Mapping[str, Any]) -> dict[str, Any]:
    """Add IAM's checks to a type's handlers; a rejected creation is deleted again."""
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        _check_document(resource_type, properties)
        made = create(logical_id, properties, stack)
        try:
            _check_roles(resource_type, made[0], properties)
        except PolicyError:
            delete(made[0], properties)
            raise
        return made

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any, **named: Any) -> Any:
        _check_document(resource_type, new)
        result = update(physical_id, old, new, *rest, **named)
        _check_roles(resource_type, physical_id, new)
        return result

    def deleted(physical_id: str, properties: Properties) -> Any:
        if resource_type == _MANAGED:
            # CloudFormation detaches it from the template's entities only
            provisioners._iam_policy_reconcile_entities(physical_id, properties, {})
            check_unused(physical_id)
        return delete(physical_id, properties)

    return {"create": created, "update": updated, "delete": deleted}


def _check_document(resource_type: str, properties: Properties) -> None:
    if resource_type == _MANAGED:
        check_managed(properties.get("PolicyDocument", {}))


def _check_roles(resource_type: str, physical_id: str, properties: Properties) -> None:
    names: Iterable[str] = [physical_id] if resource_type == _ROLE else properties.get("Roles") or []
    for role in (iam._roles.get(name) for name in names):
        if role is not None:
            check_role(role)
