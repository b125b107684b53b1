"""Conditions against what is known of a request.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from typing import Any

import pytest

from mlops_runtime.business_unit.key_conditions import Request, Verdict, covers, judge

HOLDS, FAILS, UNKNOWN = Verdict.HOLDS, Verdict.FAILS, Verdict.UNKNOWN
REQUEST = Request(
    sent={"aws:sourceaccount": "111122223333", "aws:sourcearn": "arn:aws:s:r:1:alarm:*", "k:bool": "true"},
    absent=frozenset({"k:absent"}),
)


@pytest.mark.parametrize(
    ("operator", "key", "values", "verdict"),
    [
        ("StringEquals", "AWS:SourceAccount", "111122223333", HOLDS),
        ("StringEquals", "aws:SourceAccount", ["1", "111122223333"], HOLDS),
        ("StringEquals", "aws:SourceAccount", "1111*", FAILS),
        ("StringLike", "aws:SourceAccount", "1111*", HOLDS),
        ("StringLike", "aws:SourceAccount", "[1]*", FAILS),
        ("StringNotEquals", "aws:SourceAccount", "111122223333", FAILS),
        ("StringNotLike", "aws:SourceAccount", "2*", HOLDS),
        ("StringEqualsIgnoreCase", "k:bool", "TRUE", HOLDS),
        ("Bool", "k:bool", True, HOLDS),
        ("Bool", "k:bool", "false", FAILS),
        ("ArnLike", "aws:SourceArn", "arn:aws:s:*:1:alarm:*", HOLDS),
        ("ArnLike", "aws:SourceArn", "arn:aws:s:r:1:alarm:a?c*", UNKNOWN),
        ("ArnLike", "aws:SourceArn", "*:alarm:a", UNKNOWN),
        ("ArnLike", "aws:SourceArn", "arn:aws:s:r:2:alarm:*", FAILS),
        ("ArnNotLike", "aws:SourceArn", "arn:aws:s:r:1:alarm:a", UNKNOWN),
        ("StringEquals", "aws:SourceArn", "arn:aws:s:r:1:alarm:a", UNKNOWN),
        ("StringEquals", "aws:SourceArn", "arn:aws:s:r:2:alarm:a", FAILS),
        ("StringEquals", "k:absent", "a", FAILS),
        ("StringEqualsIfExists", "k:absent", "a", HOLDS),
        ("StringNotEquals", "k:absent", "a", HOLDS),
        ("Null", "k:absent", "true", HOLDS),
        ("Null", "k:absent", "false", FAILS),
        ("Null", "aws:SourceAccount", False, HOLDS),
        ("Null", "k:other", "true", UNKNOWN),
        ("StringEquals", "k:other", "a", UNKNOWN),
        ("StringNotEquals", "k:other", "a", UNKNOWN),
        ("ForAnyValue:StringLike", "aws:SourceAccount", "*", UNKNOWN),
        ("NumericEquals", "aws:SourceAccount", "1", UNKNOWN),
    ],
)
def test_an_operator_is_judged_by_what_is_known(operator: str, key: str, values: Any, verdict: Verdict) -> None:
    """Keys have no case; an asterisk of what is sent stands for many values."""
    assert judge({operator: {key: values}}, REQUEST) is verdict


@pytest.mark.parametrize(
    ("account", "other", "verdict"), [("111122223333", "a", UNKNOWN), ("1", "a", FAILS), ("1", None, FAILS)]
)
def test_one_that_fails_decides(account: str, other: str | None, verdict: Verdict) -> None:
    """Conditions are all to be met; what is unknown does not save one that fails."""
    more = {} if other is None else {"k:other": other}

    assert judge({"StringEquals": {"aws:SourceAccount": account, **more}}, REQUEST) is verdict


@pytest.mark.parametrize(("conditions", "verdict"), [({}, HOLDS), (None, UNKNOWN), ({"Bool": 1}, UNKNOWN)])
def test_a_block_may_be_empty_or_malformed(conditions: Any, verdict: Verdict) -> None:
    """Nothing is asked, or nothing can be said."""
    assert judge(conditions, REQUEST) is verdict


def test_a_pattern_covers_a_pattern() -> None:
    """A dot and a bracket are themselves."""
    assert covers("a*c", "a*bc")
    assert not covers("a.c", "abc")
    assert not covers("ab*", "a*")
