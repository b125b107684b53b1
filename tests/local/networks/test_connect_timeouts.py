"""The plugin that raises botocore's own error for an unreachable service."""

import http.server
import json
import threading
from collections.abc import Iterator

import boto3
import botocore.exceptions
import pytest

from mlops_local.networks import connect_timeouts


class _Unreached(http.server.BaseHTTPRequestHandler):
    """Responds like the embedded cloud."""

    code = connect_timeouts.CODE
    connections = 0

    def do_POST(self) -> None:
        """Count the request, and return the error code."""
        type(self).connections += 1
        content = json.dumps({"__type": self.code, "message": "https://sqs.test/ no endpoint of sqs"}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a server on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Unreached)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _client(address: str) -> object:
    return boto3.client(
        "sqs", endpoint_url=address, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def test_the_error_is_botocores_and_says_what_is_missing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request without retry: a timeout there costs minutes."""
    for name, value in connect_timeouts.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    before = _Unreached.connections

    with pytest.raises(botocore.exceptions.ConnectTimeoutError, match=r'"https://sqs.test/": no endpoint of sqs'):
        _client(address).list_queues()  # type: ignore[attr-defined]

    assert _Unreached.connections == before + 1


def test_without_the_variable_it_is_a_client_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ClientError of the same name, where botocore loads no plugins."""
    monkeypatch.delenv(connect_timeouts.VARIABLE, raising=False)

    with pytest.raises(botocore.exceptions.ClientError, match="ConnectTimeout"):
        _client(address).list_queues()  # type: ignore[attr-defined]


def test_other_errors_stay(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the embedded cloud's own code is a timeout."""
    monkeypatch.setenv(connect_timeouts.VARIABLE, connect_timeouts.ENVIRONMENT[connect_timeouts.VARIABLE])
    monkeypatch.setattr(_Unreached, "code", "AccessDenied")

    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        _client(address).list_queues()  # type: ignore[attr-defined]
