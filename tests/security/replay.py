"""Replays calls through the embedded cloud's evaluator, with each statement, action and condition removed in turn."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ministack.core import iam_evaluator
from tests.security import resource_policies
from tests.security.needs import Need
from tests.security.policies import Place, Policies, listed
from tests.security.resource_policies import LATER_GRANT, ResourcePolicies
from tests.security.units import ACCOUNT, REGION

ALLOW = "Allow"
_OTHER = "another"
_OTHER_ACCOUNT = "111122223333"
_TRANSPORT = "aws:SecureTransport"
# value of a condition's key in a call that it must deny
_WRONG: dict[str, Any] = {
    "kms:ViaService": f"ec2.{REGION}.amazonaws.com",
    "aws:SourceAccount": _OTHER_ACCOUNT,
}
_EVERYTHING = iam_evaluator.parse_policy_document({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


class Replay:
    """Decides calls by the policies of a template.

    Args:
        policies: The policies of roles.
        resources: The policies of called resources. Default: those of the same template.
    """

    def __init__(self, policies: Policies, resources: ResourcePolicies | None = None) -> None:
        self.policies = policies
        self.resources = resources or ResourcePolicies(policies)

    def decision(self, need: Need, without: Place | None = None, widened: Any = None) -> str:
        """Decide a call by the caller's policies, boundary and the resource's policy: ``Allow``, ``Deny`` or ``ImplicitDeny``.

        Args:
            need: The call.
            without: A statement to remove. Default: none.
            widened: Its replacement, parsed if it is a role's statement. Default: none.
        """
        context, document = self._context(need), self.resources.document(need.resource, without, widened)
        if need.role not in self.policies.roles:
            identity = iam_evaluator.evaluate(context, [_EVERYTHING])
            return resource_policies.decision(context, need.role, document or [], identity)
        limits = self.policies.limits(need.role, without)
        own = iam_evaluator.evaluate(context, self.policies.parsed(need.role, without, widened), *limits)
        if document is None:
            return str(own.decision)
        return resource_policies.decision(context, need.role, document, own, limits)

    def own_decision(self, need: Need, without: Place | None = None, widened: Any = None) -> str:
        """Decide a role's call by its own policies and boundary only."""
        policies = self.policies.parsed(need.role, without, widened)
        limits = self.policies.limits(need.role, without)
        return str(iam_evaluator.evaluate(self._context(need), policies, *limits).decision)

    def admitted(self, need: Need, without: Place | None = None, widened: Any = None, *, granted: bool = False) -> str:
        """Decide a call by the resource's policy only: the caller's own policies allow everything.

        Args:
            need: The call.
            without: A statement of the resource to remove. Default: none.
            widened: Its replacement. Default: none.
            granted: Whether the resource's policy has an additional statement that admits everyone. Default: ``False``.
        """
        context = self._context(need)
        document = self.resources.document(need.resource, without, widened) or []
        identity = iam_evaluator.evaluate(context, [_EVERYTHING])
        return resource_policies.decision(
            context, need.role, [*document, *([LATER_GRANT] if granted else [])], identity
        )

    def is_noticed(self, place: Place, needs: Iterable[Need], widened: Any = None) -> bool:
        """Return whether a needed call is denied without a statement, or with another one in its place."""
        return any(self.decision(need, place, widened) != ALLOW for need in needs)

    def matched(self, place: Place, needs: Iterable[Need]) -> list[Need]:
        """Return the needs that a statement allows by itself, for roles that have it or for its resource."""
        if place.policy in self.resources.documents:
            return [need for need in needs if self._admits(place, need)]
        holders, statement = set(self.policies.holders(place.policy)), self.policies.at(place)
        return [need for need in needs if need.role in holders and self._allows(statement, need)]

    def uncaught_conditions(self, place: Place, needs: Iterable[Need]) -> Iterator[str]:
        """Yield the condition keys of a role's statement whose removal allows no forbidden call."""
        statement, matched = self.policies.at(place), self.matched(place, needs)
        for operator, key, left in _each_dropped(statement.conditions):
            widened = replace(statement, conditions=left)
            wrong = [forbidden(need, key, operator) for need in matched]
            if not any(
                self.own_decision(call) != ALLOW and self.own_decision(call, place, widened) == ALLOW for call in wrong
            ):
                yield f"{operator} {key}"

    def uncaught_admissions(self, place: Place, needs: Iterable[Need]) -> Iterator[str]:
        """Yield the condition keys of a resource's Allow statement whose removal allows no forbidden call."""
        statement, matched = self._written(place), self.matched(place, needs)
        for operator, key, left in _each_dropped(statement.get("Condition", {})):
            widened = {**statement, "Condition": left}
            wrong = [forbidden(need, key, operator) for need in matched]
            if not any(self.admitted(call) != ALLOW and self.admitted(call, place, widened) == ALLOW for call in wrong):
                yield f"{operator} {key}"

    def unneeded_exceptions(self, place: Place, needs: Iterable[Need]) -> Iterator[str]:
        """Yield the condition keys of a resource's Deny statement without which it would deny no needed call."""
        statement = self._written(place)
        about = [need for need in needs if self.resources.policy_of(need.resource) == place.policy]
        for operator, key, left in _each_dropped(statement.get("Condition", {})):
            if not self.is_noticed(place, about, {**statement, "Condition": left}):
                yield f"{operator} {key}"

    def unused_actions(self, place: Place, needs: Iterable[Need]) -> Iterator[str]:
        """Yield the actions of a role's Allow statement that allow no need, whatever other statements allow."""
        matched, statement = self.matched(place, needs), self.policies.at(place)
        for action in statement.actions:
            alone = replace(statement, actions=[action])
            if not any(self._allows(alone, need) for need in matched):
                yield action

    def unneeded_actions(self, place: Place, needs: Iterable[Need]) -> Iterator[str]:
        """Yield the actions of an Allow statement without which every need is still allowed; a single action is the statement."""
        matched, of_resource = self.matched(place, needs), place.policy in self.resources.documents
        parsed, written = (None, self._written(place)) if of_resource else (self.policies.at(place), {})
        actions = listed(written["Action"]) if parsed is None else parsed.actions
        for action in actions if len(actions) > 1 else ():
            left = [other for other in actions if other != action]
            if not self.is_noticed(
                place, matched, replace(parsed, actions=left) if parsed else {**written, "Action": left}
            ):
                yield action

    def _written(self, place: Place) -> Mapping[str, Any]:
        return self.resources.documents[place.policy][place.index]

    def _admits(self, place: Place, need: Need) -> bool:
        if self.resources.policy_of(need.resource) != place.policy:
            return False
        statement, context = self._written(place), self._context(need)
        identity = iam_evaluator.evaluate(context, [_EVERYTHING])
        if need.role.endswith(".amazonaws.com"):
            return resource_policies.decision(context, need.role, [statement], identity) == ALLOW
        found = iam_evaluator.evaluate_resource_policy({"Statement": [statement]}, context)
        return str(found.decision) == ALLOW

    def _context(self, need: Need) -> iam_evaluator.EvalContext:
        tags = {
            f"aws:principaltag/{key}".lower(): value for key, value in self.policies.tags.get(need.role, {}).items()
        }
        is_service = need.role.endswith(".amazonaws.com")
        return iam_evaluator.EvalContext(
            principal_arn=need.role
            if is_service
            else f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.policies.name(need.role)}/replay",
            principal_type="AWSService" if is_service else "AssumedRole",
            principal_account="" if is_service else ACCOUNT,
            action=need.action,
            resource_arn=need.resource,
            region=REGION,
            source_ip="127.0.0.1",
            secure_transport=str(need.context.get(_TRANSPORT, "true")) == "true",
            service_context={"aws:tagkeys": None, **tags, **{k.lower(): v for k, v in need.context.items()}},
        )

    def _allows(self, statement: Any, need: Need) -> bool:
        context = replace(self._context(need), principal_arn="")
        return str(iam_evaluator.evaluate(context, [[statement]]).decision) == ALLOW


