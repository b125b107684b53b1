"""Processes in place of containers: how they end, and that none outlives its cloud."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_local import session_processes as sessions
from mlops_local.cloud import Cloud
from mlops_local.functions.function_processes import ForkedModule, ForkServer
from mlops_local.sagemaker import container_processes
from mlops_local.sagemaker.container_processes import LogStream, Process, environment, mapped
from mlops_local.sagemaker.role_clients import Identity

SCRIPTS = Path(__file__).parent / "scripts"
SERVE = [sys.executable, "-m", "mlops_runtime.serving", "serve"]
TRAIN = [sys.executable, "-m", "mlops_runtime.jobs.train"]


class _Lines:
    """A log stream in memory."""

    stream = "test"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False

    def write(self, line: str) -> None:
        """Store a line."""
        self.lines.append(line)

    def close(self) -> None:
        """Record the end."""
        self.closed = True


def _start(tmp_path: Path, code: str, logs: _Lines) -> Process:
    return Process([sys.executable, "-uc", code], env=dict(os.environ), cwd=tmp_path, logs=logs)  # type: ignore[arg-type]


def _await(logs: _Lines, line: str) -> None:
    deadline = time.monotonic() + 60
    while line not in logs.lines:
        assert time.monotonic() < deadline, logs.lines
        time.sleep(0.01)


def test_lines_and_exit_code_come_back(tmp_path: Path) -> None:
    """Both streams of the process are its log, in order; its exit code is kept."""
    logs = _Lines()
    code = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(4)"
    process = _start(tmp_path, code, logs)
    assert process.wait(10) == 4
    assert (logs.lines, logs.closed) == (["one", "two"], True)


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    """A container's output does not fill the embedded cloud's memory."""
    logs = _Lines()
    process = _start(tmp_path, "import sys; sys.stdout.write('x' * 150_000)", logs)
    assert process.wait(10) == 0
    assert [len(line) for line in logs.lines] == [65536, 65536, 18928]


class _Logs:
    """A client of CloudWatch Logs, and the identity that returns it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def of_service(self) -> "_Logs":
        return self

    def client(self, _: str) -> "_Logs":
        return self

    def create_log_group(self, **_: str) -> None:
        """Do nothing: the group exists."""

    create_log_stream = create_log_group

    def put_log_events(self, **request: Any) -> None:
        """Store the lines."""
        self.lines += [event["message"] for event in request["logEvents"]]


def test_a_jobs_log_has_a_limit() -> None:
    """The cut is reported once; the container keeps printing."""
    service = _Logs()
    logs = LogStream("group", "stream", service, limit=3 * 1024**2)  # type: ignore[arg-type]
    for _ in range(30_000):
        logs.write("x" * 1000)
    logs.close()
    assert len(service.lines) == 3 * 1024**2 // 1026 + 1
    assert service.lines[-1] == "the embedded cloud keeps 3 MiB of a job's log; the rest is dropped"


def test_stop_lets_the_process_end_by_itself(tmp_path: Path) -> None:
    """SIGTERM comes first; the process may clean up and choose its exit code."""
    logs = _Lines()
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); print('ready'); time.sleep(60)"
    process = _start(tmp_path, code, logs)
    _await(logs, "ready")
    assert process.stop(10) == 7


def test_stop_kills_a_deaf_process_and_its_children(tmp_path: Path) -> None:
    """SIGKILL follows after the grace period, for the process and its descendants."""
    logs = _Lines()
    code = (
        "import signal, subprocess, sys, time; signal.signal(15, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid); print('ready'); time.sleep(60)"
    )
    process = _start(tmp_path, code, logs)
    _await(logs, "ready")
    assert process.stop(0.3) == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while sessions.born(int(logs.lines[0])) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_paths_of_the_container_are_mapped() -> None:
    """Every /opt/ml in a string is replaced by the private root."""
    assert mapped(Path("/r"), "a=/opt/ml/input:/opt/ml/model") == "a=/r/input:/r/model"


def test_isolated_environment_holds_only_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher's own variables do not reach a container, and an isolated one has no credentials."""
    monkeypatch.setenv("MLOPS_LOCAL_PORT", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    given = environment(Path("/r"), {"A": "/opt/ml/x"}, Identity("arn:aws:iam::0:role/r", "arn"), isolated=True)
    assert given["A"] == "/r/x"
    assert given["MLOPS_OPT_ML"] == "/r"
    assert given["PATH"] == os.environ["PATH"]
    assert not [name for name in given if name.startswith("MLOPS_LOCAL") or "KEY" in name]


def test_down_ends_a_running_job(own_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` during a job that ignores SIGTERM leaves no process of the cloud's session, and no files."""
    rows = {"tiny": {"train": [str(SCRIPTS / "job.py")]}}
    monkeypatch.setenv("MLOPS_LOCAL_RUNNERS", json.dumps(rows))
    cloud = own_cloud()
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName="execution", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    before = set(sessions.members(cloud.pid))
    cloud.client("sagemaker").create_processing_job(
        ProcessingJobName="endless",
        AppSpecification={"ImageUri": "tiny:1", "ContainerArguments": ["end=deaf"]},
        RoleArn=role,
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}},
    )
    deadline = time.monotonic() + 60
    while not (started := set(sessions.members(cloud.pid)) - before):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cloud.down()
    assert [pid for pid in started if sessions.born(pid) is not None] == []
    assert not (cloud.home / "state").exists()


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
    assert container_processes.is_shareable(command) is expected


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[Any, ForkServer]]:
    """Start without a fork server, and end those of the test."""
    found: dict[Any, ForkServer] = {}
    monkeypatch.setattr(container_processes, "_servers", found)
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

    process = container_processes.start_process(SERVE, env=container, cwd=tmp_path)
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
    monkeypatch.setattr(container_processes, "_MOST", 1)
    one, other = ({"PATH": os.environ["PATH"], "OMP_NUM_THREADS": number} for number in ("1", "2"))

    processes = [container_processes.start_process(SERVE, env=env, cwd=tmp_path) for env in (one, other, one)]

    assert [isinstance(process, ForkedModule) for process in processes] == [True, False, True]
    assert len(servers) == 1
    for process in processes:
        _ended(process)


def test_a_forked_server_says_what_it_lacks_and_ends(tmp_path: Path) -> None:
    """It leads a process group, has only the given environment and folder, and its errors are in its output."""
    environment = _read_at_load() | {"PATH": os.environ["PATH"], "MLOPS_OPT_ML": str(tmp_path)}

    processes = [container_processes.start_process(SERVE, env=environment, cwd=tmp_path) for _ in range(2)]

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
        process = container_processes.start_process(
            [*TRAIN, "a.py"], env=environment | {"MLOPS_OPT_ML": str(root)}, cwd=root
        )
        assert isinstance(process, ForkedModule)
        with process.stdout:
            output = process.stdout.read().decode()
        ended.append((process.wait(timeout=60), output, (root / "output" / "failure").read_text()))
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
    process = container_processes.start_process(
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
    process = container_processes.start_process(SERVE, env=_read_at_load() | {"PATH": os.environ["PATH"]}, cwd=tmp_path)
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
    return {name: value for name, value in os.environ.items() if name.startswith(container_processes._READ_AT_LOAD)}
