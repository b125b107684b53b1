"""Validation of arguments."""

import aws_cdk as cdk
import pytest

from mlops_constructs._validation import (
    ValidationError,
    check_duration,
    check_pattern,
    check_range,
    check_whole,
    is_known,
    raise_if_any,
)


@pytest.fixture(scope="module")
def stack() -> cdk.Stack:
    """A stack."""
    return cdk.Stack(cdk.App(), "Demand")


@pytest.mark.parametrize(("value", "passes"), [(0, False), (1, True), (10, True), (11, False)])
def test_range_includes_its_bounds(value: int, passes: bool) -> None:
    """Both bounds are valid."""
    assert (check_range("size", value, minimum=1, maximum=10) is None) is passes


def test_range_says_value_allowed_and_fix() -> None:
    """The message has value, allowed range and fix."""
    problem = check_range("size", 11, minimum=1, maximum=10, fix="split the batch")

    assert problem == "size must be from 1 to 10, got 11; split the batch"


def test_a_number_token_is_not_judged(stack: cdk.Stack) -> None:
    """A token reads as -1.9e289, below every minimum, but its value is unknown."""
    token = cdk.CfnParameter(stack, "Count", type="Number").value_as_number

    assert token < 0
    assert check_range("size", token, minimum=1, maximum=10) is None
    assert check_whole("size", token, minimum=1, maximum=10) is None  # type: ignore[arg-type] # a float, as jsii gives it
    assert not is_known(token)


@pytest.mark.parametrize("value", ["5", True, None, 5.0])
def test_fails_when_a_value_is_no_whole_number(value: object) -> None:
    """Strings and booleans are no integers; integers have no fraction, not even zero."""
    problem = check_whole("size", value, minimum=1, maximum=10)  # type: ignore[arg-type] # that is the mistake

    assert problem == f"size must be a whole number from 1 to 10, got {value!r}"
    assert check_whole("size", 10, minimum=1, maximum=10) is None


@pytest.mark.parametrize("value", ["5", True])
def test_fails_when_a_value_is_no_number(value: object) -> None:
    """Reports non-numeric values like values out of range."""
    problem = check_range("size", value, minimum=1, maximum=10)  # type: ignore[arg-type] # that is the mistake

    assert problem == f"size must be from 1 to 10, got {value!r}"


def test_a_text_token_is_not_judged(stack: cdk.Stack) -> None:
    """A token is longer than its resolved string."""
    assert check_pattern("name", stack.account, pattern=r"\d{12}", allowed="12 digits") is None


def test_pattern_matches_the_whole() -> None:
    """A trailing newline does not match."""
    assert (
        check_pattern("name", "demand\n", pattern="[a-z]+", allowed="letters")
        == "name must be letters, got 'demand\\n'"
    )


@pytest.mark.parametrize(
    "check",
    [lambda: check_range("a", None, minimum=0, maximum=1), lambda: check_pattern("a", None, pattern="x", allowed="x")],
)
def test_what_is_not_given_is_not_judged(check: object) -> None:
    """Missing values are skipped, as constructs set the default."""
    assert callable(check)
    assert check() is None


def test_duration_bounds(stack: cdk.Stack) -> None:
    """Durations of different units compare by length; tokens are skipped."""
    limits = {"minimum": cdk.Duration.seconds(1), "maximum": cdk.Duration.minutes(15)}
    token = cdk.Duration.seconds(cdk.CfnParameter(stack, "Seconds", type="Number").value_as_number)

    assert check_duration("timeout", cdk.Duration.seconds(900), **limits) is None
    assert check_duration("timeout", token, **limits) is None
    problem = check_duration("timeout", cdk.Duration.hours(1), **limits)
    assert problem == "timeout must be from 1 second to 15 minutes, got 1 hour"
    problem = check_duration("timeout", 60, **limits)  # type: ignore[arg-type] # that is the mistake
    assert problem == "timeout must be a cdk.Duration such as Duration.days(90), got 60"


def test_fails_with_every_problem_at_once(stack: cdk.Stack) -> None:
    """Reports all problems in one error."""
    with pytest.raises(ValidationError, match=r"^InvalidThing: first; second \[Demand\]$"):
        raise_if_any(stack, "InvalidThing", ["first", None, "second"])


def test_passes_without_problems(stack: cdk.Stack) -> None:
    """Passed checks are no problems."""
    raise_if_any(stack, "InvalidThing", [None, None])


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
