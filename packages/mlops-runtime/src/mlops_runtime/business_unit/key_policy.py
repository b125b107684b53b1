"""Statements that a KMS key policy needs for a unit to use the key, and evaluation of a policy against them."""

import enum
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from mlops_runtime.wildcards import matches

_PRESENT = "IfExists"
_EXACT = frozenset({"StringEquals", "StringEqualsIgnoreCase", "Bool"})
_PATTERNS = frozenset({"StringLike", "ArnLike", "ArnEquals"})
# negated operators, which also match absent keys, and the operators that they negate
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotLike": "ArnLike",
    "ArnNotEquals": "ArnEquals",
}
_ANY_CASE = frozenset({"StringEqualsIgnoreCase", "Bool"})
_WILDCARD = re.compile(r"[*?]")

USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
_LOGS = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo")
# required by services that send to encrypted topics and queues:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
_DELIVERY = ("kms:Decrypt", "kms:GenerateDataKey")
# not sent by EventBridge to encrypted topics, according to the SNS developer guide
_UNSENT_BY_EVENTS = frozenset({"aws:sourcearn", "aws:sourceaccount"})
# "only if the principal is a member of an organization", which a service is not:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalorgid
_OF_MEMBERS = frozenset({"aws:principalorgid"})
# sent only with CreateGrant: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
_OF_GRANTS = frozenset({"kms:grantisforawsresource"})


class Statement(TypedDict):
    """One statement of a key policy, for one principal."""

    Sid: str
    Effect: Literal["Allow"]
    Principal: dict[str, str]
    Action: list[str]
    Resource: str
    Condition: NotRequired[Mapping[str, Mapping[str, str]]]


class Verdict(enum.Enum):
    """Whether a condition is met."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


_OPPOSITE = {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS, Verdict.UNKNOWN: Verdict.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Known part of a request's context, with keys in lower case."""

    sent: Mapping[str, str]  # values that are sent; `*` and `?` stand for parts that differ between requests
    absent: frozenset[str] = frozenset()  # keys that are certainly not sent. All other keys are unknown


def judge(conditions: Any, request: Request) -> Verdict:
    """Return whether a request meets the ``Condition`` of a statement: all of its operators and keys.

    Example:
        >>> request = Request(sent={"aws:sourceaccount": "111122223333"}, absent=frozenset({"aws:sourcearn"}))
        >>> judge({"StringEquals": {"aws:SourceAccount": "111122223333"}}, request)
        <Verdict.HOLDS: 'holds'>
        >>> judge({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, request)
        <Verdict.UNKNOWN: 'unknown'>
    """
    if not isinstance(conditions, Mapping) or not all(isinstance(block, Mapping) for block in conditions.values()):
        return Verdict.UNKNOWN
    verdicts = {
        _condition(operator, key.lower(), values if isinstance(values, list) else [values], request)
        for operator, block in conditions.items()
        for key, values in block.items()
    }
    return next((verdict for verdict in (Verdict.FAILS, Verdict.UNKNOWN) if verdict in verdicts), Verdict.HOLDS)


def _condition(operator: str, key: str, values: list[Any], request: Request) -> Verdict:
    if operator == "Null":
        return _presence(key, [str(value).lower() for value in values], request)
    plain = operator.removesuffix(_PRESENT)
    positive = _NEGATED.get(plain, plain)
    if positive not in _EXACT | _PATTERNS:
        return Verdict.UNKNOWN
    if key in request.absent:
        # a negated operator holds for absent keys
        return Verdict.HOLDS if plain in _NEGATED or operator.endswith(_PRESENT) else Verdict.FAILS
    if key not in request.sent:
        return Verdict.UNKNOWN
    matches = {_match(positive, str(value), request.sent[key]) for value in values}
    verdict = next((v for v in (Verdict.HOLDS, Verdict.UNKNOWN) if v in matches), Verdict.FAILS)
    return _OPPOSITE[verdict] if plain in _NEGATED else verdict


def _presence(key: str, values: list[str], request: Request) -> Verdict:
    if key not in request.absent and key not in request.sent:
        return Verdict.UNKNOWN
    return Verdict.HOLDS if str(key in request.absent).lower() in values else Verdict.FAILS


