"""The user of a Cognito access token, from the claims that API Gateway has verified."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_runtime.console.route import Role

# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: RoleSessionName and SourceIdentity, without "="
_NAME = re.compile(r"[\w+,.@-]{2,64}", re.ASCII)
_OTHER = re.compile(r"[^\w+,.@-]", re.ASCII)


class ClaimsError(Exception):
    """The claims do not belong to a user of the console.

    Args:
        status: HTTP status code: 401 if another token would help, else 403.
        detail: The problem and its fix.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A signed-in user."""

    name: str  # user name in the pool, which never changes, unlike attributes such as the e-mail address
    roles: tuple[Role, ...]  # roles from the user's groups, in the order of `Role`; every role includes the reader role
    signed_in: timedelta  # time since the sign-in; refreshed tokens keep the time of the sign-in

    @property
    def session(self) -> str:
        """Name of the user's AWS sessions, unique for each user."""
        return session_of(self.name)


def person(context: Mapping[str, Any], *, offered: tuple[Role, ...]) -> Person:
    """Return the user of a request.

    Only access tokens are accepted, which are for APIs and have a scope; ID tokens are for the pages.
    Groups with the name of a role count: ``reader``, ``on-call`` or ``approver``.

    Args:
        context: ``requestContext`` of a REST API's event with a Cognito authorizer.
        offered: Roles that the console offers.

    Raises:
        ClaimsError: Without claims, for an ID token, or if no group is an offered role.

    Example:
        >>> claims = {"token_use": "access", "username": "ann", "cognito:groups": "on-call", "auth_time": "1500"}
        >>> found = person({"authorizer": {"claims": claims}, "requestTimeEpoch": 1560_000}, offered=tuple(Role))
        >>> found.name, [role.value for role in found.roles], found.signed_in.total_seconds()
        ('ann', ['reader', 'on-call'], 60.0)
    """
    claims: Mapping[str, str] = (context.get("authorizer") or {}).get("claims") or {}
    if not claims:
        raise ClaimsError(401, "the request has no verified token; sign in again")
    if claims.get("token_use") != "access":
        kind = claims.get("token_use", "unknown")
        raise ClaimsError(
            401, f"the API requires the access token of the console's sign-in, got a token of kind {kind}"
        )
    name = claims.get("username", "")
    if not name:
        raise ClaimsError(401, "the token belongs to a program, not to a user; sign in with a user of the pool")
    groups = _groups(claims.get("cognito:groups", ""))
    had = {role for role in offered if role.value in groups}
    if not had:
        wanted = ", ".join(role.value for role in offered)
        raise ClaimsError(
            403,
            f"{name} is in none of the console's groups; ask the user pool's administrator to add you to one of {wanted}, then "
            "sign in again",
        )
    roles = tuple(role for role in offered if role in had or role is Role.READER)
    return Person(name=name, roles=roles, signed_in=_since(context, claims))


def session_of(name: str) -> str:
    """Return the session name of a user: the user name if AWS accepts it, else its valid characters and a hash.

    Session names are unique: the hash follows a ``=``, which accepted user names do not contain.

    Example:
        >>> session_of("ann@example.com"), session_of("Ann Ek")
        ('ann@example.com', 'Ann-Ek=0f2448c56ea66b48478389b90caa8e44')
    """
    if _NAME.fullmatch(name) is not None:
        return name
    return f"{_OTHER.sub('-', name)[:31]}={hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _groups(claim: str) -> frozenset[str]:
    """Return the groups from the gateway's string: separated by commas for REST APIs, ``[a b]`` for HTTP APIs.

    Group names contain no spaces, since CreateGroup refuses these.
    """
    # claim: gateway-writes-claims-as-text
    return frozenset(re.split(r"[,\s]+", claim.strip().removeprefix("[").removesuffix("]")))


def _since(context: Mapping[str, Any], claims: Mapping[str, str]) -> timedelta:
    try:
        at = timedelta(milliseconds=int(context["requestTimeEpoch"]))
        return at - timedelta(seconds=int(claims["auth_time"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return timedelta.max  # unknown: operations that require a recent sign-in are refused
