"""Access of callers to an API: authorization by IAM, by Cognito tokens or by both, and quotas of API keys."""

from dataclasses import dataclass

from aws_cdk import aws_apigateway as gateway
from aws_cdk.aws_cognito import IUserPool

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError, check_pattern, check_whole

# https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-define-resource-servers.html
_SCOPE = r"[!#-.0-\[\]-~]+/[!#-.0-\[\]-~]+"
_MOST_CALLS = 2**31 - 1


@checked("InvalidAccess")
@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Authorization of an API's callers. Use `iam`, `cognito`, `both` or `keys`.

    Args:
        signs: Whether callers sign their requests with IAM.
        pool: User pool whose access tokens are accepted. Default: none.
        scope: Scope that tokens must have. Default: none.

    Example:
        >>> Access.iam().signs
        True
    """

    signs: bool
    pool: IUserPool | None = None
    scope: str | None = None

    @classmethod
    def iam(cls) -> "Access":
        """Requests signed with IAM; `InferenceApi.grant_predict` authorizes callers per model."""
        return cls(signs=True)

    @classmethod
    def cognito(cls, pool: IUserPool, *, scope: str) -> "Access":
        """Access tokens of a Cognito user pool.

        Args:
            pool: The user pool.
            scope: Scope that a token must have, in Cognito's form ``<resource server>/<scope>``. It is required, as without a scope
                API Gateway accepts only ID tokens.

        Raises:
            ValidationError: If the scope is malformed.

        See: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-integrate-with-cognito.html
        """
        return cls(signs=False, pool=pool, scope=_scope(scope))

    @classmethod
    def both(cls, pool: IUserPool, *, scope: str) -> "Access":
        """Requests signed with IAM below ``/v1/models``, and access tokens below ``/v1/token/models``.

        A method of API Gateway supports one type of authorization, so the two have separate paths.

        Args:
            pool: The user pool.
            scope: Scope that a token must have; see `cognito`.

        Raises:
            ValidationError: If the scope is malformed.
        """
        return cls(signs=True, pool=pool, scope=_scope(scope))

    @classmethod
    def keys(cls) -> "Access":
        """API keys of usage plans only. Keys identify callers but do not authenticate them: not allowed in PRODUCTION."""
        return cls(signs=False)

    @property
    def is_by_key(self) -> bool:
        """Whether callers only need an API key."""
        return not self.signs and self.pool is None


def _scope(scope: str) -> str:
    allowed = "'<resource server>/<scope>', as in Cognito's access tokens"
    problem = check_pattern("scope", scope, pattern=_SCOPE, allowed=allowed)
    if problem is not None:
        raise ValidationError("InvalidAccess", [problem])
    return scope


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
        problem = check_whole("calls", self.calls, minimum=1, maximum=_MOST_CALLS)
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
