"""Rotation of refresh tokens if the app client enables it, and their revocation by ``/oauth2/revoke``."""

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from ministack import app
from ministack.core.responses import error_response_json, json_response
from ministack.services import cognito

from mlops_local.cognito.pool_settings import ROTATION
from mlops_local.cognito.refreshed_tokens import form, keeping
from mlops_local.saved_state import kept_stores

# replacement time of each old token
_rotated: dict[str, float] = kept_stores.keep(__name__, "_rotated", {})
_FLOWS = {"REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"}


def install() -> None:
    """Install rotation and revocation."""
    cognito._oauth2_token = partial(_exchanged, cognito._oauth2_token)
    cognito._get_tokens_from_refresh_token = partial(_refreshed, cognito._get_tokens_from_refresh_token)
    cognito._initiate_auth = partial(_initiated, cognito._initiate_auth)
    cognito._admin_initiate_auth = partial(_initiated, cognito._admin_initiate_auth)
    app._handle_cognito_body_request = partial(_handled, app._handle_cognito_body_request)


def _rotation(client_id: str) -> dict[str, Any]:
    return (cognito._find_pool_by_client_id(client_id)[2] or {}).get(ROTATION) or {}


def _is_over(old: str, claims: Mapping[str, Any]) -> bool:
    """Return whether a token was replaced and its grace period has ended."""
    grace = int(_rotation(claims.get("client_id", "")).get("RetryGracePeriodSeconds", 0))
    return old in _rotated and time.time() > _rotated[old] + grace


def _replaced(old: str, claims: Mapping[str, Any]) -> str | None:
    """Return the token's successor; ``None`` if the client does not rotate."""
    if _rotation(claims["client_id"]).get("Feature") != "ENABLED":
        return None
    pool_id = cognito._find_pool_by_client_id(claims["client_id"])[0]
    with keeping(claims):
        new: str = cognito._fake_token(
            claims["sub"], pool_id, claims["client_id"], "refresh", origin_jti=claims["origin_jti"],
            scope=claims.get("scope"),
        )  # fmt: skip
    if old in cognito._refresh_tokens:
        cognito._refresh_tokens[new] = dict(cognito._refresh_tokens[old])
    _rotated.setdefault(old, time.time())
    return new


def _exchanged(exchange: Any, data: Any, query: Any, raw_body: bytes = b"", headers: Any = None) -> Any:
    given = form(raw_body)
    old = given.get("refresh_token", "")
    if given.get("grant_type") != "refresh_token":
        return exchange(data, query, raw_body, headers)
    claims = cognito._token_claims(old) or {}
    # claim: cognito-rotates-refresh-tokens
    if _is_over(old, claims):
        return cognito._oauth2_error("invalid_grant", "Refresh token has been rotated.")
    status, found, content = exchange(data, query, raw_body, headers)
    new = _replaced(old, claims) if status == 200 else None
    return (
        status,
        found,
        content if new is None else json.dumps({**json.loads(content), "refresh_token": new}).encode(),
    )


def _refreshed(refresh: Any, data: dict[str, Any]) -> Any:
    old = data.get("RefreshToken") or ""
    claims = cognito._token_claims(old) or {}
    # claim: cognito-rotates-by-its-own-operation
    if _is_over(old, claims):
        text = "Refresh token has been rotated."
        return error_response_json("RefreshTokenReuseException", text, 400)
    answer = refresh(data)
    new = _replaced(old, claims) if answer[0] == 200 else None
    if new is None:
        return answer
    return json_response(
        {"AuthenticationResult": {**json.loads(answer[2])["AuthenticationResult"], "RefreshToken": new}}
    )


def _initiated(initiate: Any, data: dict[str, Any]) -> Any:
    if data.get("AuthFlow") in _FLOWS and _rotation(data.get("ClientId", "")).get("Feature") == "ENABLED":
        # claim: cognito-rotates-by-its-own-operation
        return error_response_json("InvalidParameterException", "Auth flow not enabled for this client", 400)
    return initiate(data)


async def _handled(  # noqa: PLR0917 - MiniStack's own signature
    handle: Any, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> Any:
    if (method, path) != ("POST", "/oauth2/revoke"):
        return await handle(method, path, headers, body, query)
    given = form(body)
    claims = cognito._token_claims(given.get("token", "")) or {}
    # claim: cognito-revokes-refresh-tokens
    if claims.get("token_use") != "refresh":
        return cognito._oauth2_error("unsupported_token_type", "The token must be a refresh token.")
    if claims.get("client_id") != given.get("client_id"):
        return cognito._oauth2_error("invalid_client", "The token is of another client.", 401)
    cognito._revoke_token({"Token": given["token"]})
    return 200, {"Content-Type": "application/json"}, b""
