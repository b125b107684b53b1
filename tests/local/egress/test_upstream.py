"""How the user's proxy settings apply to a host."""

import asyncio
import socket

import pytest

from mlops_local.egress.upstream import UnreachableError, Upstream, authorization, connect


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://one.example:1"}, "one.example"),
        ({"https_proxy": "two.example:1", "HTTPS_PROXY": "http://one.example:1"}, "two.example"),
        ({"HTTP_PROXY": "http://one.example:1"}, None),
        ({"ALL_PROXY": "https://one.example"}, "one.example"),
        ({"https_proxy": "http://one.example:1", "NO_PROXY": ".example"}, None),
        ({"https_proxy": "http://one.example:1", "no_proxy": "*"}, None),
        ({"https_proxy": "http://one.example:1", "no_proxy": "other.org"}, "one.example"),
        ({"https_proxy": ""}, None),
    ],
)
def test_the_user_s_proxy_for_a_host(environ: dict[str, str], expected: str | None) -> None:
    """Reads the variables like Python and curl."""
    found = Upstream(environ).proxy("https", "registry.example")

    assert (None if found is None else found.hostname) == expected


def test_a_proxy_that_cannot_be_chained_to_is_named() -> None:
    """SOCKS is rejected, not ignored: the user's proxy may be required to leave the network."""
    with pytest.raises(
        UnreachableError, match=r"socks5://gate.example cannot be used from the embedded cloud: give an http"
    ):
        Upstream({"ALL_PROXY": "socks5://gate.example:1080"}).proxy("https", "registry.example")


def test_names_and_passwords_are_decoded() -> None:
    """They are percent-encoded in an address, and plain in a header."""
    proxy = Upstream({"https_proxy": "http://me:s%40cret@one.example:1"}).proxy("https", "registry.example")
    assert proxy is not None
    assert authorization(proxy) == "Proxy-Authorization: Basic bWU6c0BjcmV0\r\n"
    assert authorization(proxy._replace(netloc="one.example:1")) == ""


def test_a_host_that_does_not_listen_is_named() -> None:
    """The message has the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnreachableError, match=rf"127.0.0.1:{port} cannot be reached"):
        asyncio.run(connect("127.0.0.1", port))


def test_a_proxy_that_answers_nothing_is_named() -> None:
    """The proxy closes the connection without a tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        async def run() -> None:
            tunnel = asyncio.create_task(
                Upstream({"https_proxy": f"http://127.0.0.1:{port}"}).tunnel("host.example", 443)
            )
            connection, _ = await asyncio.to_thread(listener.accept)
            connection.close()
            await tunnel

        with pytest.raises(UnreachableError, match=r"your proxy 127.0.0.1 did not answer"):
            asyncio.run(run())
