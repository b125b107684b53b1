"""Requests that the local server rejects before they have any effect."""

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlops_cli.console_server import ConsoleServer
from mlops_runtime.console.api import ConsoleApi

Ask = Callable[..., tuple[int, dict[str, str], bytes]]


class _Reached(Exception):  # noqa: N818 - no error: what must not happen
    """Raised when a request reaches the API."""


def _nowhere(_role: object) -> Any:
    raise _Reached


@pytest.fixture
def server() -> Iterator[ConsoleServer]:
    """A server whose API reaches no account."""
    with ConsoleServer(ConsoleApi(_nowhere)) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


@pytest.fixture
def ask(server: ConsoleServer) -> Ask:
    """Send a request: ``ask("GET", "/", Origin="https://evil.example")``; a header that is None is omitted."""

    def requested(
        method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        given = {"Authorization": f"Bearer {server.token}", "Host": server.host}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            found = connection.getresponse()
            return found.status, dict(found.getheaders()), found.read()
        finally:
            connection.close()

    return requested


@pytest.mark.parametrize(
    ("headers", "status", "title"),
    [
        ({"Host": "evil.example"}, 403, "foreign host"),
        ({"Host": None}, 403, "foreign host"),
        ({"Host": "localhost:80"}, 403, "foreign host"),
        ({"Origin": "https://evil.example"}, 403, "foreign page"),
        ({"Origin": "null"}, 403, "foreign page"),
        ({"Sec_Fetch_Site": "cross-site"}, 403, "foreign page"),
        ({"Authorization": None}, 401, "no token"),
        ({"Authorization": "Bearer other"}, 401, "no token"),
        ({"Authorization": "Bearer \xe9"}, 401, "no token"),
        ({"Transfer_Encoding": "chunked"}, 411, "bad request"),
        ({"Content_Length": "-1"}, 411, "bad request"),
        ({"Content_Length": "11000000"}, 413, "bad request"),
    ],
)
def test_foreign_requests_reach_no_account(ask: Ask, headers: dict[str, str | None], status: int, title: str) -> None:
    """Each returns a problem document with strict headers."""
    found, given, body = ask("GET", "/api/v1/units", **headers)

    assert (found, json.loads(body)["title"]) == (status, title)
    assert "trusted-types 'none'" in given["Content-Security-Policy"]


def test_pages_are_served_without_a_token(ask: Ask) -> None:
    """Pages contain no data, which comes from the API."""
    status, headers, body = ask("GET", "/", Authorization=None)

    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    (script,) = re.findall(rb'src="(/static/[^"]+)"', body)
    assert ask("GET", script.decode(), Authorization=None)[1]["Cache-Control"].endswith("immutable")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_pages_sign_in_by_the_token(ask: Ask) -> None:
    """Follows their configuration."""
    status, headers, body = ask("GET", "/config.json", Authorization=None)

    assert (status, json.loads(body)) == (200, {"signIn": {"kind": "token"}, "api": "/api"})
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/../console_server.py", "/%2e%2e/api.py", "/never.html", "/index.html/x"])
def test_no_other_file_is_served(ask: Ask, path: str) -> None:
    """Rejects every other path."""
    assert ask("GET", path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "QUERY", "DELETE", "TRACE"])
def test_pages_take_only_reads(ask: Ask, method: str) -> None:
    """Rejects unknown methods like known ones."""
    status, headers, _ = ask(method, "/")

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_doubled_header_is_refused(server: ConsoleServer) -> None:
    """Does not guess which header counts."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest("GET", "/api/v1/units", skip_host=True)
    for name, value in (("Host", server.host), ("Host", "evil.example")):
        connection.putheader(name, value)
    connection.endheaders()
    found = connection.getresponse()

    assert (found.status, json.loads(found.read())["detail"]) == (400, "these headers were sent more than once: host")
    connection.close()


@pytest.mark.parametrize(
    ("error", "is_printed"), [(BrokenPipeError(), False), (ConnectionResetError(), False), (ValueError("ours"), True)]
)
def test_a_client_that_leaves_is_no_fault(
    server: ConsoleServer, error: Exception, capsys: pytest.CaptureFixture[str], *, is_printed: bool
) -> None:
    """The terminal shows only faults of the program."""
    try:
        raise error
    except type(error):
        server.handle_error(None, ("127.0.0.1", 1))

    assert ("Traceback" in capsys.readouterr().err) == is_printed
