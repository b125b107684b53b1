"""Function processes with shared modules, from the cloud's side."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_local.functions.function_processes import ForkedFunction, ForkServer, is_shareable


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
