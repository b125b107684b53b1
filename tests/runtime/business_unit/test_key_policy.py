"""What a key's policy lacks, judged as KMS would for what the services send."""

import json
from typing import Any

import pytest

from mlops_runtime.business_unit.key_policy import Place, missing_statements, shared_key_statements, unit_statements

PLACE = Place(partition="aws", region="eu-west-1", account="111122223333")
DEFAULT = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "kms:*",
    "Resource": "*",
}


def _missing(*statements: dict[str, Any]) -> list[str]:
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    return [statement["Sid"] for statement in missing_statements(policy, PLACE)]


def _events(**changes: Any) -> dict[str, Any]:
    (found,) = (s for s in shared_key_statements(PLACE) if s["Sid"] == "Events")
    return found | changes


def test_a_new_keys_policy_lacks_the_services() -> None:
    """It delegates to the account, which is what roles need, and names no service."""
    assert _missing(DEFAULT) == ["Logs", "Alarms", "Events", "LogDelivery"]
    assert _missing() == [s["Sid"] for s in shared_key_statements(PLACE)]


def test_the_statements_themselves_are_enough() -> None:
    """With or without what the key had, and a unit's own key has those of services."""
    assert _missing(DEFAULT, *shared_key_statements(PLACE)) == []
    assert _missing(*shared_key_statements(PLACE)) == []
    assert _missing(*unit_statements(PLACE)) == ["Use", "LogDelivery"]


@pytest.mark.parametrize(
    "changes",
    [
        {"Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:events:eu-west-1:111122223333:rule/*"}}},
        {"Condition": {"StringNotEquals": {"aws:SourceAccount": "444455556666"}}},
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
