"""`mlops invoke` sends a request and prints the answer as it comes."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from deployed_unit import DeployedUnit

from mlops_cli import invoke
from mlops_cli.errors import UserError

Run = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def _served(status: int = 200, answer: bytes = b"") -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A service on this machine, and what it was sent."""
    seen: list[tuple[str, str, bytes]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Content-Type"], body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer or body)

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_service_with_an_address_is_asked_there(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """The endpoint's entry says where; body and content type go as they are, by the file's name."""
    (tmp_path / "rows.csv").write_text("1,2\n3,4\n")
    with _served() as (url, seen):
        deployed.publish(replace(deployed.endpoint_entry, url=f"{url}/"))
        result = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.csv")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "1,2\n3,4\n"
    assert seen == [("/invocations", "text/csv", b"1,2\n3,4\n")]


def test_an_endpoint_that_serves_nothing_yet_says_so(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """It is born at the first approval."""
    (tmp_path / "rows.json").write_text("{}")

    result = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json")

    assert result.returncode == 1
    assert "serves nothing yet: it is born when the first model is approved; look with mlops status" in result.stderr


def test_fails_for_an_endpoint_that_is_not_there(on_cloud: Run, tmp_path: Path) -> None:
    """With those that are."""
    (tmp_path / "rows.json").write_text("{}")

    result = on_cloud("invoke", "no-such", tmp_path / "rows.json")

    assert result.stderr.startswith("mlops: there is no endpoint 'no-such' here")


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("none.csv", "there is no file 'none.csv'; name one, or - for standard input"),
        (
            "rows.txt",
            "the content type of 'rows.txt' is not known by its name (.csv, .json, .jsonl); give --content-type",
        ),
    ],
)
def test_fails_for_a_file_that_cannot_be_sent(mlops: Run, tmp_path: Path, file: str, problem: str) -> None:
    """Before any account is asked."""
    (tmp_path / "rows.txt").write_text("1")

    assert mlops("invoke", "demand-forecast", file).stderr == f"mlops: {problem}\n"


def test_a_refusal_of_the_service_is_one_line() -> None:
    """With its status and its words."""
    said = json.dumps({"error": "column 'price'\nis missing"}).encode()
    with _served(400, said) as (url, _), pytest.raises(UserError, match=r"answers 400: .*column 'price'"):
        invoke.by_url(url, b"{}", "application/json")


def test_fails_for_a_service_out_of_reach_or_an_address_that_is_none() -> None:
    """It answers within its network only; a file is no service."""
    with pytest.raises(UserError, match=r"cannot be reached: .*; it answers within its network only"):
        invoke.by_url("http://127.0.0.1:9", b"", "text/csv")
    with pytest.raises(UserError, match="must be http or https, got 'file:///etc/passwd'"):
        invoke.by_url("file:///etc/passwd", b"", "text/csv")


class Runtime:
    """SageMaker's runtime for one endpoint."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def client(self, service: str) -> "Runtime":
        """Give itself."""
        assert service == "sagemaker-runtime"
        return self

    def invoke_endpoint(self, **arguments: Any) -> dict[str, Any]:
        """Answer, and keep what was asked."""
        self.asked = arguments
        return {"Body": type("Stream", (), {"read": lambda _: b"7.5"})()}


def test_sagemaker_is_asked_by_name() -> None:
    """The body goes untouched."""
    runtime = Runtime()

    answer = invoke._by_sagemaker(runtime, "demand-forecast", b"1,2", "text/csv")  # type: ignore[arg-type]

    assert answer == b"7.5"
    assert runtime.asked == {"EndpointName": "demand-forecast", "Body": b"1,2", "ContentType": "text/csv"}
