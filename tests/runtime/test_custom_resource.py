"""The answer to CloudFormation, sent over real HTTP on this machine."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from mlops_runtime.custom_resource import answer

EVENT = {"StackId": "s", "RequestId": "r", "LogicalResourceId": "l"}


@pytest.fixture
def bucket() -> Iterator[tuple[str, list[tuple[str, str | None, dict[str, Any]]]]]:
    """A server that takes what a presigned URL would."""
    received: list[tuple[str, str | None, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/answer?signature=1", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_success_carries_attributes(bucket: tuple[str, list[Any]]) -> None:
    """All fields that the response object must have, with an empty content type, as the URL is signed for."""
    url, received = bucket
    answer(EVENT | {"ResponseURL": url}, physical_id="p", data={"SpecHash": "h"})
    [(path, content_type, document)] = received
    assert (path, content_type) == ("/answer?signature=1", "")
    assert document == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "p",
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "l",
        "Data": {"SpecHash": "h"},
    }


def test_failure_carries_a_reason_that_fits(bucket: tuple[str, list[Any]]) -> None:
    """The whole answer may have 4096 bytes."""
    url, received = bucket
    answer(EVENT | {"ResponseURL": url}, physical_id="p", failure="x" * 10_000)
    document = received[0][2]
    assert document["Status"] == "FAILED"
    assert len(json.dumps(document)) < 4096


@pytest.mark.parametrize("url", ["http://example.com/x", "file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_fails_when_the_url_is_not_https(url: str) -> None:
    """The function sends nothing where anyone could listen."""
    with pytest.raises(ValueError, match="ResponseURL must be HTTPS"):
        answer(EVENT | {"ResponseURL": url}, physical_id="p")
