"""The server as a process: startup, rejection, drain; the number of processes by CPUs and memory."""

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.serving.server import fitting_workers

BODY = json.dumps({"instances": [{"price": 1.0, "store": "east"}] * 20}).encode()
GIB = 1024**3


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(
    root: Path,
    sha256: str,
    arguments: tuple[str, ...] = ("serve",),
    environment: Mapping[str, str] | None = None,
    errors: int = subprocess.PIPE,
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server over ``root/model``; yield its process and port. ``errors`` is the file of its log."""
    port = free_port()
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **({} if environment is None else environment),
        "MLOPS_OPT_ML": str(root),
        "MLOPS_BIND_HOST": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "MLOPS_MODEL_SHA256": sha256,
    }
    command = [sys.executable, "-m", "mlops_runtime.serving", *arguments]
    process = subprocess.Popen(command, env=variables, stderr=errors, text=True)
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def wait_for_ping(port: int) -> None:
    """Wait until the server answers its health check."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            status = connection.getresponse().status
        except OSError:
            time.sleep(0.05)
        else:
            assert status == 200
            return
    pytest.fail("the server did not answer /ping within 30 s")


def test_a_server_answers_and_drains_on_sigterm(models: Any, tmp_path: Path) -> None:
    """A partly sent request at SIGTERM is completed, then the process exits with 0."""
    models.write(tmp_path / "model")
    with server(tmp_path, hashlib.sha256(models.onnx()).hexdigest()) as (process, port):
        wait_for_ping(port)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as half:
            head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
            half.sendall(head.encode() + BODY[:50])
            time.sleep(0.2)  # until the server has read the header
            process.send_signal(signal.SIGTERM)
            threading.Timer(0.5, half.sendall, [BODY[50:]]).start()
            answer = b""
            while part := half.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"predictions": [22.0] * 20}
        assert process.wait(timeout=10) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
    ],
)
def test_pages_of_other_sites_get_no_answer(models: Any, tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """With configured names; otherwise any page's form would reach it, and a page under its own name could read it."""
    models.write(tmp_path / "model")
    names = {"MLOPS_HOSTS": "127.0.0.1,localhost"}
    with server(tmp_path, hashlib.sha256(models.onnx()).hexdigest(), environment=names) as (_, port):
        wait_for_ping(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/invocations", body=BODY, headers={"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
    assert answer.status == status
    assert ("predictions" in content) == (status == 200)
    assert status == 200 or "this server" in content["error"]


def test_fails_to_start_with_another_model(models: Any, tmp_path: Path) -> None:
    """One line, exit code 1, no traceback."""
    models.write(tmp_path / "model")
    with server(tmp_path, "0" * 64) as (process, _):
        _, errors = process.communicate(timeout=30)
    digest = hashlib.sha256(models.onnx()).hexdigest()
    expected = f"model.onnx has SHA-256 {digest}, expected {'0' * 64}: not the registered model"
    assert errors.splitlines() == [f"mlops serving: refuses to start: {expected}"]
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"MLOPS_REQUIREMENTS_SHA256": ""},
            "MLOPS_REQUIREMENTS_SHA256 is not set: this image has no environment for a model",
        ),
        ({"MLOPS_SIGNATURE_SHA256": "0" * 64}, "signature.json has SHA-256"),
        (
            {"MLOPS_TRUST": "data"},
            "model.py is loaded by handler with trust 'code', the registry allows data; register",
        ),
    ],
)
def test_fails_to_start_a_model_that_this_image_may_not_load(
    tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    """A model other than ONNX, in one line."""
    digest = model_folders.handler(tmp_path / "model")
    with server(tmp_path, digest, environment={**model_folders.ENVIRONMENT, **settings}) as (process, _):
        _, errors = process.communicate(timeout=30)
    assert errors.startswith(f"mlops serving: refuses to start: {message}")
    assert (process.returncode, errors.count("\n")) == (1, 1)


def test_a_server_ends_with_its_models_process(tmp_path: Path) -> None:
    """No response would be possible; the platform starts another server."""
    predict = "def predict(model, frame):\n    if len(frame) > 1: os._exit(3)\n    return [1.0]\n"
    digest = model_folders.handler(tmp_path / "model", f"import os\n\ndef load(folder): pass\n\n{predict}")
    with server(tmp_path, digest, environment=model_folders.ENVIRONMENT) as (process, port):
        wait_for_ping(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/invocations", body=b"1,east\n2,west\n", headers={"Content-Type": "text/csv"})
        assert connection.getresponse().status == 500
        assert process.wait(timeout=30) == 0


def test_fails_for_another_verb(tmp_path: Path) -> None:
    """SageMaker's verb for an endpoint is ``serve``."""
    with server(tmp_path, "", ("train",)) as (process, _):
        _, errors = process.communicate(timeout=30)
    assert errors.splitlines() == [
        "mlops serving: usage: python -m mlops_runtime.serving serve, or fetch <s3://bucket/key> <sha256> <folder>, got ['train']"
    ]
    assert process.returncode == 2


class Takes(BaseHTTPRequestHandler):
    """An S3 that stores objects."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[list[tuple[str, bytes]]] = []

    def do_PUT(self) -> None:
        """Store an object."""
        self.objects.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_calls_that_wait_are_written_at_sigterm(models: Any, tmp_path: Path) -> None:
    """A pod that is scaled in loses no captured call."""
    models.write(tmp_path / "model")
    bucket = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    capture = {
        "MLOPS_CAPTURE_URI": "s3://unit-capture/capture",
        "MLOPS_ENDPOINT": "demand-forecast",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{bucket.server_port}",
    }
    try:
        with server(tmp_path, hashlib.sha256(models.onnx()).hexdigest(), environment=capture) as (process, port):
            wait_for_ping(port)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("POST", "/invocations", BODY, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, len(answer.read())) == (200, len(b'{"predictions":[]}') + 20 * 5 - 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
    finally:
        bucket.shutdown()
        bucket.server_close()
    (path, content) = Takes.objects.pop()
    assert re.fullmatch(
        r"/unit-capture/capture/demand-forecast/AllTraffic/\d{4}/\d\d/\d\d/\d\d/[0-9a-f-]{36}\.jsonl", path
    )
    assert json.loads(content)["eventMetadata"]["eventId"] == answer.headers["x-inference-id"]


def test_fails_to_start_with_capture_but_no_credentials(models: Any, tmp_path: Path) -> None:
    """As under SageMaker's network isolation, where nothing could be written."""
    models.write(tmp_path / "model")
    capture = {"MLOPS_CAPTURE_URI": "s3://unit-capture/capture", "MLOPS_ENDPOINT": "demand-forecast"}
    with server(tmp_path, "0" * 64, environment=capture) as (process, _):
        _, errors = process.communicate(timeout=30)
    assert errors.startswith(
        "mlops serving: refuses to start: MLOPS_CAPTURE_URI is set, but the container has no credentials"
    )
    assert (process.returncode, len(errors.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("cpus", "quota", "available", "bound", "model", "expected"),
    [
        (4, None, 16, None, 0, 4),
        (4, "200000 100000", 16, None, 0, 2),
        (4, "50000 100000", 16, None, 0, 1),
        (4, "max 100000", 16, "max", 0, 4),
        (8, None, 16, 2 * GIB, 0, 6),
        (4, None, 16, None, 2, 2),
        (4, None, 8, None, 2, 1),
        (4, None, 1, None, 2, 1),
    ],
)
def test_cpus_and_memory_bound_the_processes(
    tmp_path: Path, cpus: int, quota: str | None, available: int, bound: object, model: int, expected: int
) -> None:
    """A model of 2 GB needs 6 GB per process; at least one runs."""
    (tmp_path / "model").mkdir()
    with (tmp_path / "model" / "weights.bin").open("wb") as file:
        file.truncate(model * GIB)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    if bound is not None:
        (tmp_path / "memory.max").write_text(f"{bound}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:       99999999 kB\nMemAvailable:   {available * 1024**2} kB\n")
    assert fitting_workers(tmp_path / "model", cgroup=tmp_path, meminfo=meminfo, cpus=cpus) == expected
