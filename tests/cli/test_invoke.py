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

from mlops_runtime.contracts.serving import PersonalSpec

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


def test_a_refusal_of_the_service_is_one_line(on_cloud: Run, deployed: DeployedUnit, tmp_path: Path) -> None:
    """With its status and its words."""
    (tmp_path / "rows.json").write_text("{}")
    with _served(400, json.dumps({"error": "column 'price'\nis missing"}).encode()) as (url, _):
        deployed.publish(replace(deployed.endpoint_entry, url=url))
        result = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json")

    assert result.returncode == 1
    assert "answers 400: " in result.stderr
    assert "column 'price'" in result.stderr


def test_personal_fields_are_found_by_name_or_nothing_is_sent(
    on_cloud: Run, deployed: DeployedUnit, tmp_path: Path
) -> None:
    """Of JSON they are left out; CSV has no names."""
    personal = PersonalSpec(withheld=("email",))
    (tmp_path / "rows.json").write_text('{"instances": [{"email": "ann@x.example", "price": 1}]}')
    (tmp_path / "rows.csv").write_text("ann@x.example,1")
    with _served() as (url, seen):
        deployed.publish(replace(deployed.endpoint_entry, url=url, personal=personal))
        sent = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.json")
        refused = on_cloud("invoke", deployed.endpoint, tmp_path / "rows.csv")

    assert json.loads(sent.stdout) == {"instances": [{"price": 1}]}
    assert (refused.returncode, len(seen)) == (1, 1)
    assert "text/csv has no names to find them by" in refused.stderr
