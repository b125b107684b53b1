"""IAM's policy simulator: context entries, several resources, boundaries, and missing condition keys.

MiniStack evaluates the first resource only, ignores the context and accepts malformed policies.

See: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam

# claim: simulator-evaluates-context-and-resources
_DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}
Policies = list[list[Any]]


@dataclass(frozen=True, slots=True)
class _Question:
    """Parsed request: policies, limits, actions, resources, context."""

    principal: str
    policies: Policies
    limits: list[Policies]
    documents: list[str]
    actions: list[str]
    resources: list[str]
    context: dict[str, Any]


def install() -> None:
    """Replace both of MiniStack's operations."""
    iam._IAM_HANDLERS["SimulateCustomPolicy"] = simulate_custom
    iam._IAM_HANDLERS["SimulatePrincipalPolicy"] = simulate_principal


def simulate_custom(params: Mapping[str, Any]) -> Any:
    """SimulateCustomPolicy: evaluates the given policies."""
    documents = _members(params, "PolicyInputList")
    return _answer("SimulateCustomPolicy", params, f"arn:aws:iam::{get_account_id()}:root", [], documents)


def simulate_principal(params: Mapping[str, Any]) -> Any:
    """SimulatePrincipalPolicy: evaluates the policies of a role or user and the given ones."""
    # claim: simulator-evaluates-context-and-resources
    source = str(iam._p(params, "PolicySourceArn"))
    kind, _, name = source.rpartition(":")[2].partition("/")
    gather = {"role": iam_evaluator._gather_role_policies, "user": iam_evaluator._gather_user_policies}.get(kind)
    if gather is None:
        return iam._error(
            400, "InvalidInput", f"Invalid Entity Arn: {source} does not clearly define entity type and name."
        )
    own: Policies = gather(name.rpartition("/")[2], get_account_id())
    return _answer("SimulatePrincipalPolicy", params, source, own, _members(params, "PolicyInputList"))


def _answer(operation: str, params: Mapping[str, Any], principal: str, own: Policies, documents: list[str]) -> Any:
    # claim: simulator-evaluates-context-and-resources
    boundaries = _members(params, "PermissionsBoundaryPolicyInputList")
    for document in (*documents, *boundaries):
        problem = iam_evaluator.validate_policy_document(document)
        if problem is not None:
            return iam._error(400, "InvalidInput", f"The policy input is not valid: {problem}")
    actions = _members(params, "ActionNames")
    unknown = [action for action in actions if action.count(":") != 1 or "*" in action]
    if not actions or unknown:
        return iam._error(400, "InvalidInput", f"Invalid action name: {', '.join(unknown) or 'none'}")
    question = _Question(
        principal=principal,
        policies=own + [iam_evaluator.parse_policy_document(document) for document in documents],
        limits=[[iam_evaluator.parse_policy_document(document)] for document in boundaries],
        documents=[*documents, *boundaries],
        actions=actions,
        resources=_members(params, "ResourceArns") or ["*"],
        context=_context(params),
    )
    results = "".join(_result(question, action) for action in actions)
    inner = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    return iam._xml(200, f"{operation}Response", f"<{operation}Result>{inner}</{operation}Result>")


def _result(question: _Question, action: str) -> str:
    """Return the result of one action: the strictest decision of all resources, and each resource's own."""
    decisions = {resource: _decision(question, action, resource) for resource in question.resources}
    worst = next((d for d in ("explicitDeny", "implicitDeny") if d in decisions.values()), "allowed")
    missing = _list(
        "MissingContextValues", [key for key in _keys(question.documents) if key.lower() not in question.context]
    )
    each = "".join(
        f"<member><EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalResourceDecision>{decision}</EvalResourceDecision>{missing}</member>"
        for resource, decision in decisions.items()
    )
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(question.resources[0])}</EvalResourceName><EvalDecision>{worst}</EvalDecision>"
        f"<MatchedStatements/>{missing}<ResourceSpecificResults>{each}</ResourceSpecificResults></member>"
    )


def _decision(question: _Question, action: str, resource: str) -> str:
    context = iam_evaluator.EvalContext(
        principal_arn=question.principal,
        principal_type="AssumedRole",
        principal_account=get_account_id(),
        action=action,
        resource_arn=resource,
        region=get_region(),
        source_ip="127.0.0.1",
        secure_transport=True,
        service_context=question.context,
    )
    return _DECISIONS[iam_evaluator.evaluate(context, question.policies, *question.limits).decision]


def _keys(documents: Sequence[str]) -> Iterator[str]:
    """Yield the distinct condition keys in policies, except those that the simulator fills in itself."""
    seen = {"aws:principalarn", "aws:principalaccount", "aws:currenttime", "aws:epochtime", "aws:requestedregion"}
    for document in documents:
        statements = json.loads(document).get("Statement", [])
        for statement in [statements] if isinstance(statements, dict) else statements:
            for keys in statement.get("Condition", {}).values():
                for key in keys:
                    if key.lower() not in seen:
                        seen.add(key.lower())
                        yield key


def _context(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context entries by lower-case key; lists for list types."""
    found: dict[str, Any] = {}
    number = 1
    while name := iam._p(params, f"ContextEntries.member.{number}.ContextKeyName"):
        values = _members(params, f"ContextEntries.member.{number}.ContextKeyValues")
        is_list = str(iam._p(params, f"ContextEntries.member.{number}.ContextKeyType")).endswith("List")
        found[str(name).lower()] = values if is_list else "".join(values[:1])
        number += 1
    return found


def _members(params: Mapping[str, Any], name: str) -> list[str]:
    found: list[str] = []
    while value := iam._p(params, f"{name}.member.{len(found) + 1}"):
        found.append(str(value))
    return found


def _list(name: str, values: Sequence[str]) -> str:
    return f"<{name}>{''.join(f'<member>{escape(value)}</member>' for value in values)}</{name}>"
