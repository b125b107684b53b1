"""Who approves."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from mlops_constructs import Approval, ValidationError


def test_automatic_asks_nobody() -> None:
    """The gate's verdict is enough; a person may approve what the machine left."""
    role = iam.Role.from_role_arn(cdk.Stack(cdk.App(), "S"), "R", "arn:aws:iam::123456789012:role/Lead")

    assert Approval.automatic() == Approval(is_automatic=True)
    assert Approval.automatic(approver=role).approver is role


def test_manual_may_name_topic_timeout_and_approver() -> None:
    """Without them: the unit's topic, 7 days, a role of the registry."""
    stack = cdk.Stack(cdk.App(), "S")
    topic = sns.Topic(stack, "Topic")
    role = iam.Role(stack, "R", assumed_by=iam.AccountRootPrincipal())
    approval = Approval.manual(topic=topic, timeout=cdk.Duration.days(2), approver=role)

    assert (approval.topic, approval.approver) == (topic, role)
    assert approval.timeout is not None
    assert approval.timeout.to_days() == 2
    assert Approval.manual() == Approval(is_automatic=False)


@pytest.mark.parametrize("timeout", [cdk.Duration.minutes(59), cdk.Duration.days(366)])
def test_fails_on_a_timeout_that_nobody_keeps(timeout: cdk.Duration) -> None:
    """Shorter than a meeting, longer than a model's life."""
    with pytest.raises(ValidationError, match="InvalidApproval: timeout must be from 1 hour to 365 days"):
        Approval.manual(timeout=timeout)


@pytest.mark.parametrize("timeout", [cdk.Duration.hours(1), cdk.Duration.days(365)])
def test_bounds_of_the_timeout_are_allowed(timeout: cdk.Duration) -> None:
    """Both ends."""
    assert Approval.manual(timeout=timeout).timeout is timeout


def test_fails_on_a_timeout_that_is_only_known_at_deployment() -> None:
    """The rule and the message to people are written at synthesis, in seconds and days."""
    parameter = cdk.CfnParameter(cdk.Stack(cdk.App(), "S"), "Days", type="Number")

    with pytest.raises(ValidationError, match=r"timeout must be .*, got a Duration that is only known at deployment"):
        Approval.manual(timeout=cdk.Duration.days(parameter.value_as_number))
