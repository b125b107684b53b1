"""Calls of the gateway to other services: signed with the integration role's session, sent to the cloud's own entry point.

IAM, bucket policies and keys therefore apply as to any other caller with that role.
"""

import asyncio
import contextvars
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack.core.responses import request_scope

from mlops_local import compat, settings
from mlops_local.gateway import own_front
from mlops_local.gateway.own_front import OwnAnswer
from mlops_local.iam import authorization
from mlops_local.saved_state import kept_stores

compat.expect("ministack.core.responses", request_scope="(account_id, region)")

# name of API Gateway's role sessions in CloudTrail
_SESSION = "BackplaneAssumeRoleSession"
_running: set[asyncio.Task[Any]] = kept_stores.leave(__name__, "_running", set(), why="calls on their way")


class ServiceCall(NamedTuple):
    """A request to a service.

    Args:
        service: Name in the signature, ``sagemaker`` or ``s3``.
        method: HTTP method.
        path: Decoded, with its leading slash.
        query: Query parameters.
        headers: Headers besides those of the signature.
        body: The body.
    """

    service: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


def assume(role: str, *, source_arn: str, account: str, region: str) -> authorization.Session:
    """Assume an integration's role.

    The trust policy is evaluated in a new context, so that the API's caller does not count as the caller of STS.

    Raises:
        AccessDeniedError: If the role does not exist or API Gateway may not assume it.
    """

    def ask() -> authorization.Session:
        with request_scope(account, region):
            return authorization.assume(role, service="apigateway.amazonaws.com", source_arn=source_arn, name=_SESSION)

    return contextvars.Context().run(ask)


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
    address = f"{base}{own_front.path_on_the_wire(call.path)}{'?' if query else ''}{query}"
    request = AWSRequest(call.method, address, headers=dict(call.headers), data=call.body)
    credentials = Credentials(session.access_key, session.secret_key, session.token)
    (S3SigV4Auth if call.service == "s3" else SigV4Auth)(credentials, call.service, region).add_auth(request)
    sent = {**dict(request.headers), "host": urlsplit(base).netloc}
    return await own_front.ask(call.method, call.path, query, sent, call.body)
