"""Whether a request meets the conditions of a policy's statement, as far as its context is known beforehand.

A service's documents name some of the keys that it sends. A condition on any other key may hold or not: it is unknown, not unmet.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime import wildcards

_PRESENT = "IfExists"
_EXACT = frozenset({"StringEquals", "StringEqualsIgnoreCase", "Bool"})
_PATTERNS = frozenset({"StringLike", "ArnLike", "ArnEquals"})
# operator that matches what is absent, and the one that it negates
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotLike": "ArnLike",
    "ArnNotEquals": "ArnEquals",
}
_ANY_CASE = frozenset({"StringEqualsIgnoreCase", "Bool"})
_WILDCARD = re.compile(r"[*?]")


class Verdict(enum.Enum):
    """Whether a condition is met."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


_OPPOSITE = {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS, Verdict.UNKNOWN: Verdict.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is known of a request's context, with keys in lower case.

    Args:
        sent: Values that are sent; ``*`` and ``?`` stand for parts that differ between requests.
        absent: Keys that are certainly not sent. Of all others nothing is known.
    """

    sent: Mapping[str, str]
    absent: frozenset[str] = frozenset()


def judge(conditions: Any, request: Request) -> Verdict:
    """Return whether a request meets the ``Condition`` of a statement: all of its operators and keys.

    Args:
        conditions: The block as it was written.
        request: What is known of the request.

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


def covers(pattern: str, value: str) -> bool:
    """Return whether a pattern of IAM matches a value, or every value that a pattern stands for.

    Args:
        pattern: With ``*`` and ``?``.
        value: A value, or a pattern.

    Example:
        >>> covers("arn:aws:cloudwatch:*", "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:*")
        True
    """
    return wildcards.matches(pattern, value)


def _condition(operator: str, key: str, values: list[Any], request: Request) -> Verdict:
    if operator == "Null":
        return _presence(key, [str(value).lower() for value in values], request)
    plain = operator.removesuffix(_PRESENT)
    positive = _NEGATED.get(plain, plain)
    if positive not in _EXACT | _PATTERNS:
        return Verdict.UNKNOWN
    if key in request.absent:
        # a negated operator is true of what is not there
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
        # an asterisk means itself to these operators
        return Verdict.UNKNOWN if covers(sent, wanted) and not _WILDCARD.search(wanted) else Verdict.FAILS
    if covers(wanted, sent):
        return Verdict.HOLDS
    return Verdict.UNKNOWN if _overlap(wanted, sent) else Verdict.FAILS


def _overlap(one: str, other: str) -> bool:
    """Return whether some text matches both patterns."""
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
