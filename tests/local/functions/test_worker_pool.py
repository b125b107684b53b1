"""Processes of a function that serves several calls at once, when one of them breaks or the function changes."""

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops_local.cloud import Cloud

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
    """A function whose call waits for a file ``go``, and whose process ends at once where a file ``broken`` is."""
    make_function(cloud, unique, {"handler.py": HANDLER}, environment={"FOLDER": str(tmp_path)})
    return unique


@pytest.fixture
def call(cloud: Cloud, function: str) -> Callable[..., dict[str, Any]]:
    """Call the function; the answer has its process, or its error."""

    def invoke(**event: Any) -> dict[str, Any]:
        answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        body = json.loads(answer["Payload"].read())
        return {"error": body["errorMessage"]} if answer.get("FunctionError") else {"process": body}

    return invoke


@pytest.fixture
def running(call: Callable[..., dict[str, Any]], wait_for: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Have a call run while others come; its answer is there at the end."""

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
    """Each call that runs has an environment of its own."""
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
    """A call that has begun is answered; its process serves none that comes after the change."""
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
