"""Rotation of refresh tokens where the app client says so, and their end: ``/oauth2/revoke``."""

import json
import time
from typing import Any

from ministack import app
from ministack.services import cognito

from mlops_local import compat
from mlops_local.cognito.app_clients import ROTATION
from mlops_local.cognito.refreshed_tokens import form

compat.expect(
    "ministack.app",
    _handle_cognito_body_request="(method, path, headers, body, query_params)",
)
compat.expect(
    "ministack.services.cognito",
    _fake_token="(sub, pool_id, client_id, token_type='access', username='', user_attrs=None, groups=None, nonce='', "  # noqa: S106
    "trigger_source='TokenGeneration_Authentication', client_metadata=None, origin_jti='', scope=None)",
    _find_pool_by_client_id="(client_id)",
    _oauth2_error="(error, description, status=400)",
    _oauth2_token="(data, query_params, raw_body=b'', headers=None)",  # noqa: S106
    _refresh_tokens=dict,
    _revoke_token="(data)",  # noqa: S106
    _token_claims="(token)",  # noqa: S106
)

_rotated: dict[str, float] = {}  # when each old token was replaced


def install() -> None:
    """Rotate where a client says so."""
    cognito._oauth2_token = _rotating(cognito._oauth2_token)
    app._handle_cognito_body_request = _revoking(app._handle_cognito_body_request)


def _rotating(exchange: Any) -> Any:
    def exchanged(data: Any, query: Any, raw_body: bytes = b"", headers: Any = None) -> Any:
        given = form(raw_body)
        old = given.get("refresh_token", "")
        if given.get("grant_type") != "refresh_token":
            return exchange(data, query, raw_body, headers)
        claims = cognito._token_claims(old) or {}
        pool_id, _, client = cognito._find_pool_by_client_id(claims.get("client_id", ""))
        rotation = (client or {}).get(ROTATION) or {}
        # claim: cognito-rotates-refresh-tokens
        if old in _rotated and time.time() > _rotated[old] + int(rotation.get("RetryGracePeriodSeconds", 0)):
            return cognito._oauth2_error("invalid_grant", "Refresh token has been rotated.")
        status, found, content = exchange(data, query, raw_body, headers)
        if status != 200 or rotation.get("Feature") != "ENABLED":
            return status, found, content
        new = cognito._fake_token(
            claims["sub"], pool_id, claims["client_id"], "refresh", origin_jti=claims["origin_jti"],
            scope=claims.get("scope"),
        )  # fmt: skip
        if old in cognito._refresh_tokens:
            cognito._refresh_tokens[new] = dict(cognito._refresh_tokens[old])
        _rotated.setdefault(old, time.time())
        return status, found, json.dumps({**json.loads(content), "refresh_token": new}).encode()

    return exchanged


def _revoking(handle: Any) -> Any:
    async def handled(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
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

    return handled
