"""Calls replayed through the embedded cloud's evaluator, with each statement and condition taken away in turn."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ministack.core import iam_evaluator
from tests.security.needs import Need
from tests.security.policies import Place, Policies
from tests.security.units import ACCOUNT, REGION

STACK = "DemandForecasting"
ALLOW = "Allow"
_OTHER = "another"
# what a condition's key is in a call that it must refuse
_WRONG: dict[str, Any] = {
    "kms:ViaService": f"ec2.{REGION}.amazonaws.com",
}


class Replay:
    """Decides calls by the policies of a template.

    Args:
        policies: The policies.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies

    def decision(self, need: Need, without: Place | None = None, widened: Any = None) -> str:
        """Decide a call by the role's policies and boundary: ``Allow``, ``Deny`` or ``ImplicitDeny``.

        Args:
            need: The call.
            without: A statement that is taken away. Default: none.
            widened: A parsed statement in its place. Default: none.
        """
        tags = {f"aws:principaltag/{key}".lower(): value for key, value in self.policies.tags[need.role].items()}
        context = iam_evaluator.EvalContext(
            principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{need.role}/replay",
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action=need.action,
            resource_arn=need.resource,
            region=REGION,
            source_ip="127.0.0.1",
            secure_transport=True,
            service_context={"aws:tagkeys": None, **tags, **{k.lower(): v for k, v in need.context.items()}},
        )
        boundary = self.policies.parsed_boundary(need.role, without)
        own = self.policies.parsed(need.role, without, widened)
        bucket = self.policies.bucket_policy(need.resource, need.role, without)
        return str(iam_evaluator.evaluate(context, [*own, bucket], [boundary]).decision)

    def is_noticed(self, place: Place, needs: Iterable[Need]) -> bool:
        """Whether some call that is needed is denied without a statement."""
        return any(self.decision(need, place) != ALLOW for need in needs)

    def matched(self, place: Place, needs: Iterable[Need]) -> list[Need]:
        """Return the needs that a statement allows by itself, of the roles that have it."""
        holders, statement = set(self.policies.holders(place.policy)), self.policies.at(place)
        return [need for need in needs if need.role in holders and self._allows(statement, need)]

    def uncaught_conditions(self, place: Place, needs: Iterable[Need]) -> Iterator[str]:
        """Yield the condition keys of a statement whose removal lets no forbidden call through."""
        statement, matched = self.policies.at(place), self.matched(place, needs)
        for operator, keys in statement.conditions.items():
            for key in keys:
                conditions = {
                    o: {k: v for k, v in ks.items() if (o, k) != (operator, key)}
                    for o, ks in statement.conditions.items()
                }
                widened = replace(statement, conditions={o: ks for o, ks in conditions.items() if ks})
                wrong = [forbidden(need, key, operator) for need in matched]
                if not any(
                    self.decision(need) != ALLOW and self.decision(need, place, widened) == ALLOW for need in wrong
                ):
                    yield f"{operator} {key}"

    def _allows(self, statement: Any, need: Need) -> bool:
        context = iam_evaluator.EvalContext(
            principal_arn="", principal_type="AssumedRole", principal_account=ACCOUNT, action=need.action,
            resource_arn=need.resource, region=REGION, source_ip="127.0.0.1", secure_transport=True,
            service_context={"aws:tagkeys": None, **{k.lower(): v for k, v in need.context.items()}},
        )  # fmt: skip
        return str(iam_evaluator.evaluate(context, [[statement]]).decision) == ALLOW


def forbidden(need: Need, key: str, operator: str) -> Need:
    """Return a needed call that differs in one condition key: another value, or the key itself where its presence is the condition.

    Args:
        need: A call that is allowed.
        key: The condition's key.
        operator: The condition's operator.
    """
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
