"""What a body may say."""

import pytest

from mlops_runtime.console.write_requests import ClockBody, PauseBody
from mlops_runtime.contracts import ContractError, from_dict, json_schema


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        ("", "must not be blank"),
        (" \u00a0", "must not be blank"),
        ("x" * 501, "at most 500 characters, got 501"),
        ("a\nb", "one line"),
        ("a\u2028b", "one line"),
        ("a\x00b", "one line"),
        ("\ud800", "surrogates"),
    ],
)
def test_a_reason_is_one_line_that_says_something(reason: str, problem: str) -> None:
    """It goes on the record as it is."""
    with pytest.raises(ContractError, match=problem):
        from_dict(PauseBody, {"reason": reason, "expect": {"sequence": 1}})


def test_every_problem_is_named_at_once() -> None:
    """With its path."""
    with pytest.raises(ContractError, match=r"\$\.reason is missing; \$\.expect\.sequence must be an integer, got '1'"):
        from_dict(PauseBody, {"expect": {"sequence": "1"}})


def test_bounds_are_in_the_schema() -> None:
    """So that a client that is generated of it checks them before it asks."""
    assert json_schema(PauseBody)["properties"]["reason"]["maxLength"] == 500
    assert json_schema(ClockBody)["properties"]["minutes"] == {"type": "integer", "minimum": 1, "maximum": 132480}
