"""The answer to CloudFormation, sent over real HTTP on this machine.

SQS batches.

What SageMaker's errors mean.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.lambda_protocol import Message, answer, each, is_missing, messages

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


def _event(*bodies: str) -> dict[str, object]:
    attributes = {"SentTimestamp": "1501578000500"}
    return {"Records": [{"messageId": f"m{i}", "body": b, "attributes": attributes} for i, b in enumerate(bodies)]}


def test_a_message_knows_when_the_queue_took_it() -> None:
    """Milliseconds of the epoch, in UTC."""
    assert messages(_event("a")) == [
        Message(id="m0", body="a", sent=datetime(2017, 8, 1, 9, 0, 0, 500_000, tzinfo=UTC))
    ]


def test_only_what_failed_stays_in_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    """The others are done, before and after it."""
    done: list[str] = []

    def work(message: Message) -> None:
        if message.body == "bad":
            raise ValueError("broken")
        done.append(message.id)

    assert each(_event("a", "bad", "c"), work) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert done == ["m0", "m2"]
    assert "message m1 failed and stays in the queue" in caplog.text


@pytest.mark.parametrize(
    ("code", "message", "missing"),
    [
        ("ValidationException", 'Could not find endpoint "arn".', True),
        ("ValidationException", "ModelPackage arn does not exist.", True),
        ("ResourceNotFound", "", True),
        ("ValidationException", "1 validation error detected", False),
        ("AccessDeniedException", "Could not find permission", False),
        ("ThrottlingException", "", False),
    ],
)
def test_missing_is_told_from_other_errors(code: str, message: str, missing: bool) -> None:
    """SageMaker has no code of its own for it; anything else must not pass for absence."""
    error = ClientError({"Error": {"Code": code, "Message": message}}, "DescribeEndpoint")
    assert is_missing(error) is missing
