"""Callers of an API."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cognito as cognito

from mlops_constructs import Access, ValidationError


def test_kinds_of_callers() -> None:
    """PRODUCTION rejects callers with API keys alone."""
    pool = cognito.UserPool.from_user_pool_id(cdk.Stack(), "Pool", "us-east-1_abcdefghi")

    assert [Access.iam().signs, Access.both(pool, scope="models/predict").signs] == [True, True]
    assert not Access.cognito(pool, scope="models/predict").signs
    assert [each.is_by_key for each in (Access.iam(), Access.cognito(pool, scope="a/b"), Access.keys())] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("scope", ["predict", "models/", "/predict", "a/b c", ""])
def test_a_scope_that_no_token_has(scope: str) -> None:
    """Cognito prefixes a custom scope with its resource server."""
    pool = cognito.UserPool.from_user_pool_id(cdk.Stack(), "Pool", "us-east-1_abcdefghi")

    with pytest.raises(ValidationError, match="scope must be '<resource server>/<scope>'"):
        Access.both(pool, scope=scope)
