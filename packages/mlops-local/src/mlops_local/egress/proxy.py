"""The proxy of the embedded cloud: it terminates requests to AWS's hosts and forwards all others unchanged.

AWS's endpoints, and the cloud's own page hosts, are served by the embedded cloud over TLS with certificates of its own authority;
page hosts need no password. Any other host of AWS, and the instance metadata service, is rejected by name. All other hosts are
reached as the user's own settings define, so package registries work as usual.
"""

import asyncio
import base64
import hmac
import logging
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from mlops_local.egress.environment import ISOLATED, USER
from mlops_local.egress.hosts import Kind, kind
from mlops_local.egress.upstream import Streams, UnreachableError, Upstream, authorization, connect
from mlops_local.routes import Application, Receive, Scope, Send

LOGGER = logging.getLogger(__name__)

_HEAD_LIMIT = 64 * 1024
_CHUNK = 64 * 1024
_HANDSHAKE = 30.0  # real seconds, for a request's head and for the TLS handshake
_NAMES = 1000  # hosts that are counted by name
_PORTS = {"http": 80, "https": 443}
_HOP_BY_HOP = ("proxy-authorization", "proxy-connection", "connection", "keep-alive")
_HEADER = b"x-forwarded-proto"


class RefusedError(Exception):
    """A request is rejected."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    scheme: str
    host: str
    port: int
    path: str
    version: str
    headers: tuple[tuple[str, str], ...]

    @property
    def is_tunnel(self) -> bool:
        return self.method == "CONNECT"

    def head(self, target: str, extra: str = "") -> bytes:
        """Return the request's head for a server, without keep-alive: the next request may be for another host."""
        lines = [f"{name}: {value}" for name, value in self.headers if name.lower() not in _HOP_BY_HOP]
        rest = "".join(f"{line}\r\n" for line in lines)
        return f"{self.method} {target} {self.version}\r\n{rest}Connection: close\r\n{extra}\r\n".encode("latin-1")


