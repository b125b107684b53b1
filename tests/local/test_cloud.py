"""Starting, finding and stopping the embedded cloud on a laptop, and the port of a folder's cloud.

The last port is used again if it is free.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlops_local import session_processes
from mlops_local.cloud import CloudError, PortError, connect, default_home, listen, listen_again, remember, up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_local.cloud import Cloud


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use by another process."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_the_last_port_is_taken_again(tmp_path: Path) -> None:
    """A shell's environment stays valid."""
    with listen(None) as first:
        port = first.getsockname()[1]
        remember(tmp_path / "port", first)

    messages: list[str] = []
    with listen_again(tmp_path / "port", messages.append) as second:
        assert second.getsockname() == ("127.0.0.1", port)
    assert messages == []


def test_another_port_is_told(tmp_path: Path, taken: int) -> None:
    """Another process uses the old port."""
    (tmp_path / "port").write_text(f"{taken}\n")

    messages: list[str] = []
    with listen_again(tmp_path / "port", messages.append) as listener:
        assert listener.getsockname()[1] != taken
    assert messages == [f"port {taken}, which this cloud had last, is in use; shells need `mlops local env` again"]


@pytest.mark.parametrize("content", [None, "", "many", "0", "-1", "65536"])
def test_no_known_port_is_a_free_one(content: str | None, tmp_path: Path) -> None:
    """At the first start, and with a damaged file."""
    if content is not None:
        (tmp_path / "port").write_text(content)

    with listen_again(tmp_path / "port", None) as listener:
        assert listener.getsockname()[1] > 0


def test_fails_on_a_port_in_use(taken: int) -> None:
    """The error names the requested port; no other is used."""
    with pytest.raises(PortError, match=rf"port {taken} on 127.0.0.1 cannot be used \(address already in use\)"):
        listen(taken)


def test_comes_up_within_five_seconds_of_processor_time(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """Starts, responds to AWS calls, describes itself, and uses little CPU to start and stop."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cloud = own_cloud()
    assert cloud.client("sts").get_caller_identity()["Account"] == "000000000000"
    status = cloud.status()
    assert status["endpoint_url"] == cloud.endpoint_url == f"http://127.0.0.1:{cloud.port}"
    assert (status["pid"], status["ministack"], status["home"]) == (cloud.pid, "1.5.33", str(tmp_path / "cloud"))
    assert connect(tmp_path / "cloud") == cloud
    cloud.down()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert 0.3 < after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_listens_on_loopback_only(own_cloud: Callable[..., Cloud]) -> None:
    """Other machines cannot connect."""
    cloud = own_cloud()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", cloud.port), timeout=2):
        pass


def test_keeps_the_users_aws_settings_out(own_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile, a key or a session token is not passed to processes of the cloud."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    cloud = own_cloud()
    with open(f"/proc/{cloud.pid}/environ", "rb") as file:  # noqa: PTH123 - not a file on disk
        names = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0") if entry)
    assert b"AWS_PROFILE" not in names
    assert b"AWS_SESSION_TOKEN" not in names
    assert b"PYTHONDONTWRITEBYTECODE" not in names  # its processes would each compile the same modules
    assert names[b"AWS_ACCESS_KEY_ID"] == b"test"
    assert names[b"AWS_SECRET_ACCESS_KEY"].decode() == cloud.environment()["AWS_SECRET_ACCESS_KEY"] != "test"


def test_fails_when_it_runs_already(own_cloud: Callable[..., Cloud]) -> None:
    """The error names the running cloud, which stays."""
    first = own_cloud()
    with pytest.raises(
        CloudError, match=rf"already runs at {first.endpoint_url} \(pid {first.pid}\); use it, stop it with"
    ):
        own_cloud()
    assert first.running


def test_fails_when_the_port_is_in_use(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """The error names the port and the fix, and no process is left."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            CloudError, match=rf"port {port} on 127.0.0.1 cannot be used \(address already in use\); give another"
        ):
            own_cloud(port=port)
    with pytest.raises(CloudError, match="no embedded cloud runs in"):
        connect(tmp_path / "cloud")


