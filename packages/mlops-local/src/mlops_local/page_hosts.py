"""Hosts at which AWS serves pages of an account: distributions, sign-in pages of user pools, and custom domain names.

Only hosts of this cloud count: others below the same domains belong to other AWS customers, including registries. At such a host
every path belongs to the distribution, API or pool, and clients of other pools are rejected.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from ministack import app
from ministack.core.responses import get_account_id
from ministack.services import cloudfront, cognito

from mlops_local import own_names
from mlops_local.cognito import factor_pages
from mlops_local.cognito.factor_pages import Answer
from mlops_local.cognito.refreshed_tokens import form
from mlops_local.gateway.gateway_responses import forbidden

DOMAINS = frozenset({"cloudfront.net", "amazoncognito.com"})
_ENDS = tuple(f".{domain}" for domain in DOMAINS)


def install() -> None:
    """Route every path at a page host to its distribution, API or pool, before Cognito's pages and services."""
    app._handle_cognito_get_request = partial(_answered, app._handle_cognito_get_request)
    app._handle_cognito_body_request = partial(_answered, app._handle_cognito_body_request)
    app._handle_special_data_plane_request = partial(_answered_first, app._handle_special_data_plane_request)


async def _answered(
    answer: Callable[..., Awaitable[Any]], method: str, path: str, headers: Mapping[str, str], *rest: Any
) -> Any:
    # claim: pages-have-names
    host = headers.get("host", "")
    if is_distribution(host) or own_names.is_api(host):
        return None
    *body, query = rest
    # the first of the two handlers is called before the body is read
    return refusal(headers, query, body[0] if body else b"") or await answer(method, path, headers, *rest)


async def _answered_first(  # noqa: PLR0917 - MiniStack's own signature
    answer: Callable[..., Awaitable[Any]], method: str, path: str, headers: dict[str, str], body: bytes,
    query: dict[str, Any], request_id: str, raw_path: str | None = None, raw_query_string: str = "",
    client_ip: str = "127.0.0.1",
) -> Any:  # fmt: skip
    host = headers.get("host", "")
    if is_distribution(host):
        raw = path if raw_path is None else raw_path
        return await app._handle_cloudfront_dataplane_request(
            host, path, raw, raw_query_string, method, headers, body, query, client_ip
        )
    if own_names.is_api(host):
        found = await app._handle_execute_api_request(
            host, path, method, headers, body, query, raw_path=raw_path, raw_query_string=raw_query_string
        )
        # claim: apis-have-names-of-ones-own
        return app._with_data_plane_headers(found or forbidden(), request_id, wildcard_cors=False)
    return await answer(method, path, headers, body, query, request_id, raw_path, raw_query_string, client_ip)


def distributions() -> list[str]:
    """Return one host per distribution: a custom name if it has one."""
    found = ((*own_names.names_of(each), each["DomainName"].lower()) for each in cloudfront._distributions.values())
    return sorted(names[0] for names in found)


def hosts() -> list[str]:
    """Return every host of a distribution, a pool's pages, or an API with a custom name."""
    named = {each["DomainName"].lower() for each in cloudfront._distributions.values()}
    return sorted(named | {*sign_in_pages(), *own_names.own_names()})


def is_distribution(host: str) -> bool:
    """Return whether a ``Host`` is a distribution's, by its own name or by MiniStack's loopback name."""
    label = app._parse_cloudfront_dataplane_host(host)
    return label is not None and cloudfront.find_distribution_for_label(label) is not None


def is_page_host(host: str) -> bool:
    """Return whether a name, without port, is a distribution's, a sign-in host or a custom name of this cloud."""
    name = host.rstrip(".").lower()
    if name.endswith(_ENDS):
        return name in sign_in_pages() or is_distribution(name)
    return own_names.is_own_name(name)


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
