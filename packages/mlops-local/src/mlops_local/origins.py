"""Rejects requests of web pages and requests with a foreign ``Host``, before any other check.

Any program on this machine can reach the port, including browsers: any page may send forms, images and simple requests to it, and a
page whose owner resolves its name to 127.0.0.1 (DNS rebinding) could read the responses. Browsers report this in ``Origin``,
``Sec-Fetch-Site`` and ``Host``. As in AWS, pages are served from S3 (links, images without an origin, and origins of the bucket's
CORS configuration) and from Cognito (apps of any origin open its hosted pages, then request tokens). Any page may link to
distributions and Cognito's pages at their own names; those pages have their own origin, which reaches none of our addresses.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from ministack import app
from ministack.services import s3

from mlops_local import settings
from mlops_local.egress.hosts import Kind, kind
from mlops_local.page_hosts import is_distribution, is_page_host
from mlops_local.routes import Application, Receive, Scope, Send, fields_of, respond

CODE = "ForeignRequest"
_OURS = ("/_mlops/", "/_ministack/")
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9_.-]+)(?::([0-9]+))?", re.IGNORECASE)
# https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header; "none" is an address that the user typed
_OWN_SITES = frozenset({"none", "same-origin"})
# opened by an app's page, and requested by its scripts
_COGNITO = frozenset(
    {("GET", "/oauth2/authorize"), ("GET", "/logout"), ("POST", "/oauth2/token"), ("POST", "/oauth2/revoke")}
)


def foreign_name(headers: Mapping[str, str], port: int) -> str | None:
    """Return why a request's ``Host`` is not a name of the embedded cloud, or ``None``.

    Its names are loopback names with its port, optionally after an SDK's prefix (a bucket); AWS's endpoints, which its proxy
    serves; and its page hosts. Only AWS and this cloud control the addresses of names below these.
    """
    given = headers.get("host", "")
    found = _HOST.fullmatch(given)
    if found is not None:
        name, given_port = found[1].lower(), found[2]
        if kind(name) is Kind.ENDPOINT or is_page_host(name):
            return None
        if (kind(name) is Kind.LOOPBACK or name.endswith(".127.0.0.1")) and given_port == str(port):
            return None
    return f"Host {given!r} is not the embedded cloud's; use http://127.0.0.1:{port}"


def foreign_page(headers: Mapping[str, str], port: int) -> str | None:
    """Return why a request comes from a page of another site, or ``None``."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    own = {f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")}
    if name := _page_host(headers):
        own = {f"{scheme}://{name}" for scheme in ("http", "https")}
    if origin is not None and origin not in own:
        return f"pages of origin {origin!r} may not use the embedded cloud"
    return None if site in _OWN_SITES else f"a page of another site ({site}) may not use the embedded cloud"


def refusal(headers: Mapping[str, str], port: int) -> str | None:
    """Return why a request is rejected where AWS serves no pages, or ``None``.

    Example:
        >>> refusal({"host": "evil.example:4566"}, 4566)
        "Host 'evil.example:4566' is not the embedded cloud's; use http://127.0.0.1:4566"
    """
    return foreign_name(headers, port) or foreign_page(headers, port)


def with_origins(application: Application) -> Application:
    """Return an ASGI application that rejects foreign requests and passes all others to ``application``."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await application(scope, receive, send)
            return
        headers = fields_of(scope)
        message = foreign_name(headers, settings.port)
        if (
            message is None
            and (page := foreign_page(headers, settings.port))
            and not _is_served_to_pages(scope, headers)
        ):
            message = page
        if message is None and _page_host(headers) and scope["path"].startswith(_OURS):
            message = f"{scope['path']} is the embedded cloud's own; use http://127.0.0.1:{settings.port}"
        if message is None:
            await application(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            content = json.dumps({"__type": CODE, "message": message}).encode()
            await respond(send, 403, "application/json", content)

    return serve


def _is_served_to_pages(scope: Scope, headers: dict[str, str]) -> bool:
    """Return whether a request is a link to a page, for Cognito, or allowed by S3's CORS; the signature is checked later."""
    if scope["type"] != "http" or scope["path"].startswith("/_"):
        return False
    if _page_host(headers) and "origin" not in headers and headers.get("sec-fetch-mode") == "navigate":
        return bool(scope["method"] == "GET")  # a link, or the redirect after sign-in
    # claim: cognito-serves-apps-of-any-origin
    if (scope["method"], scope["path"]) in _COGNITO and not is_distribution(headers.get("host", "")):
        return True
    # claim: s3-serves-pages-of-its-cors-rules
    method, path = scope["method"], scope["path"]
    target: tuple[str, str] | None = app._s3_cors_target(headers.get("host", ""), path)
    query: dict[str, Any] = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if target is None or app.detect_service(method, path, headers, query) != "s3":
        return False
    if "origin" not in headers:
        return method in {"GET", "HEAD"}
    if method == "OPTIONS":
        return bool(s3.cors_preflight(*target, headers)[0] == 200)
    return bool(s3.cors_response_headers(target[0], method, headers))


def _page_host(headers: Mapping[str, str]) -> str:
    """Return the distribution or sign-in host that a request names, or an empty string."""
    name = headers.get("host", "").partition(":")[0].lower()
    return name if is_page_host(name) else ""
