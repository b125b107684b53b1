"""Processes of a function with concurrent calls, when one breaks or the function changes."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from mlops_local.cloud import Cloud
from mlops_local.functions import worker_pool

HANDLER = """
import os, pathlib, time

FOLDER = pathlib.Path(os.environ["FOLDER"])
if (FOLDER / "broken").exists():
    os._exit(3)

def handler(event, context):
    if event.get("wait"):
        (FOLDER / str(os.getpid())).touch()
        deadline = time.monotonic() + 25
        while not (FOLDER / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    return os.getpid()
"""


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", HANDLER)
    return buffer.getvalue()


@pytest.fixture
def function(cloud: Cloud, make_function: Callable[..., str], unique: str, tmp_path: Path) -> str:
    """A function whose call waits for a file ``go``, and whose process exits if there is a file ``broken``."""
    make_function(cloud, unique, {"handler.py": HANDLER}, environment={"FOLDER": str(tmp_path)})
    return unique


@pytest.fixture
def call(cloud: Cloud, function: str) -> Callable[..., dict[str, Any]]:
    """Call the function; return its process id or its error."""

    def invoke(**event: Any) -> dict[str, Any]:
        answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        body = json.loads(answer["Payload"].read())
        return {"error": body["errorMessage"]} if answer.get("FunctionError") else {"process": body}

    return invoke


@pytest.fixture
def running(call: Callable[..., dict[str, Any]], wait_for: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Run a call concurrently with others; its response is available at the end."""

    @contextmanager
    def made() -> Iterator[dict[str, Any]]:
        answer: dict[str, Any] = {}
        caller = threading.Thread(target=lambda: answer.update(call(wait=True)))
        caller.start()
        try:
            answer["began"] = int(
                wait_for(lambda: [each.name for each in tmp_path.iterdir() if each.name.isdigit()])[0]
            )
            yield answer
        finally:
            (tmp_path / "go").touch()
            caller.join(timeout=30)

    return made


def test_a_process_that_ends_leaves_the_others_of_its_function(
    call: Callable[..., dict[str, Any]], running: Callable[..., Any], tmp_path: Path
) -> None:
    """Each running call has an environment of its own."""
    with running() as answer:
        (tmp_path / "broken").touch()
        assert "exited immediately" in call()["error"]
        (tmp_path / "broken").unlink()
        assert call()["process"] != answer["began"]
    assert answer["process"] == answer["began"]


@pytest.mark.parametrize("change", ["code", "configuration", "deletion"])
def test_what_runs_ends_although_the_function_changes(
    cloud: Cloud,
    function: str,
    running: Callable[..., Any],
    call: Callable[..., dict[str, Any]],
    wait_for: Callable[..., Any],
    change: str,
) -> None:
    """A running call completes; its process serves no call after the change."""
    client = cloud.client("lambda")
    with running() as answer:
        if change == "code":
            client.update_function_code(FunctionName=function, ZipFile=_zipped())
        elif change == "configuration":
            client.update_function_configuration(FunctionName=function, MemorySize=256)
        else:
            client.delete_function(FunctionName=function)
    assert answer.get("process") == answer["began"]
    assert wait_for(lambda: not Path(f"/proc/{answer['began']}").exists())
    if change != "deletion":
        assert call()["process"] != answer["began"]


class _LeasingLock:
    """The lock of the pool; a call takes a process when it is released for the first time."""

    def __init__(self, lease: Callable[[], Any]) -> None:
        self._lock, self._lease, self.leased = threading.Lock(), lease, None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        lease, self._lease = self._lease, lambda: None
        self.leased = lease() or self.leased


def test_a_call_that_comes_while_the_function_changes_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a new process, which stays in the pool; the idle one ends."""
    for module, names in (
        (lambda_runtime, ("invalidate_worker", "release_worker")),
        (lambda_svc, ("invalidate_worker",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    for kind in (lambda_runtime.Worker, lambda_runtime.ProvidedWorker):
        monkeypatch.setattr(kind, "invoke", kind.invoke)
    monkeypatch.setattr(lambda_runtime, "_workers", {})
    config = {"FunctionArn": "arn:aws:lambda:eu-west-1:111111111111:function:changing", "Runtime": "python3.12"}

    def lease() -> Any:
        return lambda_runtime.acquire_worker("changing", config, b"")[0]

    idle = lease()
    lambda_runtime.release_worker(idle)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        idle._proc = process
        lock = _LeasingLock(lease)
        monkeypatch.setattr(lambda_runtime, "_lock", lock)
        worker_pool.install()
        lambda_runtime.invalidate_worker("changing")

        assert list(lambda_runtime._workers.values()) == [[lock.leased]]
        assert process.poll() is not None
