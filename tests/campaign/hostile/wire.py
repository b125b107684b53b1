"""Requests byte by byte over a socket with all responses, because an HTTP client would correct them."""

import http.client
import io
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

_MOST = 64 * 1024


class Reply(NamedTuple):
    """One response of the server; header names in lower case, values of repeated headers joined."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One request, or bytes in place of one.

    Args:
        kind: Kind of defect.
        raw: Its bytes, with ``Connection: close`` where the server reads it to its end.
        is_http: Whether a server reads it as HTTP and so must respond. Default: yes.
        patience: Seconds without a byte after which the client disconnects. Default: enough for a slow machine.
    """

    kind: str
    raw: bytes
    is_http: bool = True
    patience: float = 20.0


def request(verb: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, version: str = "1.1") -> bytes:
    r"""Return the bytes of a request with its length that ends the connection.

    Example:
        >>> request("GET", "/", {"host": "a"})
        b'GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'
    """
    given = {**headers, "content-length": str(len(body)), "connection": "close"}
    return head(verb, path, given, version=version) + body


def head(verb: str, path: str, headers: Mapping[str, str], *, version: str = "1.1") -> bytes:
    """Return the bytes of a request's head, unchanged."""
    lines = [f"{verb} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def send(address: tuple[str, int], attack: Attack) -> list[Reply]:
    """Send bytes; return the responses until the server closes the connection or is silent for too long."""
    found = bytearray()
    with socket.create_connection(address, timeout=attack.patience) as connection:
        # a server may reject a long request before it has read it, and close
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(attack.raw)
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(_MOST):
                found += part
    return replies(bytes(found), is_head=attack.raw.startswith(b"HEAD "))


def replies(content: bytes, *, is_head: bool = False) -> list[Reply]:
    r"""Return the responses in some bytes.

    Example:
        >>> replies(b"HTTP/1.1 204 No Content\r\na: b\r\n\r\n")
        [Reply(status=204, headers={'a': 'b'}, body=b'')]
    """
    stream, found = _Stream(content), []
    while stream.tell() < len(content):
        response = http.client.HTTPResponse(stream, method="HEAD" if is_head else "GET")  # type: ignore[arg-type]
        try:
            response.begin()
            body = response.read()
        except (http.client.HTTPException, ValueError):  # the rest is not HTTP: the server responded to a bare line
            found.append(Reply(0, {}, content[stream.tell() :] or content))
            break
        headers: dict[str, str] = {}
        for name, value in response.getheaders():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        found.append(Reply(response.status, headers, body))
    return found


class _Stream(io.BytesIO):
    """Bytes in place of the socket of ``http.client``; several responses are read from one."""

    def makefile(self, _mode: str) -> "_Stream":
        return self

    def close(self) -> None:
        """Stay open for the next response."""
