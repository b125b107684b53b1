"""Warnings of the constructs."""

import aws_cdk as cdk
from aws_cdk.assertions import Annotations, Match

from mlops_constructs._warnings import ALL_WARNINGS, DEVELOPMENT_DESTROYS_DATA, counted, warn


def test_a_warning_carries_its_id_and_values() -> None:
    """The message has the id to acknowledge."""
    stack = cdk.Stack(cdk.App(), "Demand")

    warn(stack, DEVELOPMENT_DESTROYS_DATA, unit="demand")

    text = Match.string_like_regexp(r"unit 'demand'.*\[ack: mlops-constructs:BusinessUnit\.developmentDestroysData\]")
    Annotations.from_stack(stack).has_warning("/Demand", text)


def test_an_acknowledged_warning_is_silent() -> None:
    """Acknowledging the id removes the warning."""
    stack = cdk.Stack(cdk.App(), "Demand")
    cdk.Annotations.of(stack).acknowledge_warning(DEVELOPMENT_DESTROYS_DATA.id)

    warn(stack, DEVELOPMENT_DESTROYS_DATA, unit="demand")

    Annotations.from_stack(stack).has_no_warning("/Demand", Match.any_value())


def test_one_is_singular() -> None:
    """Messages use singular or plural without brackets."""
    assert [counted(number, "zone") for number in (0, 1, 2)] == ["0 zones", "1 zone", "2 zones"]


def test_ids_are_distinct_and_ours() -> None:
    """Each id has one meaning."""
    ids = [warning.id for warning in ALL_WARNINGS]

    assert len(set(ids)) == len(ids)
    assert all(i.startswith("mlops-constructs:") for i in ids)