class Proxy:
    """A proxy on 127.0.0.1.

    Args:
        listener: A bound socket.
        token: Password that clients must send.
        cloud_port: Port of the embedded cloud.
        context: Returns the TLS server context of a host that the embedded cloud serves.
        upstream: Connects to other hosts.
        balancer: Returns the local port of a load balancer's listener, by host and port. Default: no load balancers.
        is_page_host: Whether a host is one of the embedded cloud's pages, which need no password. Default: no pages.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        token: str,
        cloud_port: int,
        context: Callable[[str], ssl.SSLContext],
        upstream: Upstream,
        balancer: Callable[[str, int], int | None] = lambda _name, _port: None,
        is_page_host: Callable[[str], bool] = lambda _host: False,
    ) -> None:
        self._listener, self._token, self._cloud_port = listener, token, cloud_port
        self._context, self._upstream, self._balancer = context, upstream, balancer
        self._is_page_host = is_page_host
        self._tls: set[tuple[str, int]] = set()
        self._seen: dict[str, Counter[str]] = {"served": Counter(), "refused": Counter(), "passed_on": Counter()}

    def start(self) -> None:
        """Serve on a separate thread until the process ends."""
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="proxy", daemon=True).start()
        ready.wait()

    def report(self) -> dict[str, dict[str, int]]:
        """Return the number of served, refused and forwarded requests per host."""
        return {verdict: dict(sorted(counts.copy().items())) for verdict, counts in self._seen.items()}

    def is_tls(self, address: tuple[str, int]) -> bool:
        """Return whether a proxy connection to the embedded cloud, identified by its address and port, came in by TLS."""
        return address in self._tls

    async def _run(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._handle, sock=self._listener, limit=_HEAD_LIMIT)
        ready.set()
        async with server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            try:
                await self._answer(reader, writer)
            except RefusedError as error:
                LOGGER.info("%s", error)
                _refuse(writer, error)
            except UnreachableError as error:
                _refuse(writer, RefusedError(502, str(error)))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            LOGGER.debug("a connection ended early: %s", error)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HANDSHAKE):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise RefusedError(431, f"the head of a request is larger than {_HEAD_LIMIT} bytes") from error
        request = _parsed(head)
        found = kind(request.host)
        is_page = request.port in _PORTS.values() and self._is_page_host(request.host)
        if self._user(request, is_page=is_page) == ISOLATED and found is not Kind.LOOPBACK:
            self._count("refused", request.host)
            raise RefusedError(403, f"{request.host}: a container with network isolation makes no outbound call")
        balanced = self._balancer(request.host, request.port) if found is Kind.ENDPOINT else None
        if is_page or (found is Kind.ENDPOINT and (balanced is not None or request.port in _PORTS.values())):
            self._count("served", request.host)
            await self._serve(request, reader, writer, port=balanced)
        elif found in {Kind.ENDPOINT, Kind.AWS, Kind.METADATA}:
            self._count("refused", request.host)
            raise RefusedError(403, f"{request.host}:{request.port} is AWS's and not in the embedded cloud")
        else:
            if found is Kind.FOREIGN:
                self._count("passed_on", request.host)
            await self._pass_on(request, found, reader, writer)

    def _user(self, request: _Request, *, is_page: bool) -> str:
        given = next((value for name, value in request.headers if name.lower() == "proxy-authorization"), "")
        if is_page and not given:
            return USER  # browsers accept no proxy password in its URL
        scheme, _, encoded = given.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:  # invalid base64 or UTF-8
            user, password = "", ""
        known = user in {USER, ISOLATED} and scheme.lower() == "basic"
        if not known or not hmac.compare_digest(password.encode(), self._token.encode()):
            raise RefusedError(407, "the proxy of the embedded cloud requires the environment of `mlops local env`")
        return user

    async def _serve(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, port: int | None
    ) -> None:
        """Forward a request to the embedded cloud, which determines the service from the signature and the Host header.

        A load balancer is connected directly. It speaks plain HTTP here; requests in a tunnel use TLS.
        """
        cloud = await connect("127.0.0.1", self._cloud_port if port is None else port)
        if not request.is_tunnel:
            cloud[1].write(request.head(request.path))
        else:
            await _established(writer)
            if port is not None or request.port == _PORTS["https"]:
                try:
                    await writer.start_tls(self._context(request.host), ssl_handshake_timeout=_HANDSHAKE)
                except OSError as error:
                    cloud[1].close()
                    LOGGER.warning("a client does not trust the certificate for %s: %s", request.host, error)
                    return
                self._tls.add(address := cloud[1].get_extra_info("sockname"))
                try:
                    await _relay((reader, writer), cloud)
                finally:
                    self._tls.discard(address)
                return
        await _relay((reader, writer), cloud)

    async def _pass_on(
        self, request: _Request, found: Kind, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if request.is_tunnel:
            direct = found is Kind.LOOPBACK
            far = await (connect if direct else self._upstream.tunnel)(request.host, request.port)
            await _established(writer)
        else:
            proxy = None if found is Kind.LOOPBACK else self._upstream.proxy("http", request.host)
            far = await (connect(request.host, request.port) if proxy is None else self._upstream.to_proxy(proxy))
            name = f"[{request.host}]" if ":" in request.host else request.host
            target = request.path if proxy is None else f"http://{name}:{request.port}{request.path}"
            far[1].write(request.head(target, "" if proxy is None else authorization(proxy)))
        await _relay((reader, writer), far)

    def _count(self, verdict: str, host: str) -> None:
        counts = self._seen[verdict]
        counts[host if host in counts or len(counts) < _NAMES else "others"] += 1


def _parsed(head: bytes) -> _Request:
    first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3:
        raise RefusedError(400, "the first line of a request is a method, a target and a version")
    method, target, version = parts
    headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in rest))
    try:
        if method == "CONNECT":
            url = urlsplit(f"//{target}")
            scheme, path, port = "https", "", url.port or _PORTS["https"]
        else:
            url = urlsplit(target)
            scheme, path, port = url.scheme, url.path or "/", url.port or _PORTS["http"]
            path += f"?{url.query}" if url.query else ""
    except ValueError as error:
        raise RefusedError(400, f"target {target!r} cannot be read ({error})") from error
    if not url.hostname or scheme not in _PORTS or (method != "CONNECT" and scheme != "http"):
        raise RefusedError(
            400, f"this is a proxy: the target is http://host/path or, for CONNECT, host:port, got {target!r}"
        )
    return _Request(method, scheme, url.hostname.rstrip("."), port, path, version, headers)


def _refuse(writer: asyncio.StreamWriter, error: RefusedError) -> None:
    """Respond with the message also in the reason phrase, the only part of a refused CONNECT that many clients show."""
    message = str(error).encode("ascii", "replace").decode()
    body = f"{message}\n"
    challenge = 'Proxy-Authenticate: Basic realm="mlops local"\r\n' if error.status == 407 else ""
    head = (
        f"HTTP/1.1 {error.status} {message}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n{challenge}"
    )
    writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())


async def _established(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await writer.drain()


async def _relay(near: Streams, far: Streams) -> None:
    """Copy bytes in both directions until both sides have ended."""
    try:
        await asyncio.gather(_copy(near[0], far[1]), _copy(far[0], near[1]))
    finally:
        far[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:  # TLS has no half-closed connections
        writer.close()


def with_schemes(application: Application, is_tls: Callable[[tuple[str, int]], bool]) -> Application:
    """Return an ASGI application that sets the scheme of requests through the proxy's TLS to ``https``."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # claim: distributions-lead-to-https
        client = scope.get("client")
        if scope["type"] == "http" and client is not None and is_tls(tuple(client)):
            headers = [row for row in scope["headers"] if row[0].lower() != _HEADER]
            scope = {**scope, "headers": [*headers, (_HEADER, b"https")]}
        await application(scope, receive, send)

    return serve
