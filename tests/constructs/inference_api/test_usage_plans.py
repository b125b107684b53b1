"""Quotas of usage plans."""

import pytest
from aws_cdk import aws_apigateway as gateway

from mlops_constructs import Quota, ValidationError


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
