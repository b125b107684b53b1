"""Calls of gateways to the cloud's own entry point, with all of its checks: in process, without a socket.

Calls of integrations to services are signed with the session of the integration's role, so IAM, bucket policies and keys apply
as to any other caller with that role.
"""

import asyncio
import contextvars
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack import app
from ministack.core.responses import request_scope

from mlops_local import settings
from mlops_local.iam import authorization
from mlops_local.iam.signatures import with_signatures
from mlops_local.saved_state import kept_stores

_APPLICATION = with_signatures(app.app)

# name of API Gateway's role sessions in CloudTrail
_SESSION = "BackplaneAssumeRoleSession"
_running: set[asyncio.Task[Any]] = kept_stores.leave(__name__, "_running", set(), why="calls on their way")


class OwnAnswer(NamedTuple):
    """A response of the cloud; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def path_on_the_wire(path: str) -> str:
    """Encode a path as signatures require: every character but unreserved ones and the slash."""
    return quote(path, safe="/~")


async def dispatch(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> OwnAnswer:
    """Send a request; call it in a new context, so that the original caller does not count.

    Args:
        method: HTTP method.
        path: Decoded, with its leading slash.
        query: Encoded.
        headers: Headers, including the host.
    """
    # claim: gateway-calls-services-as-its-role
    given = {**headers, "content-length": str(len(body))}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": path, "raw_path": path_on_the_wire(path).encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), str(value).encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 0), "server": ("127.0.0.1", settings.port),
    }  # fmt: skip
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    start: MutableMapping[str, Any] = {}
    parts: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        if not messages:
            await asyncio.Event().wait()  # the client stays connected until it has the response
        return messages.pop()

    async def take(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await _APPLICATION(scope, receive, take)
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return OwnAnswer(start["status"], found, b"".join(parts))


class ServiceCall(NamedTuple):
    """A request to a service."""

    service: str  # name in the signature, `sagemaker` or `s3`
    method: str  # HTTP method
    path: str  # decoded, with its leading slash
    query: Mapping[str, str]  # query parameters
    headers: Mapping[str, str]  # headers besides those of the signature
    body: bytes


def assume(role: str, *, source_arn: str, account: str, region: str) -> authorization.Session:
    """Assume an integration's role.

    The trust policy is evaluated in a new context, so that the API's caller does not count as the caller of STS.

    Raises:
        AccessDeniedError: If the role does not exist or API Gateway may not assume it.
    """

    def assume() -> authorization.Session:
        with request_scope(account, region):
            return authorization.assume(role, service="apigateway.amazonaws.com", source_arn=source_arn, name=_SESSION)

    return contextvars.Context().run(assume)


async def send(call: ServiceCall, session: authorization.Session, *, region: str, timeout: float) -> OwnAnswer:
    """Send a request with a role's session and wait for the response.

    Raises:
        TimeoutError: If there is no response within ``timeout`` seconds; the service continues, as in AWS.
    """
    task = asyncio.create_task(_request(call, session, region), context=contextvars.Context())
    _running.add(task)
    task.add_done_callback(_running.discard)
    done, _ = await asyncio.wait({task}, timeout=timeout)
    if not done:
        raise TimeoutError
    return task.result()


async def _request(call: ServiceCall, session: authorization.Session, region: str) -> OwnAnswer:
    query, base = urlencode(call.query), settings.endpoint_url()
    # claim: gateway-calls-services-as-its-role
    address = f"{base}{path_on_the_wire(call.path)}{'?' if query else ''}{query}"
    request = AWSRequest(call.method, address, headers=dict(call.headers), data=call.body)
    credentials = Credentials(session.access_key, session.secret_key, session.token)
    (S3SigV4Auth if call.service == "s3" else SigV4Auth)(credentials, call.service, region).add_auth(request)
    sent = {**dict(request.headers), "host": urlsplit(base).netloc}
    return await dispatch(call.method, call.path, query, sent, call.body)
