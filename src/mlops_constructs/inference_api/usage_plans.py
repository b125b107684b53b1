"""How much callers with keys may ask for: rates and quotas, best effort as API Gateway keeps them."""

from dataclasses import dataclass

from aws_cdk import aws_apigateway as gateway

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_whole

_MOST = 2**31 - 1


@checked("InvalidQuota")
@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Say how many calls a key of a plan may make in a span of time.

    API Gateway keeps quotas by best effort, and lets some calls more through: they bound a partner's use, not a bill.
    See: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html

    Args:
        calls: How many.
        period: In which span.

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
        """Let a key make so many calls a day, of UTC."""
        return cls(calls=calls, period=gateway.Period.DAY)

    @classmethod
    def per_week(cls, calls: int) -> "Quota":
        """Let a key make so many calls a week."""
        return cls(calls=calls, period=gateway.Period.WEEK)

    @classmethod
    def per_month(cls, calls: int) -> "Quota":
        """Let a key make so many calls a month."""
        return cls(calls=calls, period=gateway.Period.MONTH)
