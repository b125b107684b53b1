"""The error of the constructs."""

import aws_cdk as cdk

from mlops_constructs._errors import ValidationError


def test_message_has_code_every_problem_and_the_path() -> None:
    """The message has the rule, every problem and the construct path."""
    stack = cdk.Stack(cdk.App(), "Demand")

    error = ValidationError("InvalidThing", ["a must be 1, got 2", "b must be 3, got 4"], stack)

    assert str(error) == "InvalidThing: a must be 1, got 2; b must be 3, got 4 [Demand]"
    assert error.code == "InvalidThing"
    assert error.problems == ("a must be 1, got 2", "b must be 3, got 4")


def test_is_a_value_error() -> None:
    """Callers may catch the builtin error."""
    assert isinstance(ValidationError("X", ["y"]), ValueError)
