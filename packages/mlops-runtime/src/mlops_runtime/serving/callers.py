"""Access control of servers on a developer's machine: local programs may call them, pages of other sites may not.

Any page in a browser may send simple requests to a local port, and a page whose owner resolves its name to 127.0.0.1 (DNS
rebinding) may read the responses. Browsers reveal both in ``Origin``, ``Sec-Fetch-Site`` and ``Host``. Behind a load balancer and
inside SageMaker, browsers cannot reach the server and callers choose the host name, so nothing is checked there.
"""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from typing import Any

_OWN_SITES = frozenset({"none", "same-origin"})  # https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header

# https://asgi.readthedocs.io/en/latest/specs/main.html#applications
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def refusal(headers: Sequence[tuple[bytes, bytes]], hosts: Collection[str]) -> str | None:
    """Return the reason for refusing a request, or ``None`` if it is allowed.

    Example:
        >>> refusal([(b"host", b"127.0.0.1:8080"), (b"origin", b"https://evil.example")], ["127.0.0.1:8080"])
        "a page of origin 'https://evil.example' may not use this server"
    """
    found = {name: value.decode("latin-1") for name, value in headers}
    host, origin, site = found.get(b"host", ""), found.get(b"origin"), found.get(b"sec-fetch-site", "none")
    if host.lower() not in hosts:
        return f"Host {host[:200]!r} is not this server's; use {' or '.join(sorted(hosts))}"
    if origin is not None and origin not in {f"http://{name}" for name in hosts}:
        return f"a page of origin {origin[:200]!r} may not use this server"
    return None if site in _OWN_SITES else f"a page of another site ({site[:200]}) may not use this server"


def only_from(application: Application, hosts: Collection[str]) -> Application:
    """Wrap an application so that requests with other host names or from pages of other sites get status 403."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        message = refusal(scope["headers"], hosts)
        if message is None:
            await application(scope, receive, send)
            return
        content = json.dumps({"error": message}).encode()
        sent = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 403, "headers": sent})
        await send({"type": "http.response.body", "body": content})

    return serve
