"""Connections of the proxy to hosts that are not AWS's: through the user's own proxy, or directly."""

import asyncio
import base64
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

_TIMEOUT = 30.0  # real seconds
_PORTS = {"http": 80, "https": 443}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class UnreachableError(Exception):
    """A host cannot be reached; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The user's proxy settings."""

    environ: Mapping[str, str]  # the user's environment without the embedded cloud's variables

    def proxy(self, scheme: str, host: str) -> SplitResult | None:
        """Return the user's proxy for a host by ``http`` or ``https``; ``None`` for a direct connection.

        Raises:
            UnreachableError: If the user's proxy is of an unsupported kind.
        """
        # as Python and curl read them; no_proxy: https://docs.python.org/3/library/urllib.request.html
        bypass = {"no": self.environ.get("no_proxy") or self.environ.get("NO_PROXY") or ""}
        if urllib.request.proxy_bypass_environment(host, bypass):  # type: ignore[attr-defined]  # not in typeshed
            return None
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        url = next((self.environ[name] for name in names if self.environ.get(name)), None)
        if url is None:
            return None
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in _PORTS or not parts.hostname:
            raise UnreachableError(
                f"your proxy {parts.scheme}://{parts.hostname or ''} cannot be used from the embedded cloud: "
                "give an http or https one, or use a shell without `mlops local env`"
            )
        return parts

    async def tunnel(self, host: str, port: int) -> Streams:
        """Return a connection to a host.

        Raises:
            UnreachableError: If the connection fails.
        """
        proxy = self.proxy("https", host)
        if proxy is None:
            return await connect(host, port)
        reader, writer = await self.to_proxy(proxy)
        name = f"[{host}]" if ":" in host else host
        writer.write(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n{authorization(proxy)}\r\n".encode())
        try:
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.close()
            raise UnreachableError(f"your proxy {proxy.hostname} did not answer ({error})") from error
        status = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if len(status) < 2 or not status[1].startswith("2"):
            writer.close()
            raise UnreachableError(f"your proxy {proxy.hostname} answered {' '.join(status[1:])}")
        return reader, writer

    async def to_proxy(self, proxy: SplitResult) -> Streams:
        """Return a connection to a user's proxy.

        Raises:
            UnreachableError: If the connection fails.
        """
        secure = proxy.scheme == "https"
        return await connect(proxy.hostname or "", proxy.port or _PORTS[proxy.scheme], secure=secure)


def authorization(proxy: SplitResult) -> str:
    """Return the header line with a proxy's credentials; empty if its URL has none."""
    if proxy.username is None:
        return ""
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


async def connect(host: str, port: int, *, secure: bool = False) -> Streams:
    """Return a connection to a host, with TLS if it is secure.

    Raises:
        UnreachableError: If the connection fails.
    """
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if secure else None)
    except (OSError, TimeoutError) as error:
        raise UnreachableError(f"{host}:{port} cannot be reached ({error or type(error).__name__})") from error
