"""The embedded cloud's own addresses on its port, beside AWS's: ``/_mlops/...``.

Requests must be signed by the account's root user; see :mod:`mlops_local.iam.signatures`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
# (method, body) to (status, JSON); runs on its own thread
Route = Callable[[str, bytes], tuple[int, object]]

ROUTES: dict[str, Route] = {}


def with_routes(application: Application) -> Application:
    """Return an ASGI application that serves :data:`ROUTES` and passes all other requests to ``application``."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/_mlops/"):
            await application(scope, receive, send)
            return
        body = await whole_body(receive)
        if body is None:
            return
        answer: object
        route = ROUTES.get(scope["path"])
        if route is None:
            status, answer = 404, {"message": f"unknown address {scope['path']}, known are {sorted(ROUTES)}"}
        else:
            status, answer = await asyncio.to_thread(route, scope["method"], body)
        await respond(send, status, "application/json", json.dumps(answer).encode())

    return serve


async def whole_body(receive: Receive) -> bytes | None:
    """Return a request's body; ``None`` if the client disconnected before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def fields_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers, by lower-case name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def respond(send: Send, status: int, content_type: str, body: bytes, *more: tuple[bytes, bytes]) -> None:
    """Send a response, optionally with more headers."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
