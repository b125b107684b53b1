"""Rejects requests for services that the embedded cloud does not have, by name and in a form that SDKs report.

The service is determined as MiniStack does, from target, signature and host. MiniStack would treat an unsigned request whose host
names no service as an S3 request for a missing bucket.
"""

import html
import json
from collections import Counter
from urllib.parse import parse_qs

from ministack import app
from ministack.core import router

from mlops_local.egress.hosts import Kind, kind
from mlops_local.routes import Application, Receive, Scope, Send, fields_of, respond
from mlops_local.saved_state import kept_stores

CODE = "NotInEmbeddedCloud"
_STATUS = 403  # SDKs do not retry it
_NAMES = 1000  # hosts that are counted by name
_refused: Counter[str] = kept_stores.keep(__name__, "_refused", Counter())


def refused() -> dict[str, int]:
    """Return the number of rejected requests per AWS host."""
    return dict(_refused)


def refusal(method: str, path: str, headers: dict[str, str], query: str) -> str | None:
    """Return why a request is rejected, or ``None`` if the embedded cloud has its service."""
    host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    is_aws = kind(host) is Kind.ENDPOINT
    service = router.detect_service(method, path, headers, parse_qs(query, keep_blank_values=True))
    if service == "unknown_query" and not is_aws and "authorization" not in headers:
        return None  # the body names the operation, such as AssumeRoleWithWebIdentity; MiniStack reads it, and rejects others
    if service not in app.SERVICE_HANDLERS:
        where = f" (host {host})" if is_aws else ""
        return f"service {service!r}{where} is not in the embedded cloud; nothing was sent to AWS"
    if is_aws and service == "s3" and not any(label.startswith("s3") for label in host.split(".")):
        signed = "authorization" in headers or "X-Amz-Credential" in query
        if not signed:
            return f"host {host} is not in the embedded cloud; nothing was sent to AWS"
    return None


def with_refusals(application: Application) -> Application:
    """Return an ASGI application that rejects requests for services that ``application`` does not have."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_"):
            await application(scope, receive, send)
            return
        headers = fields_of(scope)
        message = refusal(scope["method"], scope["path"], headers, scope["query_string"].decode("latin-1"))
        if message is None:
            await application(scope, receive, send)
            return
        _count(headers.get("host", "").partition(":")[0])
        content_type, body = _answer(headers.get("content-type", ""), message)
        await respond(send, _STATUS, content_type, body, (b"x-amzn-errortype", CODE.encode()))

    return serve


def _count(host: str) -> None:
    if kind(host) is Kind.ENDPOINT:
        _refused[host if host in _refused or len(_refused) < _NAMES else "others"] += 1


def _answer(content_type: str, message: str) -> tuple[str, bytes]:
    """Return an error in the protocol of the request: XML for query calls (forms), else JSON."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        error = f"<Error><Type>Sender</Type><Code>{CODE}</Code><Message>{html.escape(message)}</Message></Error>"
        return "text/xml", f"<ErrorResponse>{error}<RequestId>embedded</RequestId></ErrorResponse>".encode()
    return content_type or "application/json", json.dumps({"__type": CODE, "message": message}).encode()
