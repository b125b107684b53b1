"""Conditions against what is known of a request.

See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html

What a key's policy lacks, judged as KMS would for what the services send.
"""

import json
from typing import Any

import pytest

from mlops_runtime.business_unit.key_policy import (
    Findings,
    Place,
    Request,
    Verdict,
    judge,
    read_policy,
    shared_key_statements,
    unit_statements,
)
from mlops_runtime.wildcards import matches

HOLDS, FAILS, UNKNOWN = Verdict.HOLDS, Verdict.FAILS, Verdict.UNKNOWN
REQUEST = Request(
    sent={"aws:sourceaccount": "111122223333", "aws:sourcearn": "arn:aws:s:r:1:alarm:*", "k:bool": "true"},
    absent=frozenset({"k:absent"}),
)


PLACE = Place(partition="aws", region="eu-west-1", account="111122223333")
DEFAULT = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "kms:*",
    "Resource": "*",
}


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
    assert matches("a*c", "a*bc")
    assert not matches("a.c", "abc")
    assert not matches("ab*", "a*")


def _read(*statements: Any) -> Findings:
    return read_policy(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}), PLACE)


def _missing(*statements: Any) -> list[str]:
    return [statement["Sid"] for statement in _read(*statements).missing]


def _unjudged(*statements: Any) -> list[str]:
    return [statement["Sid"] for statement in _read(*statements).unjudged]


def _with(sid: str, **changes: Any) -> list[dict[str, Any]]:
    """All statements, one of them changed."""
    return [s | changes if s["Sid"] == sid else s for s in shared_key_statements(PLACE)]


def _events(**changes: Any) -> dict[str, Any]:
    (found,) = (s for s in shared_key_statements(PLACE) if s["Sid"] == "Events")
    return found | changes


def test_a_new_keys_policy_lacks_the_services() -> None:
    """It delegates to the account, which is what roles need, and names no service."""
    assert _missing(DEFAULT) == ["Logs", "Alarms", "Events", "Bus", "LogDelivery"]
    assert _missing() == [s["Sid"] for s in shared_key_statements(PLACE)]


