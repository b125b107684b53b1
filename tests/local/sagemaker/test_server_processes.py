"""Processes of containers: which share our server's modules, and that a forked one equals a started one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_local.functions.function_processes import ForkedModule, ForkServer
from mlops_local.sagemaker import server_processes

SERVE = [sys.executable, "-m", "mlops_runtime.serving", "serve"]
TRAIN = [sys.executable, "-m", "mlops_runtime.jobs.train"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (SERVE, True),
        (["/elsewhere/python", *SERVE[1:]], False),
        ([*SERVE, "more"], False),
        ([*TRAIN, "train.py"], True),
        ([*TRAIN[:2], "mlops_runtime.jobs.train_elsewhere"], False),
        ([sys.executable, "train.py"], False),
    ],
)
def test_only_our_server_and_jobs_are_shared(command: list[str], expected: bool) -> None:
    """Other programs have processes of their own."""
    assert server_processes.is_shareable(command) is expected


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[Any, ForkServer]]:
    """Start without a fork server, and end those of the test."""
    found: dict[Any, ForkServer] = {}
    monkeypatch.setattr(server_processes, "_servers", found)
    yield found
    for server in found.values():
        server.close()


def test_what_is_loaded_has_the_containers_variables_and_none_of_this_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, servers: dict[Any, ForkServer]
) -> None:
    """Modules are loaded with the container's variables, so OPENBLAS or ONNX Runtime settings of this machine do not matter."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    container = {"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "7"}

    process = server_processes.start(SERVE, env=container, cwd=tmp_path)
    assert isinstance(process, ForkedModule)
    (server,) = servers.values()
    assert server._process is not None
    loaded = Path(f"/proc/{server._process.pid}/environ").read_bytes().split(b"\0")

    _ended(process)
    assert [each for each in loaded if each.startswith((b"OMP_", b"OPENBLAS_", b"ORT_"))] == [
        b"ORT_DISABLE_TELEMETRY=1",
        b"OMP_NUM_THREADS=7",
    ]


def test_sets_of_variables_beyond_a_few_have_processes_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, servers: dict[Any, ForkServer]
) -> None:
    """Paths that differ per job would keep one fork server after another in memory."""
    monkeypatch.setattr(server_processes, "_MOST", 1)
    one, other = ({"PATH": os.environ["PATH"], "OMP_NUM_THREADS": number} for number in ("1", "2"))

    processes = [server_processes.start(SERVE, env=env, cwd=tmp_path) for env in (one, other, one)]

    assert [isinstance(process, ForkedModule) for process in processes] == [True, False, True]
    assert len(servers) == 1
    for process in processes:
        _ended(process)


def test_a_forked_server_says_what_it_lacks_and_ends(tmp_path: Path) -> None:
    """It leads a process group, has only the given environment and folder, and its errors are in its output."""
    environment = _read_at_load() | {"PATH": os.environ["PATH"], "MLOPS_OPT_ML": str(tmp_path)}

    processes = [server_processes.start(SERVE, env=environment, cwd=tmp_path) for _ in range(2)]

    assert all(isinstance(process, ForkedModule) for process in processes)
    for process in processes:
        assert process.stdout is not None
        with process.stdout:
            assert b"mlops serving" in process.stdout.read()
        assert process.wait(timeout=30) != 0


def test_a_forked_job_is_what_a_started_one_would_be(tmp_path: Path) -> None:
    """The second job of a kind finds its module loaded, with the same output and files as one started by Python."""
    environment = _read_at_load() | {"PATH": os.environ["PATH"]}

    ended = []
    for number in range(2):
        root = tmp_path / str(number)
        (root / "output").mkdir(parents=True)
        process = server_processes.start([*TRAIN, "a.py"], env=environment | {"MLOPS_OPT_ML": str(root)}, cwd=root)
        assert isinstance(process, ForkedModule)
        with process.stdout:
            said = process.stdout.read().decode()
        ended.append((process.wait(timeout=60), said, (root / "output" / "failure").read_text()))
    (tmp_path / "started" / "output").mkdir(parents=True)
    started = subprocess.run(
        [*TRAIN, "a.py"],
        env=environment | {"MLOPS_OPT_ML": str(tmp_path / "started")},
        capture_output=True,
        text=True,
        check=False,
    )

    failure = (tmp_path / "started" / "output" / "failure").read_text()
    expected = (started.returncode, started.stdout + started.stderr, failure)
    assert [[str(part).replace(str(tmp_path / str(n)), "") for part in one] for n, one in enumerate(ended)] == [
        [str(part).replace(str(tmp_path / "started"), "") for part in expected]
    ] * 2


def test_others_are_started(tmp_path: Path) -> None:
    """Their errors are in their output, and they lead a process group."""
    process = server_processes.start(
        [sys.executable, "-c", "import os, sys; print(os.getpgrp() == os.getpid(), file=sys.stderr)"],
        env=dict(os.environ),
        cwd=tmp_path,
    )

    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.read() == b"True\n"
    assert process.wait(timeout=30) == 0


def test_a_forked_server_is_killed_with_its_group(tmp_path: Path) -> None:
    """The group exists as soon as the process is known."""
    process = server_processes.start(SERVE, env=_read_at_load() | {"PATH": os.environ["PATH"]}, cwd=tmp_path)
    assert process.stdout is not None

    os.killpg(process.pid, 9)

    started = time.monotonic()
    assert process.wait(timeout=30) in (-9, 1, 2)  # or it ended by itself before
    assert time.monotonic() - started < 30
    process.stdout.close()


def _ended(process: "subprocess.Popen[bytes] | ForkedModule") -> None:
    """Wait for a server without a model."""
    assert process.stdout is not None
    with process.stdout:
        assert b"mlops serving" in process.stdout.read()
    assert process.wait(timeout=60) != 0


def _read_at_load() -> dict[str, str]:
    """The module that the processes of these tests load."""
    return {name: value for name, value in os.environ.items() if name.startswith(server_processes._READ_AT_LOAD)}
