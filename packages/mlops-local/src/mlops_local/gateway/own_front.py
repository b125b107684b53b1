"""Requests of the cloud to itself: through its own entry point with all checks, in process, without a socket."""

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import quote

from ministack import app

from mlops_local import settings
from mlops_local.iam.signatures import with_signatures

_APPLICATION = with_signatures(app.app)


class OwnAnswer(NamedTuple):
    """A response of the cloud; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def path_on_the_wire(path: str) -> str:
    """Encode a path as signatures require: every character but unreserved ones and the slash."""
    return quote(path, safe="/~")


async def ask(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> OwnAnswer:
    """Send a request; call it in a new context, so that the original caller does not count.

    Args:
        method: HTTP method.
        path: Decoded, with its leading slash.
        query: Encoded.
        headers: Headers, including the host.
        body: The body.
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