def test_fails_with_the_log_when_the_child_dies(
    own_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error has the end of the child's log, and the child is forgotten."""
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    with pytest.raises(
        CloudError, match=r"(?s)it ended with code 1; the end of .*cloud\.log:\n.*No module named 'encodings'"
    ):
        own_cloud()
    assert not (tmp_path / "cloud" / "cloud.json").exists()


def test_starts_after_a_crash(
    own_cloud: Callable[..., Cloud], tmp_path: Path, make_function: Callable[..., str]
) -> None:
    """Ends processes that outlived a killed child, and reports that changes after the last snapshot are lost."""
    crashed = own_cloud()
    make_function(crashed, "sleeper", {"handler.py": "def handler(event, context):\n    return 1\n"})
    crashed.client("lambda").invoke(FunctionName="sleeper")
    (tmp_path / "cloud" / "state" / "left").write_text("over")
    os.kill(crashed.pid, signal.SIGKILL)
    os.waitpid(crashed.pid, 0)
    with pytest.raises(CloudError, match="no embedded cloud runs in"):
        connect(tmp_path / "cloud")

    messages: list[str] = []
    cloud = own_cloud(on_event=messages.append)
    assert messages == [
        f"the last embedded cloud of {tmp_path / 'cloud'} (pid {crashed.pid}) ended without `mlops local down`; "
        "it had no snapshot: started clean"
    ]
    assert session_processes.members(crashed.pid) == []
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert not (tmp_path / "cloud" / "state" / "left").exists()


def test_goes_down_with_all_its_processes(
    own_cloud: Callable[..., Cloud], make_function: Callable[..., str], tmp_path: Path
) -> None:
    """Workers end in the middle of their work, also those started by a function; log and shell files stay."""
    cloud = own_cloud()
    code = "import subprocess, time\ndef handler(event, context):\n"
    code += "    subprocess.Popen(['sleep', '60'], process_group=0)\n    time.sleep(60)\n"
    make_function(cloud, "busy", {"handler.py": code}, timeout=90)
    cloud.client("lambda").invoke(FunctionName="busy", InvocationType="Event")
    deadline = time.monotonic() + 10
    # itself, the fork server of functions, the function's process and its child
    while len(session_processes.members(cloud.pid)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(session_processes.members(cloud.pid)) == 4
    assert cloud.saved_state()["under_way"] == ["1 call of the function busy"]
    cloud.down()
    assert session_processes.members(cloud.pid) == []
    kept = [
        ".gitignore",
        "accounts",
        "aws-config",
        "cloud.log",
        "lock",
        "port",
        "proxy-port",
        "proxy-token",
        "root-secret",
        "saved",
        "trusted.pem",
    ]
    assert sorted(path.name for path in (tmp_path / "cloud").iterdir()) == kept
    assert (tmp_path / "cloud" / "proxy-token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cloud" / "root-secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cloud" / "aws-config").stat().st_mode & 0o777 == 0o600
    with pytest.raises(CloudError, match="no embedded cloud runs in"):
        connect(tmp_path / "cloud")


def test_sigterm_ends_its_whole_session(own_cloud: Callable[..., Cloud], make_function: Callable[..., str]) -> None:
    """A child terminated by another process, as at shutdown, ends its workers."""
    cloud = own_cloud()
    make_function(
        cloud, "busy", {"handler.py": "import time\ndef handler(event, context):\n    time.sleep(60)\n"}, timeout=90
    )
    cloud.client("lambda").invoke(FunctionName="busy", InvocationType="Event")
    deadline = time.monotonic() + 10
    while len(session_processes.members(cloud.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    started = time.monotonic()
    os.kill(cloud.pid, signal.SIGTERM)
    os.waitpid(cloud.pid, 0)
    assert time.monotonic() - started < 3
    while (left := session_processes.members(cloud.pid)) and time.monotonic() < started + 10:
        time.sleep(0.05)  # they are terminated before it
    assert left == []


def test_outlives_the_command_that_started_it(tmp_path: Path) -> None:
    """It stays up when its parent ends, until ``down``."""
    home = tmp_path / "cloud"
    script = f"import pathlib; from mlops_local.cloud import up; up(pathlib.Path({str(home)!r}))"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    cloud = connect(home)
    try:
        assert cloud.client("s3").list_buckets()["Buckets"] == []
    finally:
        cloud.down()
    assert session_processes.members(cloud.pid) == []


def test_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """State is in MLOPS_LOCAL_HOME, by default .mlops/local."""
    monkeypatch.delenv("MLOPS_LOCAL_HOME", raising=False)
    assert str(default_home()) == ".mlops/local"
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(tmp_path))
    assert default_home() == tmp_path


def test_fails_while_another_command_starts_it(tmp_path: Path) -> None:
    """Two commands cannot start or stop the cloud of one folder concurrently."""
    import fcntl

    tmp_path.joinpath("lock").touch()
    with tmp_path.joinpath("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CloudError, match="another process is starting or stopping the embedded cloud of"):
            up(tmp_path)
