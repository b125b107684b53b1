"""Hosts of user pools' sign-in pages; there a pool serves only its own clients."""

import base64
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, get_account_id
from ministack.services import cognito

from mlops_local import compat
from mlops_local.cognito import factor_pages
from mlops_local.cognito.factor_pages import Answer
from mlops_local.cognito.refreshed_tokens import form

compat.expect("ministack.core.responses", get_account_id="()")
compat.expect(
    "ministack.services.cognito",
    _find_pool_by_client_id="(client_id)",
    _oauth2_error="(error, description, status=400)",
    _pool_domain_map=AccountRegionScopedDict,
    _qp="(query_params, key, default='')",
    _token_claims="(token)",  # noqa: S106
)


def sign_in_pages() -> dict[str, str]:
    """Return the pools by the host of their pages; custom domains are not routed here."""
    return {
        f"{prefix}.auth.{region}.amazoncognito.com": str(pool)
        for (account, region, prefix), pool in cognito._pool_domain_map.all_items()
        if account == get_account_id() and "." not in prefix
    }


def refusal(headers: Mapping[str, str], query: Mapping[str, Any], body: bytes) -> Answer | None:
    """Return the error for a client or token of a pool other than the request's host, or ``None``."""
    pool = sign_in_pages().get(headers.get("host", "").partition(":")[0].lower())
    if pool is None:
        return None
    scheme, _, given = headers.get("authorization", "").partition(" ")
    fields = form(body)
    # claim: cognito-pages-know-their-pools-clients
    if scheme.lower() == "bearer":
        issuer = str((cognito._token_claims(given) or {}).get("iss", ""))
        error: Answer = cognito._oauth2_error("invalid_token", "Access token is not of this user pool.", 401)
        return None if issuer.endswith(f"/{pool}") else error
    named = {cognito._qp(query, "client_id"), fields.get("client_id", ""), factor_pages.client_of(fields)}
    if scheme.lower() == "basic":
        named.add(_basic_user(given))
    foreign = sorted(name for name in named - {""} if cognito._find_pool_by_client_id(name)[0] != pool)
    unknown: Answer = cognito._oauth2_error("invalid_client", f"Client {', '.join(foreign)} not found.")
    return unknown if foreign else None


def _basic_user(encoded: str) -> str:
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[0]
    except ValueError:
        return ""
