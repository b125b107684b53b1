"""Claims identify one person with the roles of their groups, or are rejected with the fix."""

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.console.route import Role
from mlops_runtime.console.signed_in_person import ClaimsError, person, session_of

# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
STS = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
ANN = {"token_use": "access", "username": "ann", "auth_time": "1000"}
# names that look like those that others get
NAMES = (
    st.text(min_size=1, max_size=128) | st.text("=-ab", min_size=1, max_size=70) | st.text(min_size=1).map(session_of)
)


def context(**claims: str) -> dict[str, Any]:
    """Return what API Gateway says of a request."""
    return {"authorizer": {"claims": ANN | claims}, "requestTimeEpoch": 1_900_000}


@pytest.mark.parametrize(
    ("groups", "roles"),
    [
        ("reader", [Role.READER]),
        ("on-call", [Role.READER, Role.ON_CALL]),
        ("shop,approver", [Role.READER, Role.APPROVER]),
        ("[approver on-call]", [Role.READER, Role.ON_CALL, Role.APPROVER]),
    ],
)
def test_groups_are_roles_and_whoever_may_anything_reads(groups: str, roles: list[Role]) -> None:
    """In each form in which gateways write a list."""
    found = person(context(**{"cognito:groups": groups}), offered=tuple(Role))

    assert (found.name, list(found.roles), found.signed_in) == ("ann", roles, timedelta(minutes=15))


def test_a_role_that_the_console_does_not_take_is_not_offered() -> None:
    """To members of its group either."""
    found = person(context(**{"cognito:groups": "approver,on-call"}), offered=(Role.READER, Role.ON_CALL))

    assert found.roles == (Role.READER, Role.ON_CALL)


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        ({"cognito:groups": ""}, 403, "add you to one of reader, on-call, approver, then sign in again"),
        ({"cognito:groups": "on-caller,readers"}, 403, "ann is in none of the console's groups"),
        ({"token_use": "id", "cognito:groups": "reader"}, 401, "requires the access token .* got a token of kind id"),
        ({"username": "", "cognito:groups": "reader"}, 401, "to a program, not to a user"),
    ],
)
def test_fails_on_claims_of_another_kind(claims: dict[str, str], status: int, message: str) -> None:
    """With what to do."""
    with pytest.raises(ClaimsError, match=message) as error:
        person(context(**claims), offered=tuple(Role))

    assert error.value.status == status


@pytest.mark.parametrize("bare", [{}, {"authorizer": None}, {"authorizer": {"principalId": "x"}}])
def test_fails_without_claims(bare: dict[str, Any]) -> None:
    """Of an authorizer."""
    with pytest.raises(ClaimsError, match="has no verified token"):
        person(bare, offered=tuple(Role))


@pytest.mark.parametrize("at", ["", "yesterday", "9" * 30])
def test_a_sign_in_at_an_unknown_time_is_old(at: str) -> None:
    """So that nothing grave is done by it."""
    found = person(context(auth_time=at, **{"cognito:groups": "reader"}), offered=tuple(Role))

    assert found.signed_in == timedelta.max


@given(NAMES, NAMES)
def test_no_two_people_share_a_session_name(one: str, other: str) -> None:
    """AWS takes each."""
    assert STS.fullmatch(session_of(one))
    assert (session_of(one) == session_of(other)) is (one == other)
