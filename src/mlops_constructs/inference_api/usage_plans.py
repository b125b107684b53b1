"""``Quota`` of calls with an API key."""

from dataclasses import dataclass

from aws_cdk import aws_apigateway as gateway

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError, check_whole

_MOST = 2**31 - 1


@checked("InvalidQuota")
@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Number of calls that an API key of a plan may make in a period.

    API Gateway enforces quotas on a best-effort basis and may allow more calls, so they cannot control costs.

    See: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html

    Args:
        calls: Maximum number of calls.
        period: Day, week or month.

    Example:
        >>> Quota.per_day(50_000).calls
        50000
    """

    calls: int
    period: gateway.Period

    def __post_init__(self) -> None:
        problem = check_whole("calls", self.calls, minimum=1, maximum=_MOST)
        if problem is not None:
            raise ValidationError("InvalidQuota", [problem])

    @classmethod
    def per_day(cls, calls: int) -> "Quota":
        """Return a quota of calls per UTC day."""
        return cls(calls=calls, period=gateway.Period.DAY)

    @classmethod
    def per_week(cls, calls: int) -> "Quota":
        """Return a quota of calls per week."""
        return cls(calls=calls, period=gateway.Period.WEEK)

    @classmethod
    def per_month(cls, calls: int) -> "Quota":
        """Return a quota of calls per month."""
        return cls(calls=calls, period=gateway.Period.MONTH)
