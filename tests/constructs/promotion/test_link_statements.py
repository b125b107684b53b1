"""Statements of both sides of a promotion match."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_constructs.promotion.link_statements import PromotionLink
from mlops_runtime.promotion.environment_link import LinkedEnvironment, LinkRole

SOURCE = LinkedEnvironment(account="111111111111", region="eu-west-1")
TARGET = LinkedEnvironment(account="222222222222", region="eu-central-1")
LINK = PromotionLink(unit="demand", model="forecast", source=SOURCE, target=TARGET)
BUCKET = "arn:aws:s3:::artifacts"


def _resource_statements() -> list[dict[str, Any]]:
    return [
        LINK.group_statement(),
        LINK.bucket_statement(BUCKET).to_statement_json(),
        LINK.key_statement().to_statement_json(),
    ]


def _actions(statement: dict[str, Any]) -> set[str]:
    action = statement["Action"]
    return {action} if isinstance(action, str) else set(action)


def test_the_source_allows_what_the_target_is_granted_and_nothing_else() -> None:
    """An action on one side only would be denied across accounts, or unused."""
    statements = [*LINK.promote_statements(), LINK.recheck_statement()]
    granted = [_actions(each.to_statement_json()) for each in statements]
    allowed = [_actions(each) for each in _resource_statements()]

    assert set().union(*granted) == set().union(*allowed)
    assert set().union(*granted) == {"sagemaker:DescribeModelPackage", "s3:GetObject", "kms:Decrypt"}


def test_each_statement_of_a_resource_names_the_root_and_holds_it_to_one_role() -> None:
    """A role as principal would have to exist before the policy."""
    purposes: tuple[LinkRole, ...] = ("recheck", "promote", "promote")
    for statement, purpose in zip(_resource_statements(), purposes, strict=True):
        assert statement["Principal"] == {"AWS": "arn:aws:iam::222222222222:root"}
        assert statement["Condition"]["ArnEquals"]["aws:PrincipalArn"] == LINK.role_arn(purpose, TARGET)


def test_keys_decrypt_through_s3_of_their_region() -> None:
    """kms:ViaService names the bucket's Region, whichever Region the caller uses."""
    condition = LINK.key_statement().to_statement_json()["Condition"]

    assert condition["StringEquals"] == {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}


def test_an_organization_replaces_no_account_role_or_service() -> None:
    """The organization is an additional condition in all four resource policies, and in no role's policy."""
    asking = replace(LINK, organization="o-a1b2c3d4e5")
    plain, bound = (
        [
            link.group_statement(),
            link.bucket_statement(BUCKET).to_statement_json(),
            link.key_statement().to_statement_json(),
            dict(link.inbox_statement(sender=SOURCE, receiver=TARGET)),
        ]
        for link in (LINK, asking)
    )

    for without, with_it in zip(plain, bound, strict=True):
        equal = without["Condition"].get("StringEquals", {}) | {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}
        assert with_it == {**without, "Condition": without["Condition"] | {"StringEquals": equal}}
    granted = [[each.to_statement_json() for each in link.promote_statements()] for link in (LINK, asking)]
    assert granted[0] == granted[1]


@pytest.mark.parametrize(("sender", "receiver"), [(SOURCE, TARGET), (TARGET, SOURCE)])
def test_an_inbox_admits_the_sender_that_may_send(sender: LinkedEnvironment, receiver: LinkedEnvironment) -> None:
    """Covers both directions, with events of the unit only."""
    admitted, sent = (
        LINK.inbox_statement(sender=sender, receiver=receiver),
        LINK.send_statement(receiver).to_statement_json(),
    )

    assert admitted["Resource"] == sent["Resource"]
    assert admitted["Condition"] == {
        "ArnEquals": {"aws:PrincipalArn": LINK.role_arn("send", sender)},
        "StringEquals": {"events:source": "mlops.demand"},
    }
