"""Checks of arguments."""

import aws_cdk as cdk
import pytest

from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_pattern, check_range, is_known, raise_if_any


@pytest.fixture(scope="module")
def stack() -> cdk.Stack:
    """A stack."""
    return cdk.Stack(cdk.App(), "Demand")


@pytest.mark.parametrize(("value", "passes"), [(0, False), (1, True), (10, True), (11, False)])
def test_range_includes_its_bounds(value: int, passes: bool) -> None:
    """Both bounds are allowed."""
    assert (check_range("size", value, minimum=1, maximum=10) is None) is passes


def test_range_says_value_allowed_and_fix() -> None:
    """The message suffices to put it right."""
    problem = check_range("size", 11, minimum=1, maximum=10, fix="split the batch")

    assert problem == "size must be from 1 to 10, got 11; split the batch"


def test_a_number_token_is_not_judged(stack: cdk.Stack) -> None:
    """A token reads as -1.9e289, below every minimum, but its value is not known."""
    token = cdk.CfnParameter(stack, "Count", type="Number").value_as_number

    assert token < 0
    assert check_range("size", token, minimum=1, maximum=10) is None
    assert not is_known(token)


def test_a_text_token_is_not_judged(stack: cdk.Stack) -> None:
    """A token is longer than the text that it stands for."""
    assert check_pattern("name", stack.account, pattern=r"\d{12}", allowed="12 digits") is None


def test_pattern_matches_the_whole() -> None:
    """A newline at the end is no escape."""
    assert (
        check_pattern("name", "demand\n", pattern="[a-z]+", allowed="letters")
        == "name must be letters, got 'demand\\n'"
    )


@pytest.mark.parametrize(
    "check",
    [lambda: check_range("a", None, minimum=0, maximum=1), lambda: check_pattern("a", None, pattern="x", allowed="x")],
)
def test_what_is_not_given_is_not_judged(check: object) -> None:
    """The default is the construct's business."""
    assert callable(check)
    assert check() is None


def test_duration_bounds(stack: cdk.Stack) -> None:
    """Durations of different units compare by length; tokens are left alone."""
    limits = {"minimum": cdk.Duration.seconds(1), "maximum": cdk.Duration.minutes(15)}
    token = cdk.Duration.seconds(cdk.CfnParameter(stack, "Seconds", type="Number").value_as_number)

    assert check_duration("timeout", cdk.Duration.seconds(900), **limits) is None
    assert check_duration("timeout", token, **limits) is None
    problem = check_duration("timeout", cdk.Duration.hours(1), **limits)
    assert problem == "timeout must be from 1 second to 15 minutes, got 1 hour"


def test_fails_with_every_problem_at_once(stack: cdk.Stack) -> None:
    """One run shows all that is wrong."""
    with pytest.raises(ValidationError, match=r"^InvalidThing: first; second \[Demand\]$"):
        raise_if_any(stack, "InvalidThing", ["first", None, "second"])


def test_passes_without_problems(stack: cdk.Stack) -> None:
    """Checks that passed are no problem."""
    raise_if_any(stack, "InvalidThing", [None, None])
