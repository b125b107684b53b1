"""Claims that tokens keep from their sign-in: its time, also after refreshes; groups are always current."""

import contextvars
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from ministack.services import cognito

# claims for the tokens that are being created
_kept: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar("mlops_kept_claims", default=None)


def install() -> None:
    """Install the claims."""
    cognito._fake_token = partial(_made_token, cognito._fake_token)
    cognito._signed_jwt = partial(_signed_token, cognito._signed_jwt)
    cognito._oauth2_token = partial(_exchanged, cognito._oauth2_token)
    cognito._refresh_auth_result = partial(_refreshed, cognito._refresh_auth_result)


def form(body: bytes) -> dict[str, str]:
    """Return the first value of each field of a form."""
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


@contextmanager
def keeping(claims: Mapping[str, Any]) -> Iterator[None]:
    """Create tokens inside with the time of a sign-in, and refresh tokens with the previous one's expiry."""
    reset = _kept.set({name: claims[name] for name in ("auth_time", "exp") if name in claims})
    try:
        yield
    finally:
        _kept.reset(reset)


def _made_token(make: Any, sub: str, pool_id: str, client_id: str, token_type: str = "access", **more: Any) -> str:  # noqa: S107
    if more.get("trigger_source") == "TokenGeneration_RefreshTokens" and more.get("groups") is None:
        # claim: cognito-refreshed-tokens-have-groups
        users = (cognito._get_pool_unscoped(pool_id) or {}).get("_users") or {}
        more["groups"] = (users.get(more.get("username")) or {}).get("_groups")
    return str(make(sub, pool_id, client_id, token_type, **more))


def _signed_token(sign: Any, claims: dict[str, Any], pool_id: str = "", use: str = "") -> str:
    # claim: cognito-keeps-the-time-of-the-sign-in
    kept = _kept.get() or {}
    times = {"auth_time": kept.get("auth_time", claims.get("auth_time", claims.get("iat")))}
    if claims.get("token_use") == "refresh" and "exp" in kept:
        times["exp"] = kept["exp"]  # a new refresh token expires with the previous one
    return str(sign({**claims, **times}, pool_id, use))


def _exchanged(exchange: Any, data: Any, query: Any, raw_body: bytes = b"", headers: Any = None) -> Any:
    given = form(raw_body)
    kept: Mapping[str, Any] = {}
    if given.get("grant_type") == "authorization_code":
        kept = cognito._authorization_codes.get(given.get("code", "")) or {}
    elif given.get("grant_type") == "refresh_token":
        kept = cognito._token_claims(given.get("refresh_token", "")) or {}
        # claim: cognito-refresh-tokens-are-of-one-client
        if time.time() >= kept.get("exp", 0) or given.get("client_id", kept["client_id"]) != kept["client_id"]:
            return cognito._oauth2_error("invalid_grant", "Invalid refresh token.")
    with keeping(kept):
        return exchange(data, query, raw_body, headers)


def _refreshed(refresh: Any, pool: Any, pool_id: str, client_id: str, token: str) -> Any:
    with keeping(cognito._token_claims(token) or {}):
        return refresh(pool, pool_id, client_id, token)
