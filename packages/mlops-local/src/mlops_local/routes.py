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
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer: object
        route = ROUTES.get(scope["path"])
        if route is None:
            status, answer = 404, {"message": f"unknown address {scope['path']}, known are {sorted(ROUTES)}"}
        else:
            status, answer = await asyncio.to_thread(route, scope["method"], body)
        content = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return serve
