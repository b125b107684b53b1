"""Processes of containers; those of our own server and jobs are forked from one that has loaded them: each starts in little time.

What they are forked from has the variables that Python or a library reads as it is loaded from the container, none of this
machine's: there is one process for each set of them, for a few sets.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_local.functions.function_processes import ForkedModule, ForkServer
from mlops_local.saved_state import kept_stores

_SERVER = "mlops_runtime.serving"
_JOBS = frozenset(f"mlops_runtime.jobs.{name}" for name in ("evaluate", "predict", "train", "training_set"))
# of variables that are read while what they import is loaded
_READ_AT_LOAD = ("PYTHON", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "ORT_", "NPY_", "ARROW_")
_MOST = 4  # sets of variables; each keeps a process with all that is loaded
_servers: dict[tuple[tuple[str, str], ...], ForkServer] = kept_stores.leave(
    __name__, "_servers", {}, why="processes of this run"
)
_lock = threading.Lock()


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> "subprocess.Popen[bytes] | ForkedModule":
    """Start a process in a group of its own, whose errors are among its output.

    Args:
        command: Program and arguments.
        env: Its whole environment.
        cwd: Its working directory.

    Raises:
        OSError: If it cannot be started.
    """
    server = _server(env) if is_shareable(command) else None
    if server is not None:
        _, _, module, *arguments = command
        # and what they import later: a job to read a split, a server to capture and to look features up
        loads = (module, "pyarrow.dataset") if module in _JOBS else (f"{module}.server", "boto3")
        # the server's import sets it, and its environment is then replaced
        environment = {"ORT_DISABLE_TELEMETRY": "1", **env}
        return server.start_module(module, arguments, loads=loads, folder=str(cwd), environment=environment)
    return subprocess.Popen(
        list(command),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def is_shareable(command: Sequence[str]) -> bool:
    """Return whether a process is of our model server or jobs."""
    if list(command[:2]) != [sys.executable, "-m"]:
        return False
    module, *arguments = command[2:]
    return module in _JOBS or [module, *arguments] == [_SERVER, "serve"]


def _server(env: Mapping[str, str]) -> ForkServer | None:
    """Return what has loaded with the variables of a container, if it is of the first few sets of them."""
    read = {name: value for name, value in env.items() if name.startswith(_READ_AT_LOAD)}
    key = tuple(sorted(read.items()))
    with _lock:
        if key not in _servers and len(_servers) < _MOST:
            ours = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_LOAD)}
            _servers[key] = ForkServer(ours | read)
        return _servers.get(key)
