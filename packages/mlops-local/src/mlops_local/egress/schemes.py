"""Marks requests that came by TLS, which the proxy terminates: distributions redirect all others to HTTPS."""

from collections.abc import Callable

from mlops_local.routes import Application, Receive, Scope, Send

_HEADER = b"x-forwarded-proto"


def with_schemes(application: Application, is_tls: Callable[[tuple[str, int]], bool]) -> Application:
    """Return an ASGI application that sets the scheme of requests through the proxy's TLS to ``https``.

    Args:
        application: The wrapped application.
        is_tls: Whether a client address and port belong to a proxy connection that came by TLS.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # claim: distributions-lead-to-https
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and is_tls(tuple(client)):
            headers = [row for row in scope["headers"] if row[0].lower() != _HEADER]
            scope = {**scope, "headers": [*headers, (_HEADER, b"https")]}
        await application(scope, receive, send)

    return serve
