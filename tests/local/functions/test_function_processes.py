"""Function processes with shared modules, from the cloud's side."""

import io
import json
import os
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
from mlops_local.functions import function_processes
from mlops_local.functions.function_processes import ForkedFunction, ForkServer, is_shareable

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


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """One server per module."""
    made = ForkServer()
    yield made
    made.close()


@pytest.fixture
def run(server: ForkServer, tmp_path: Path):
    """Start a process of a script's source."""

    def start(text: str, **environment: str) -> ForkedFunction:
        folder = tmp_path / "code"
        folder.mkdir(exist_ok=True)
        script = tmp_path / "_worker.py"
        script.write_text(text)
        return server.start(str(script), folder=str(folder), environment={"PATH": os.environ["PATH"], **environment})

    return start


def test_lines_go_both_ways(run, tmp_path: Path) -> None:
    """Events are sent and responses read as by the cloud; errors have a stream of their own."""
    process = run(
        "import os, sys\n"
        "line = sys.stdin.readline()\n"
        "print(line.strip().upper(), os.getcwd(), os.environ['OWN'], len(os.environ), sys.argv, __name__)\n"
        "print('a problem: \u00fc', file=sys.stderr)\n"
        "sys.stdin.readline()\n",
        OWN="value",
    )
    process.stdin.write("gr\u00fcn\n")

    script = str(tmp_path / "_worker.py")
    assert process.stdout.readline() == f"GR\u00dcN {tmp_path / 'code'} value 2 ['{script}'] __main__\n"
    assert process.stderr.readline() == "a problem: \u00fc\n"  # while it lives
    process.stdin.write("\n")
    assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("text", "code"), [("pass", 0), ("import sys; sys.exit(3)", 3), ("1 / 0", 1), ("import os; os._exit(7)", 7)]
)
def test_exit_codes_come_back(run, text: str, code: int) -> None:
    """Exit codes are those of a normally started process."""
    process = run(text)

    assert process.wait(timeout=10) == code
    assert process.poll() == code
    assert ("ZeroDivisionError" in process.stderr.read()) == (text == "1 / 0")


def test_what_is_shared_is_not_collected(run) -> None:
    """Shared objects stay loaded until the end; a collection of them would cost each process 0.2 CPU seconds."""
    process = run("import boto3, gc; print(boto3.Session in gc.get_objects(), gc.get_freeze_count() > 10_000)")

    assert process.stdout.read() == "False True\n"


def test_a_process_is_killed_alone(run) -> None:
    """It is a process with a pid of its own; the server and other processes stay."""
    first, second = run("import sys; sys.stdin.read()"), run("import sys; print(len(sys.stdin.read()))")
    assert first.poll() is None

    first.kill()

    assert first.wait(timeout=10) == -9
    second.stdin.write("abc")
    second.stdin.close()
    assert second.stdout.read() == "3\n"
    assert second.wait(timeout=10) == 0


def test_sdk_is_loaded_and_state_is_not_shared(run) -> None:
    """State and random numbers of one process do not affect another."""
    text = (
        "import random, sys, time\n"
        "print('boto3' in sys.modules, hasattr(sys, 'mark'), random.random(), time.tzname)\n"
        "sys.mark = True\n"
    )

    one, other = run(text, TZ="Asia/Tokyo").stdout.read().split(), run(text, TZ="UTC").stdout.read().split()

    assert one[:2] == other[:2] == ["True", "False"]
    assert one[2] != other[2]
    assert ("JST" in one[3], "JST" in other[3]) == (True, False)


def test_many_at_once(server: ForkServer, tmp_path: Path) -> None:
    """Threads of the cloud start them concurrently; each reads its own lines."""
    script = tmp_path / "_worker.py"
    script.write_text("import sys; print(sys.stdin.readline().strip())")
    found: list[tuple[str, str]] = []

    def start(number: int) -> None:
        process = server.start(str(script), folder=str(tmp_path), environment={})
        process.stdin.write(f"{number}\n")
        found.append((process.stdout.read().strip(), str(process.wait(timeout=20))))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted((str(number), "0") for number in range(12))


def test_a_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    """The next function starts; a process of the killed server is reported as killed."""
    script = tmp_path / "_worker.py"
    script.write_text("import os, sys; print(os.getppid(), flush=True); sys.stdin.read()")
    server = ForkServer()
    try:
        before = server.start(str(script), folder=str(tmp_path), environment={})
        os.kill(int(before.stdout.readline()), 9)
        assert before.wait(timeout=10) == -9

        after = server.start(str(script), folder=str(tmp_path), environment={})
        assert after.stdout.readline().strip().isdigit()
        after.stdin.close()
        assert after.wait(timeout=10) == 0
    finally:
        server.close()


PYTHON = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


@pytest.mark.parametrize(
    ("made", "environment", "expected"),
    [
        ("handler.py", {}, True),
        ("botocore/__init__.py", {}, False),
        ("layer/python/boto3/__init__.py", {"_LAMBDA_LAYERS_DIRS": "layer"}, False),
        ("layer/python/lib/python3.14/site-packages/urllib3/__init__.py", {"_LAMBDA_LAYERS_DIRS": "layer"}, False),
        ("layer/python/numpy/__init__.py", {"_LAMBDA_LAYERS_DIRS": "layer"}, True),
        ("handler.py", {"PYTHONHASHSEED": "7"}, False),
    ],
)
def test_what_brings_its_own_sdk_shares_nothing(
    tmp_path: Path, made: str, environment: dict[str, str], expected: bool
) -> None:
    """Nor does a function that sets a variable which Python reads at its start."""
    (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / made).touch()
    layers = {name: str(tmp_path / value) if "LAYERS" in name else value for name, value in environment.items()}
    command = [sys.executable, str(tmp_path / "_worker.py")]

    assert is_shareable(command, folder=str(tmp_path), environment=PYTHON | layers) is expected


@pytest.mark.parametrize("command", [["node", "worker.mjs"], [sys.executable], [sys.executable, "-m", "handler"]])
def test_other_programs_are_started(command: list[str]) -> None:
    """Another runtime, or another form of the command, starts as a separate program."""
    assert not is_shareable(command, folder="", environment=PYTHON)


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
        (lambda_svc, ("invalidate_worker", "release_worker")),
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
        function_processes._keep_busy_processes()
        lambda_runtime.invalidate_worker("changing")

        assert list(lambda_runtime._workers.values()) == [[lock.leased]]
        assert process.poll() is not None
