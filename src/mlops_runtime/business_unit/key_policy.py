"""What the policy of a key must allow for a unit to use it: one source for the unit's own key, the warning, the page and the check.

EventBridge sends no source keys when it encrypts for a topic or a queue, and SNS's guide says that conditions on them are not
supported there: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html. CloudWatch's alarms send theirs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Statement = dict[str, Any]

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
_DELIVERY = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey")
# of the operators that key policies use to name an account or an ARN; a statement with any other is not counted
_MATCHING = frozenset({"StringEquals", "StringLike", "ArnEquals", "ArnLike"})
_PRESENT = "IfExists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the unit is; in a template its parts are tokens.

    Args:
        partition: Such as ``aws``.
        region: Such as ``eu-west-1``.
        account: The unit's account.
    """

    partition: str
    region: str
    account: str


def unit_statements(place: Place) -> list[Statement]:
    """Return what services need of a unit's key, whoever owns it, and the right to grants that AWS resources use.

    Args:
        place: Where the unit is.
    """
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
        # rules send to the encrypted topic and to encrypted queues, and the bus encrypts its events
        _statement("Events", {"Service": "events.amazonaws.com"}, _DELIVERY),
    ]


def shared_key_statements(place: Place) -> list[Statement]:
    """Return what the owner of a key adds to its policy so that a unit can use it.

    Args:
        place: Where the unit is.
    """
    return [
        _statement("Use", {"AWS": _root(place)}, USE),
        *unit_statements(place),
        # logs of state machines that are encrypted with the key
        _statement("LogDelivery", {"Service": "delivery.logs.amazonaws.com"}, ("kms:Decrypt",)),
    ]


def missing_statements(policy: str, place: Place) -> list[Statement]:
    """Return which of the statements a key's policy does not have in effect.

    A statement counts where it names the principal and the actions without a condition, or under conditions that what the service
    sends meets. Statements that deny are not read.

    Args:
        policy: The key's policy as JSON.
        place: Where the unit is.
    """
    found = _listed(json.loads(policy).get("Statement", []))
    allowing = [s for s in found if s.get("Effect") == "Allow"]
    return [needed for needed in shared_key_statements(place) if not _is_met(needed, allowing, place)]


def _statement(
    sid: str,
    principal: Mapping[str, str],
    actions: Sequence[str],
    condition: Mapping[str, Mapping[str, str]] | None = None,
) -> Statement:
    made: Statement = {
        "Sid": sid, "Effect": "Allow", "Principal": dict(principal), "Action": sorted(actions), "Resource": "*"
    }  # fmt: skip
    return made if condition is None else made | {"Condition": condition}


def _root(place: Place) -> str:
    return f"arn:{place.partition}:iam::{place.account}:root"


def _is_met(needed: Statement, allowing: Sequence[Statement], place: Place) -> bool:
    ((kind, name),) = needed["Principal"].items()
    names = {name, place.account} if kind == "AWS" else {name}
    sent = dict(_sent(needed))
    usable = [
        s for s in allowing if _names(s.get("Principal"), kind) & {*names, "*"} and _holds(s.get("Condition", {}), sent)
    ]
    granted = [action for statement in usable for action in _listed(statement.get("Action"))]
    return all(any(fnmatchcase(action.lower(), str(g).lower()) for g in granted) for action in needed["Action"])


def _names(principal: Any, kind: str) -> set[str]:
    return {"*"} if principal == "*" else {str(n) for n in _listed((principal or {}).get(kind))}


def _sent(needed: Statement) -> Iterator[tuple[str, str]]:
    """Yield what the service sends: the keys under which the statement puts it, and no others."""
    for conditions in needed.get("Condition", {}).values():
        yield from ((key.lower(), value) for key, value in conditions.items())


def _holds(conditions: Mapping[str, Mapping[str, Any]], sent: Mapping[str, str]) -> bool:
    for operator, wanted in conditions.items():
        plain = operator.removesuffix(_PRESENT)
        for key, values in wanted.items():
            value = sent.get(key.lower())
            if value is None and operator.endswith(_PRESENT):
                continue
            matches = any(fnmatchcase(value or "", str(v)) for v in _listed(values))
            if value is None or not (matches if plain in {*_MATCHING, "Bool"} else False):
                return False
    return True


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