def _match(operator: str, wanted: str, sent: str) -> Verdict:
    if operator in _ANY_CASE:
        wanted, sent = wanted.lower(), sent.lower()
    if operator in _EXACT:
        if wanted == sent and not _WILDCARD.search(sent):
            return Verdict.HOLDS
        # these operators have no wildcards
        return Verdict.UNKNOWN if matches(sent, wanted) and not _WILDCARD.search(wanted) else Verdict.FAILS
    if matches(wanted, sent):
        return Verdict.HOLDS
    return Verdict.UNKNOWN if _overlap(wanted, sent) else Verdict.FAILS


def _overlap(one: str, other: str) -> bool:
    """Return whether some string matches both patterns."""
    row = [True]
    for character in other:
        row.append(row[-1] and character == "*")
    for left in one:
        above, row = row, [row[0] and left == "*"]
        for index, right in enumerate(other, start=1):
            both = above[index - 1] and (left == right or "?" in (left, right))
            through = "*" in (left, right) and (above[index] or row[index - 1] or above[index - 1])
            row.append(both or through)
    return row[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Location of the unit; in templates, its parts are tokens."""

    partition: str  # partition, such as `aws`
    region: str  # Region, such as `eu-west-1`
    account: str  # the unit's account


def unit_statements(place: Place) -> list[Statement]:
    """Return the statements for services in the policy of a unit's key, and the one for grants to AWS resources."""
    logs = f"arn:{place.partition}:logs:{place.region}:{place.account}:log-group:*"
    return [
        _statement(
            "GrantToResources",
            {"AWS": _root(place)},
            ("kms:CreateGrant",),
            {"Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
        _statement(
            "Logs",
            {"Service": f"logs.{place.region}.amazonaws.com"},
            _LOGS,
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
        ),
        # alarms publish to the encrypted topic
        _statement(
            "Alarms",
            {"Service": "cloudwatch.amazonaws.com"},
            _DELIVERY,
            {"StringEquals": {"aws:SourceAccount": place.account}},
        ),
        # rules send to the encrypted topic and to encrypted queues
        _statement("Events", {"Service": "events.amazonaws.com"}, _DELIVERY),
    ]


def shared_key_statements(place: Place) -> list[Statement]:
    """Return the statements that the owner of a key adds to its policy so that a unit can use it."""
    return [
        _statement("Use", {"AWS": _root(place)}, USE),
        *unit_statements(place),
        # for encryption of the bus's events; CDK adds this statement to a unit's own key
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-key-policy.html
        _statement(
            "Bus",
            {"Service": "events.amazonaws.com"},
            ("kms:DescribeKey",),
            {"StringEquals": {"aws:SourceAccount": place.account}},
        ),
        # logs of state machines that are encrypted with the key
        _statement("LogDelivery", {"Service": "delivery.logs.amazonaws.com"}, ("kms:Decrypt",)),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Result of evaluating a key's policy for a unit."""

    missing: tuple[Statement, ...] = ()  # statements that the policy certainly lacks
    # statements under conditions that cannot be evaluated before a service's request
    unjudged: tuple[Statement, ...] = ()


def read_policy(policy: str, place: Place) -> Findings:
    """Compare a key's policy with the statements that a unit needs.

    A statement counts if it allows the principal and the actions without a condition, or under conditions that the service's
    requests meet; it does not count under a condition that they certainly do not meet. ``NotAction`` allows all other actions;
    ``NotPrincipal`` is not evaluated, and neither are statements that deny.

    Raises:
        ValueError: If the policy is not a JSON object.
    """
    document = json.loads(policy)
    if not isinstance(document, Mapping):
        raise ValueError(f"a policy must be a JSON object, got {policy[:80]!r}")  # noqa: TRY004 - as for invalid JSON
    found = [s for s in _listed(document.get("Statement")) if isinstance(s, Mapping)]
    allowing = [s for s in found if s.get("Effect") == "Allow"]
    verdicts = [(needed, _verdict(needed, allowing, place)) for needed in shared_key_statements(place)]
    return Findings(
        missing=tuple(needed for needed, verdict in verdicts if verdict is Verdict.FAILS),
        unjudged=tuple(needed for needed, verdict in verdicts if verdict is Verdict.UNKNOWN),
    )


def _statement(
    sid: str,
    principal: Mapping[str, str],
    actions: Sequence[str],
    condition: Mapping[str, Mapping[str, str]] | None = None,
) -> Statement:
    made: Statement = {
        "Sid": sid, "Effect": "Allow", "Principal": dict(principal), "Action": sorted(actions), "Resource": "*"
    }  # fmt: skip
    if condition is not None:
        made["Condition"] = condition
    return made


def _root(place: Place) -> str:
    return f"arn:{place.partition}:iam::{place.account}:root"


def _verdict(needed: Statement, allowing: Sequence[Mapping[str, Any]], place: Place) -> Verdict:
    ((kind, name),) = needed["Principal"].items()
    names = {name, place.account, "*"} if kind == "AWS" else {name, "*"}
    request = _request(needed, place)
    granted: dict[Verdict, list[Mapping[str, Any]]] = {verdict: [] for verdict in Verdict}
    for statement in allowing:
        reached = _reaches(statement, kind, names)
        met = judge(statement.get("Condition", {}), request)
        verdict = next((v for v in (Verdict.FAILS, Verdict.UNKNOWN) if v in (reached, met)), Verdict.HOLDS)
        granted[verdict].append(statement)
    if _grants(granted[Verdict.HOLDS], needed):
        return Verdict.HOLDS
    may = _grants(granted[Verdict.HOLDS] + granted[Verdict.UNKNOWN], needed)
    return Verdict.UNKNOWN if may else Verdict.FAILS


def _reaches(statement: Mapping[str, Any], kind: str, names: set[str]) -> Verdict:
    """Return whether a statement applies to a principal; the IAM guide advises against ``NotPrincipal`` with ``Allow``."""
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
    if "NotPrincipal" in statement:
        return Verdict.FAILS if _names(statement["NotPrincipal"], kind) & names else Verdict.UNKNOWN
    return Verdict.HOLDS if _names(statement.get("Principal"), kind) & names else Verdict.FAILS


def _grants(statements: Sequence[Mapping[str, Any]], needed: Statement) -> bool:
    return all(any(_allows(statement, action) for statement in statements) for action in needed["Action"])


def _allows(statement: Mapping[str, Any], action: str) -> bool:
    """Return whether a statement allows an action; ``NotAction`` allows all others."""
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notaction.html
    element = "NotAction" if "NotAction" in statement else "Action"
    is_named = any(matches(str(given).lower(), action.lower()) for given in _listed(statement.get(element)))
    return is_named is (element == "Action")


def _names(principal: Any, kind: str) -> set[str]:
    """Return the principals of a kind; IAM treats ``*`` and ``{"AWS": "*"}`` alike."""
    if not isinstance(principal, Mapping):
        return {"*"} if principal == "*" else set()
    everyone = {"*"} if "*" in _listed(principal.get("AWS")) else set()
    return {str(name) for name in _listed(principal.get(kind))} | everyone


def _request(needed: Statement, place: Place) -> Request:
    """Return the known context of requests that a statement is for; ``*`` stands for parts that differ between them."""
    sent = {
        key.lower(): value for conditions in needed.get("Condition", {}).values() for key, value in conditions.items()
    }
    if "AWS" in needed["Principal"]:
        sent |= {"aws:principalaccount": place.account, "kms:calleraccount": place.account}
    if needed["Sid"] == "Alarms":
        sent["aws:sourcearn"] = f"arn:{place.partition}:cloudwatch:{place.region}:{place.account}:alarm:*"
    if needed["Sid"] == "Bus":
        sent["aws:sourcearn"] = f"arn:{place.partition}:events:{place.region}:{place.account}:event-bus/*"
    absent = {"Events": _UNSENT_BY_EVENTS, "Use": _OF_GRANTS}.get(needed["Sid"], frozenset())
    return Request(sent=sent, absent=absent if "AWS" in needed["Principal"] else absent | _OF_MEMBERS)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
