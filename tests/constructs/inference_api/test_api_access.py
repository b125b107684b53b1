"""Access of an API: tokens and signatures, and quotas of API keys."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_cognito as cognito

from mlops_constructs import Access, Quota, ValidationError


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


def test_spans_of_a_quota() -> None:
    """Accepts API Gateway's periods."""
    assert [Quota.per_day(1).period, Quota.per_week(1).period, Quota.per_month(1).period] == [
        gateway.Period.DAY,
        gateway.Period.WEEK,
        gateway.Period.MONTH,
    ]


@pytest.mark.parametrize("calls", [0, 2**31, 1.5])
def test_a_number_that_cannot_be(calls: int) -> None:
    """Requires whole numbers from one."""
    with pytest.raises(ValidationError, match="calls must be a whole number"):
        Quota.per_day(calls)
