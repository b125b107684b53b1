"""What a body may say."""

import pytest

from mlops_runtime.console.http_message import RefusedRequestError
from mlops_runtime.console.write_requests import ClockBody, PauseBody, read_body
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"reason": "", "expect": {"sequence": 1}}', "reason must not be blank; it is stored in the audit record"),
        (
            b'{"reason": "x", "expect": {"sequence": 1, "to": 2}, "until": 3}',
            "expect.to is not a field of expect; omit it, allowed are: sequence; "
            "until is not a field of the body; omit it, allowed are: reason, expect",
        ),
        (
            b'{"expect": {"sequence": "1"}, "a": 1}',
            "reason is missing; expect.sequence must be an integer, got '1'; a is",
        ),
        (b"[]", "the body must be an object, got []"),
        (b"{", "the body is not JSON: "),
        (b"[" * 100_000, "the body is not JSON: "),
        (b'{"reason": "x", "expect": {"sequence": 1e999}}', "expect.sequence must be an integer"),
    ],
)
def test_a_person_reads_what_is_wrong_with_a_body(content: bytes, message: str) -> None:
    """Every problem at once, without a name of our code; what is not known is refused, as it may be a wish."""
    with pytest.raises(RefusedRequestError) as refused:
        read_body(PauseBody, content)

    assert (refused.value.status, refused.value.detail.startswith(message)) == (422, True), refused.value.detail
    assert "PauseBody" not in refused.value.detail