def test_the_statements_themselves_are_enough() -> None:
    """With or without what the key had, and a unit's own key has those of services."""
    assert _missing(DEFAULT, *shared_key_statements(PLACE)) == []
    assert _missing(*shared_key_statements(PLACE)) == []
    assert _missing(*unit_statements(PLACE)) == ["Use", "Bus", "LogDelivery"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/*"}}},
        {"Condition": {"Null": {"aws:SourceAccount": "false"}}},
        {"Action": ["kms:Decrypt"]},
        {"Principal": {"Service": "sns.amazonaws.com"}},
        {"Effect": "Deny"},
    ],
)
def test_a_statement_that_eventbridge_cannot_use_does_not_count(changes: dict[str, Any]) -> None:
    """Conditions on keys that it does not send, fewer actions, another service."""
    others = [s for s in shared_key_statements(PLACE) if s["Sid"] != "Events"]

    assert _missing(*others, _events(**changes)) == ["Events"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Condition": {"StringEqualsIfExists": {"aws:SourceAccount": "111122223333"}}},
        {"Action": ["kms:GenerateDataKey*", "kms:Decrypt", "kms:Describe*"]},
        {"Action": "kms:*"},
        {"Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]}},
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Condition": {"StringNotEquals": {"aws:SourceAccount": "444455556666"}}},
        {"Condition": {"Null": {"aws:SourceAccount": "true"}}},
        {"Sid": "Another"},
    ],
)
def test_a_statement_in_other_words_counts(changes: dict[str, Any]) -> None:
    """What it says matters, not how it is written."""
    others = [s for s in shared_key_statements(PLACE) if s["Sid"] != "Events"]

    assert _missing(*others, _events(**changes)) == []


@pytest.mark.parametrize(("account", "missing"), [("111122223333", []), ("444455556666", ["Alarms"])])
def test_alarms_are_of_the_units_account(account: str, missing: list[str]) -> None:
    """They send theirs, so a condition holds, and one on another account denies."""
    statements = shared_key_statements(PLACE)
    (alarms,) = (s for s in statements if s["Sid"] == "Alarms")
    alarms["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}

    assert _missing(*statements) == missing


ALARMS = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:"


@pytest.mark.parametrize(
    ("condition", "missing", "unjudged"),
    [
        ({"ArnLike": {"aws:SourceArn": f"{ALARMS}*"}}, [], []),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:cloudwatch:*:111122223333:alarm:*"}}, [], []),
        (
            {
                "ArnLike": {"aws:SourceArn": f"{ALARMS}*"},
                "StringEquals": {"aws:SourceAccount": ["111122223333", "444455556666"]},
            },
            [],
            [],
        ),
        ({"ArnLike": {"aws:SourceArn": f"{ALARMS}demand-*"}}, [], ["Alarms"]),
        ({"StringEquals": {"aws:SourceArn": f"{ALARMS}one"}}, [], ["Alarms"]),
        ({"StringEquals": {"aws:SourceOrgID": "o-1"}}, [], ["Alarms"]),
        ({"StringEquals": {"aws:SourceArn": f"{ALARMS}*"}}, ["Alarms"], []),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:*"}}, ["Alarms"], []),
        ({"StringEquals": {"aws:SourceAccount": "444455556666", "aws:SourceOrgID": "o-1"}}, ["Alarms"], []),
    ],
)
def test_alarms_send_their_arn(condition: dict[str, Any], missing: list[str], unjudged: list[str]) -> None:
    """A pattern of all alarms is met, one of some may be, one of another region is not."""
    statements = _with("Alarms", Condition=condition)

    assert (_missing(*statements), _unjudged(*statements)) == (missing, unjudged)


def test_what_cannot_be_judged_is_not_missing() -> None:
    """The organization of a landing zone is on every statement of the account, and lets no service in."""
    organization = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
    account = DEFAULT | {"Principal": {"AWS": "*"}, "Condition": organization}
    services = shared_key_statements(PLACE)[2:]

    assert (_missing(account, *services), _unjudged(account, *services)) == ([], ["Use", "GrantToResources"])
    assert _missing(account) == ["Logs", "Alarms", "Events", "Bus", "LogDelivery"]


@pytest.mark.parametrize("key", ["aws:PrincipalAccount", "kms:CallerAccount"])
def test_the_account_is_that_of_its_principals(key: str) -> None:
    """A condition on the unit's account holds, one on another is certain to fail."""
    services = shared_key_statements(PLACE)[2:]
    held = DEFAULT | {"Condition": {"StringEquals": {key: "111122223333"}}}
    other = DEFAULT | {"Condition": {"StringEquals": {key: "444455556666"}}}

    assert (_missing(held, *services), _unjudged(held, *services)) == ([], [])
    assert _missing(other, *services) == ["Use", "GrantToResources"]


def test_a_right_to_grants_is_no_right_to_use() -> None:
    """`kms:GrantIsForAWSResource` is not sent with the other actions."""
    account = DEFAULT | {"Condition": {"Bool": {"kms:GrantIsForAWSResource": True}}}

    assert _missing(account, *shared_key_statements(PLACE)[2:]) == ["Use"]


@pytest.mark.parametrize(
    ("others", "missing"), [("s3:*", []), (["kms:ScheduleKeyDeletion", "kms:Put*"], []), ("kms:gen*", ["Alarms"])]
)
def test_all_actions_but_some_are_given(others: Any, missing: list[str]) -> None:
    """``NotAction`` gives what it does not name, also by a pattern."""
    statements = _with("Alarms", NotAction=others)
    for statement in statements:
        if "NotAction" in statement:
            del statement["Action"]

    assert _missing(*statements) == missing


@pytest.mark.parametrize(
    ("others", "missing", "unjudged"),
    [
        ({"AWS": "arn:aws:iam::444455556666:root"}, [], ["Events"]),
        ({"Service": "events.amazonaws.com"}, ["Events"], []),
        ("*", ["Events"], []),
    ],
)
def test_whom_not_principal_lets_in_is_not_judged(others: Any, missing: list[str], unjudged: list[str]) -> None:
    """But whom it names is not let in."""
    statements = _with("Events", NotPrincipal=others)
    for statement in statements:
        if "NotPrincipal" in statement:
            del statement["Principal"]

    assert (_missing(*statements), _unjudged(*statements)) == (missing, unjudged)


@pytest.mark.parametrize("odd", ["text", 3, None, [], {"Effect": "Allow", "Principal": 4, "Action": "kms:*"}])
def test_what_is_not_a_statement_allows_nothing(odd: Any) -> None:
    """And the others still count."""
    assert _missing(odd, *shared_key_statements(PLACE)) == []
    assert "Use" in _missing(odd)


@pytest.mark.parametrize("odd", ["text", {"StringEquals": "text"}, {"StringEquals": ["a"]}])
def test_a_condition_that_is_none_cannot_be_judged(odd: Any) -> None:
    """It refuses nothing."""
    assert _unjudged(*_with("Events", Condition=odd)) == ["Events"]


@pytest.mark.parametrize("policy", ["[]", "3", "no json"])
def test_fails_on_what_is_not_a_policy(policy: str) -> None:
    """The plan says that it could not be read."""
    with pytest.raises(ValueError, match=r"object|Expecting"):
        read_policy(policy, PLACE)