def _each_dropped(conditions: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each operator and key with the remaining conditions."""
    for operator, keys in conditions.items():
        for key in keys:
            left = {o: {k: v for k, v in ks.items() if (o, k) != (operator, key)} for o, ks in conditions.items()}
            yield operator, key, {o: ks for o, ks in left.items() if ks}


def forbidden(need: Need, key: str, operator: str) -> Need:
    """Return a needed call that differs in one condition key: another value, or the key itself if its presence is the condition.

    Args:
        need: An allowed call.
        key: The condition's key.
        operator: The condition's operator.
    """
    if key.lower() == "aws:principalarn":
        return replace(need, role=_OTHER)
    context: dict[str, Any] = {name: value for name, value in need.context.items() if name.lower() != key.lower()}
    old = next((value for name, value in need.context.items() if name.lower() == key.lower()), None)
    if operator == "Null":
        return replace(need, context=context if old is not None else {**context, key: _OTHER})
    if operator.startswith("Numeric"):
        return replace(need, context={**context, key: 10**9})
    if operator == "Bool":
        return replace(need, context={**context, key: "false" if str(old).lower() == "true" else "true"})
    # a service that the boundary lets roles be passed to
    passed = "states.amazonaws.com" if old == "lambda.amazonaws.com" else "lambda.amazonaws.com"
    wrong = passed if key == "iam:PassedToService" else _WRONG.get(key, _OTHER)
    return replace(need, context={**context, key: [wrong] if isinstance(old, list) else wrong})
