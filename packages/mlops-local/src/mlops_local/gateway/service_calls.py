"""A gateway's call of another service: signed with its role's session and sent to the embedded cloud's own front, in process.

So IAM, bucket policies and keys answer as to any other caller of that role.
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

from mlops_local import compat, settings
from mlops_local.iam import authorization
from mlops_local.iam.signatures import with_signatures
from mlops_local.routes import Application
from mlops_local.saved_state import kept_stores

compat.expect("ministack.core.responses", request_scope="(account_id, region)")

_APPLICATION = with_signatures(app.app)
# the sessions of the roles that API Gateway takes are named so in CloudTrail
_SESSION = "BackplaneAssumeRoleSession"
_running: set[asyncio.Task[Any]] = kept_stores.leave(__name__, "_running", set(), why="calls on their way")


class ServiceCall(NamedTuple):
    """A request to a service.

    Args:
        service: Name in the signature, ``sagemaker`` or ``s3``.
        method: The verb.
        path: Decoded, with its leading slash.
        query: Its parameters.
        headers: Beyond those of the signature.
        body: What is sent.
    """

    service: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class ServiceAnswer(NamedTuple):
    """What a service answered: names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def assume(role: str, *, source_arn: str, account: str, region: str) -> authorization.Session:
    """Take an integration's role.

    The caller of the API must not count as the caller of STS: the trust policy is asked in a context of its own.

    Raises:
        AccessDeniedError: The role does not exist or does not let API Gateway take it.
    """

    def ask() -> authorization.Session:
        with request_scope(account, region):
            return authorization.assume(role, service="apigateway.amazonaws.com", source_arn=source_arn, name=_SESSION)

    return contextvars.Context().run(ask)


async def send(call: ServiceCall, session: authorization.Session, *, region: str, timeout: float) -> ServiceAnswer:
    """Send a request with a role's session and wait for the answer.

    Raises:
        TimeoutError: Nothing within ``timeout`` seconds; the service works on, as on AWS.
    """
    task = asyncio.create_task(_request(_APPLICATION, call, session, region), context=contextvars.Context())
    _running.add(task)
    task.add_done_callback(_running.discard)
    done, _ = await asyncio.wait({task}, timeout=timeout)
    if not done:
        raise TimeoutError
    return task.result()


async def _request(
    application: Application, call: ServiceCall, session: authorization.Session, region: str
) -> ServiceAnswer:
    path, query = quote(call.path, safe="/~"), urlencode(call.query)
    base = settings.endpoint_url()
    # claim: gateway-calls-services-as-its-role
    request = AWSRequest(
        call.method, f"{base}{path}{'?' if query else ''}{query}", headers=dict(call.headers), data=call.body
    )
    credentials = Credentials(session.access_key, session.secret_key, session.token)
    (S3SigV4Auth if call.service == "s3" else SigV4Auth)(credentials, call.service, region).add_auth(request)
    sent = {**dict(request.headers), "host": urlsplit(base).netloc, "content-length": str(len(call.body))}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": call.method,
        "path": call.path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), str(value).encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 0), "server": ("127.0.0.1", settings.port),
    }  # fmt: skip
    messages = [{"type": "http.request", "body": call.body, "more_body": False}]
    start: MutableMapping[str, Any] = {}
    parts: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        if not messages:
            await asyncio.Event().wait()  # the client stays until it has its answer
        return messages.pop()

    async def take(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await application(scope, receive, take)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    return ServiceAnswer(start["status"], headers, b"".join(parts))
