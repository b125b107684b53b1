"""Requests that arrived by TLS are marked, whatever header the client sent."""

import asyncio
from typing import Any

import pytest

from mlops_local.egress.schemes import with_schemes

TLS, PLAIN = ("127.0.0.1", 1), ("127.0.0.1", 2)


def _marked(client: tuple[str, int] | None, *headers: tuple[bytes, bytes], kind: str = "http") -> list[bytes]:
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-forwarded-proto")

    scope = {"type": kind, "client": client, "headers": [(b"host", b"d1.cloudfront.net"), *headers]}
    asyncio.run(with_schemes(application, lambda address: address == TLS)(scope, None, None))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize("said", [(), ((b"x-forwarded-proto", b"http"),)])
def test_what_came_by_tls(said: tuple[tuple[bytes, bytes], ...]) -> None:
    """The mark appears once and overrides the client's."""
    assert _marked(TLS, *said) == [b"https"]


@pytest.mark.parametrize(("client", "kind"), [(PLAIN, "http"), (None, "http"), (TLS, "lifespan")])
def test_all_else_stays(client: tuple[str, int] | None, kind: str) -> None:
    """Everything else stays unchanged."""
    assert _marked(client, kind=kind) == []
    assert _marked(client, (b"x-forwarded-proto", b"http"), kind=kind) == [b"http"]
