"""Requests that came by TLS, which ends at the proxy, are marked as such: a distribution leads all others to HTTPS."""

from collections.abc import Callable

from mlops_local.routes import Application, Receive, Scope, Send

_HEADER = b"x-forwarded-proto"


def with_schemes(application: Application, is_tls: Callable[[tuple[str, int]], bool]) -> Application:
    """Return an ASGI application that says of each request through the proxy's TLS that it is one of HTTPS.

    Args:
        application: What answers.
        is_tls: Whether the proxy has a connection of TLS behind an address and port, which are the client of a request.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # claim: distributions-lead-to-https
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and is_tls(tuple(client)):
            headers = [row for row in scope["headers"] if row[0].lower() != _HEADER]
            scope = {**scope, "headers": [*headers, (_HEADER, b"https")]}
        await application(scope, receive, send)

    return serve
