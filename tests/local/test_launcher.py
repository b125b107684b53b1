"""The child process: installed modules, its errors, and its end."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local import launcher, sagemaker, session_processes
from mlops_local.cloud import connect, has_state
from mlops_local.iam import authorization

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

PACKAGE = Path(launcher.__file__).parent


def _installs(path: Path) -> bool:
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "install" and not node.args.args
        for node in ast.parse(path.read_text()).body
    )


def _installable() -> set[str]:
    """Return the modules with an ``install`` without arguments; a package with its own ``install`` covers its modules."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
        if path.stem != "launcher" and _installs(path)
        if path.stem == "__init__" or not _installs(path.with_name("__init__.py"))
    }


def test_every_module_that_installs_is_installed_once() -> None:
    """A module that is not installed would leave MiniStack's behavior."""
    installed = [module.__name__ for module in launcher._MODULES]

    assert sorted(installed) == sorted(_installable())


def test_iam_stands_in_front_of_the_planes() -> None:
    """Modules are installed in order: handlers registered after IAM are called through it."""
    order = list(launcher._MODULES)

    assert order.index(authorization) < order.index(sagemaker)
    assert order[0].__name__ == "mlops_local.clock", "all others may ask for the time"


def test_fails_in_one_line_with_another_ministack(tmp_path: Path) -> None:
    """The child exits before it listens, with only this message."""
    program = "import mlops_local.compat as compat, mlops_local.launcher as launcher; compat.VERSION = '9.9.9'; launcher.main()"

    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MLOPS_LOCAL_STATE": str(tmp_path / "state"), "STATE_DIR": str(tmp_path / "ministack")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        "mlops local: ministack 1.5.33 does not fit: version must be 9.9.9, got 1.5.33; install mlops-local again"
    )
    assert "Traceback" not in result.stderr


@pytest.mark.cloud
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ends_with_the_process_that_owns_it(number: int, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """As a test run that was killed, which cannot stop its cloud; no process is left, and the state is saved."""
    home = tmp_path / "cloud"
    program = (
        "import os, pathlib, sys; from mlops_local.cloud import up; os.environ['MLOPS_LOCAL_OWNER'] = str(os.getpid()); "
        f"up(pathlib.Path({str(home)!r})); print('up', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        cloud = connect(home)
        try:
            cloud.client("s3").create_bucket(Bucket="kept")
            owner.send_signal(number)
            assert owner.wait() == -number
            assert wait_for(lambda: session_processes.members(cloud.pid) == [])
        finally:
            session_processes.end(cloud.pid, grace=5)
    log = cloud.log_path.read_text()
    assert f"its owner, process {owner.pid}, has ended" in log
    assert "embedded cloud: down" in log
    assert has_state(home)


@pytest.mark.cloud
def test_open_files_are_limited_by_the_machine_alone(cloud: Cloud) -> None:
    """Functions, jobs and servers need pipes and sockets: the soft limit is raised to the hard limit."""
    limits = Path(f"/proc/{cloud.pid}/limits").read_text().splitlines()

    (line,) = (line for line in limits if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard


@pytest.mark.cloud
def test_temporary_files_stay_in_the_clouds_folder(cloud: Cloud) -> None:
    """``down`` deletes them with the state."""
    environment = Path(f"/proc/{cloud.pid}/environ").read_text().split("\0")

    assert f"TMPDIR={cloud.home / 'state' / 'tmp'}" in environment


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_in_order_when_told_to(own_cloud: Callable[..., Cloud], number: signal.Signals) -> None:
    """It logs its start and its end, and exits with code 0."""
    cloud = own_cloud()

    os.kill(cloud.pid, number)
    _, status = os.waitpid(cloud.pid, 0)

    log = cloud.log_path.read_text()
    assert os.waitstatus_to_exitcode(status) == 0
    assert f"embedded cloud: ministack 1.5.33, port {cloud.port}, state in {cloud.home / 'state'}" in log
    assert log.rstrip().endswith("embedded cloud: down")
    assert session_processes.members(cloud.pid) == []


def test_serves_on_the_socket_that_it_inherits(own_cloud: Callable[..., Cloud]) -> None:
    """The parent binds the port before the child starts, and the child opens no other."""
    cloud = own_cloud()

    sockets = _descriptors(cloud.pid)
    listening = {
        (fields[1].split(":")[0], int(fields[1].split(":")[1], 16))
        for fields in (line.split() for line in Path(f"/proc/{cloud.pid}/net/tcp").read_text().splitlines()[1:])
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets
    }

    assert listening == {("0100007F", cloud.port), ("0100007F", cloud.proxy_port)}


def _descriptors(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found
