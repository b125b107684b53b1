"""The person of an access token of Cognito, by the claims that API Gateway has verified."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_runtime.console.route import Role

# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: of RoleSessionName and SourceIdentity, less the =
_NAME = re.compile(r"[\w+,.@-]{2,64}", re.ASCII)
_OTHER = re.compile(r"[^\w+,.@-]", re.ASCII)


class ClaimsError(Exception):
    """The claims are not of a person who may use the console.

    Args:
        status: Of HTTP: 401 if another token helps, 403 if not.
        detail: What is wrong, and the fix.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who has signed in.

    Args:
        name: The user of the pool, which stays the same while attributes such as an address change.
        roles: What their groups allow, in the order of ``Role``; each person with one may read too.
        signed_in: How long ago they signed in; tokens that are refreshed keep that time.
    """

    name: str
    roles: tuple[Role, ...]
    signed_in: timedelta

    @property
    def session(self) -> str:
        """The name that sessions of AWS get: of no two persons the same."""
        return session_of(self.name)


def person(context: Mapping[str, Any], *, offered: tuple[Role, ...]) -> Person:
    """Return the person of a request.

    Access tokens are taken, not ID tokens: these say to the pages who has signed in, those are made for APIs, of one scope.
    A group counts that has the name of a role: ``reader``, ``on-call`` or ``approver``.

    Args:
        context: ``requestContext`` of an event of API Gateway's REST API with a Cognito authorizer.
        offered: Roles that the console takes.

    Raises:
        ClaimsError: Without claims, for an ID token, or if no group is a role.

    Example:
        >>> claims = {"token_use": "access", "username": "ann", "cognito:groups": "on-call", "auth_time": "1500"}
        >>> found = person({"authorizer": {"claims": claims}, "requestTimeEpoch": 1560_000}, offered=tuple(Role))
        >>> found.name, [role.value for role in found.roles], found.signed_in.total_seconds()
        ('ann', ['reader', 'on-call'], 60.0)
    """
    claims: Mapping[str, str] = (context.get("authorizer") or {}).get("claims") or {}
    if not claims:
        raise ClaimsError(401, "the request came without a token that was checked; sign in again")
    if claims.get("token_use") != "access":
        kind = claims.get("token_use", "unknown")
        raise ClaimsError(401, f"the API takes the access token of the console's sign-in, got a token of kind {kind}")
    name = claims.get("username", "")
    if not name:
        raise ClaimsError(401, "the token is of a program, not of a person; sign in with a user of the pool")
    groups = _groups(claims.get("cognito:groups", ""))
    had = {role for role in offered if role.value in groups}
    if not had:
        wanted = ", ".join(role.value for role in offered)
        raise ClaimsError(
            403,
            f"{name} is in no group that the console knows; ask who keeps the user pool to add you to one of {wanted}, then "
            "sign in again",
        )
    roles = tuple(role for role in offered if role in had or role is Role.READER)
    return Person(name=name, roles=roles, signed_in=_since(context, claims))


def session_of(name: str) -> str:
    """Return the name of a person's sessions: the name itself if AWS takes it, else what it takes of it and a hash of all.

    No two persons get the same: a hash follows a ``=``, which a name that is kept does not have.

    Example:
        >>> session_of("ann@example.com"), session_of("Ann Ek")
        ('ann@example.com', 'Ann-Ek=0f2448c56ea66b48478389b90caa8e44')
    """
    if _NAME.fullmatch(name) is not None:
        return name
    return f"{_OTHER.sub('-', name)[:31]}={hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _groups(claim: str) -> frozenset[str]:
    """Return the groups: the gateway writes a list as text, a REST API with commas, an HTTP API as ``[a b]``.

    Names of groups have no space, which CreateGroup refuses.
    """
    # claim: gateway-writes-claims-as-text
    return frozenset(re.split(r"[,\s]+", claim.strip().removeprefix("[").removesuffix("]")))


def _since(context: Mapping[str, Any], claims: Mapping[str, str]) -> timedelta:
    try:
        at = timedelta(milliseconds=int(context["requestTimeEpoch"]))
        return at - timedelta(seconds=int(claims["auth_time"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return timedelta.max  # it is not known: what needs a recent sign-in is refused
