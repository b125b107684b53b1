"""Who may ask an API: callers that sign with IAM, callers with tokens of Cognito, or both."""

from dataclasses import dataclass

from aws_cdk.aws_cognito import IUserPool

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern

# https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-define-resource-servers.html
_SCOPE = r"[!#-.0-\[\]-~]+/[!#-.0-\[\]-~]+"


@checked("InvalidAccess")
@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Say who may ask an API. Make one by `iam`, `cognito`, `both` or `keys`.

    Args:
        signs: Whether callers sign their requests with IAM.
        pool: User pool whose access tokens are taken. Default: none.
        scope: Scope that a token must have. Default: none.

    Example:
        >>> Access.iam().signs
        True
    """

    signs: bool
    pool: IUserPool | None = None
    scope: str | None = None

    @classmethod
    def iam(cls) -> "Access":
        """Let callers sign with IAM: `InferenceApi.grant_predict` says who may ask which model."""
        return cls(signs=True)

    @classmethod
    def cognito(cls, pool: IUserPool, *, scope: str) -> "Access":
        """Let callers bring access tokens of a user pool.

        Args:
            pool: The user pool.
            scope: Scope that a token must have, as Cognito writes it: ``<resource server>/<scope>``. Without a scope API Gateway
                takes ID tokens alone, which are for programs of the person.

        Raises:
            ValidationError: If no token of Cognito could have the scope.

        See: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-integrate-with-cognito.html
        """
        return cls(signs=False, pool=pool, scope=_scope(scope))

    @classmethod
    def both(cls, pool: IUserPool, *, scope: str) -> "Access":
        """Let callers sign with IAM, below ``/v1/models``, or bring access tokens, below ``/v1/token/models``.

        A method of API Gateway knows one kind of callers, so the two have paths of their own.

        Args:
            pool: The user pool.
            scope: As for `cognito`.

        Raises:
            ValidationError: As for `cognito`.
        """
        return cls(signs=True, pool=pool, scope=_scope(scope))

    @classmethod
    def keys(cls) -> "Access":
        """Let callers bring a key of a plan alone. A key identifies and does not authenticate: PRODUCTION refuses this."""
        return cls(signs=False)

    @property
    def is_by_key(self) -> bool:
        """Whether a key alone opens the API."""
        return not self.signs and self.pool is None


def _scope(scope: str) -> str:
    allowed = "'<resource server>/<scope>', as access tokens of Cognito name it"
    problem = check_pattern("scope", scope, pattern=_SCOPE, allowed=allowed)
    if problem is not None:
        raise ValidationError("InvalidAccess", [problem])
    return scope
