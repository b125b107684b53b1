"""How the contract kit talks to a server: one request a connection, two on one, and one that SIGTERM comes into."""

import http.client
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# "containers must respond to requests within 60 seconds"
ANSWER_SECONDS = 60.0
# SIGKILL comes 30 s after SIGTERM
DRAIN_SECONDS = 30.0
_HEAD_SECONDS = 0.5  # until a server has read the head of a request


class NoAnswerError(OSError):
    """A server does not answer; the message says to what, and how long it was waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content_type: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class Client:
    """Asks one server.

    Args:
        url: ``http://host:port``.

    Raises:
        NoAnswerError: It is no such URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise NoAnswerError(f"the server must be http://host:port, got {url!r}")
        self.host, self.port = parts.hostname, 80 if port is None else port

    def connect(self) -> None:
        """Find out whether anything listens.

        Raises:
            NoAnswerError: Nothing does.
        """
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except OSError as error:
            raise NoAnswerError(
                f"nothing listens at {self.host}:{self.port}: {error}; start the server first"
            ) from error

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        *,
        timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """Send one request on a connection of its own.

        Raises:
            NoAnswerError: There is no answer in time, or no HTTP.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            return _ask(connection, method, path, body, content_type)
        finally:
            connection.close()

    def ask_twice(self, method: str, path: str, body: bytes, content_type: str) -> tuple[Answer, Answer]:
        """Send a request twice on one connection, if the server keeps it.

        Raises:
            NoAnswerError: As in `ask`; also where the server closes a connection that it said it would keep.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_SECONDS)
        try:
            first = _ask(connection, method, path, body, content_type)
            return first, _ask(connection, method, path, body, content_type)
        finally:
            connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, content_type: str
) -> Answer:
    began = time.monotonic()
    try:
        connection.request(method, path, body, {"content-type": content_type} if content_type else {})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        took = f"{type(error).__name__} after {time.monotonic() - began:.1f} s"
        raise NoAnswerError(f"{method} {path} must be answered within {connection.timeout:g} s, got {took}") from error
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(response.status, kind, content)


def drained(client: Client, pid: int, content_type: str, body: bytes) -> str:
    """Send SIGTERM into a half-sent request, send the rest, and see the process go. Returns what is wrong, or nothing."""
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: {client.host}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection((client.host, client.port), timeout=DRAIN_SECONDS) as half:
        half.sendall(head + body[:1])
        time.sleep(_HEAD_SECONDS)
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError as error:
            return f"SIGTERM must reach process {pid}: {error.strerror}; give the server's own (--pid)"
        time.sleep(_HEAD_SECONDS)
        answer = b""
        try:
            half.sendall(body[1:])
            while part := half.recv(65536):
                answer += part
        except OSError as error:
            return f"a request in flight at SIGTERM must be answered, got {type(error).__name__}"
    if not answer.startswith(b"HTTP/1.1 200"):
        return f"a request in flight at SIGTERM must be answered with 200, got {answer[:60]!r}"
    deadline = time.monotonic() + DRAIN_SECONDS
    while _runs(pid):
        if time.monotonic() > deadline:
            return f"the process must end within {DRAIN_SECONDS:g} s of SIGTERM, and it still runs"
        time.sleep(0.05)
    return ""


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has asked about yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not stat.parent.parent.exists()  # no /proc here: the signal went through
