"""Environments by name, and stacks that can be their neighbors."""

import aws_cdk as cdk
import pytest

from mlops_constructs import Environment, ValidationError
from mlops_constructs.promotion.environment import neighbour_problems

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")


def test_an_environment_is_what_a_stack_takes() -> None:
    """Has the stack's env and the value that names derive from."""
    stack = cdk.Stack(cdk.App(), "Build", env=BUILD.cdk)

    assert (stack.account, stack.region) == (BUILD.linked.account, BUILD.linked.region) == ("111111111111", "eu-west-1")


def test_every_value_is_checked_at_once() -> None:
    """Rejects invalid names, accounts and Regions."""
    with pytest.raises(ValidationError) as error:
        Environment("Prod!", account="1234", region="Ireland")

    assert [name in str(error.value) for name in ("'Prod!'", "'1234'", "'Ireland'")] == [True] * 3


def test_a_token_is_refused() -> None:
    """Policies of the other account contain these values."""
    with pytest.raises(ValidationError, match=r"account must be known at synthesis.*write it out"):
        Environment("build", account=cdk.Aws.ACCOUNT_ID, region="eu-west-1")


@pytest.mark.parametrize(
    ("env", "others", "problem"),
    [
        (None, [STAGING], "must have an explicit account and Region"),
        (BUILD.cdk, [STAGING, Environment("other", account="222222222222", region="eu-west-1")], "list each once"),
        (
            BUILD.cdk,
            [STAGING, Environment("staging", account="3" * 12, region="eu-west-1")],
            "give them different names",
        ),
        (BUILD.cdk, [Environment("self", account="111111111111", region="eu-west-1")], "own account and Region"),
        (BUILD.cdk, [Environment("china", account="2" * 12, region="cn-north-1")], "got aws, aws-cn"),
    ],
)
def test_what_can_be_no_neighbour_is_named(
    env: cdk.Environment | None, others: list[Environment], problem: str
) -> None:
    """Rejects a stack without an account, duplicates, itself, and another partition."""
    (found,) = neighbour_problems(cdk.Stack(cdk.App(), "S", env=env), others=others)

    assert problem in found


def test_another_region_of_the_account_is_a_neighbour() -> None:
    """An environment is an account and a Region."""
    recovery = Environment("recovery", account="111111111111", region="eu-central-1")

    assert neighbour_problems(cdk.Stack(cdk.App(), "S", env=BUILD.cdk), others=[STAGING, recovery]) == []
