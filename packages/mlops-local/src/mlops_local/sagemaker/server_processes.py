"""Container processes; those of our model server and jobs are forked from a process that has imported their modules.

The parent process gets the variables that Python or a library reads at import from the container, not from this machine: there is
one parent per set of such variables, for a few sets.
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
# prefixes of variables that are read at import
_READ_AT_LOAD = ("PYTHON", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "ORT_", "NPY_", "ARROW_")
_MOST = 4  # sets of variables; each needs a process with all imported modules
_servers: dict[tuple[tuple[str, str], ...], ForkServer] = kept_stores.leave(
    __name__, "_servers", {}, why="processes of this run"
)
_lock = threading.Lock()


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> "subprocess.Popen[bytes] | ForkedModule":
    """Start a process in its own process group, with stderr in its output.

    Args:
        command: Program and arguments.
        env: The complete environment.
        cwd: Working directory.

    Raises:
        OSError: If it cannot be started.
    """
    server = _server(env) if is_shareable(command) else None
    if server is not None:
        _, _, module, *arguments = command
        # including later imports: a job reads a split, a server captures and reads features
        loads = (module, "pyarrow.dataset") if module in _JOBS else (f"{module}.server", "boto3")
        # set by the server's import, after which the environment is replaced
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
    """Return whether a process runs our model server or jobs."""
    if list(command[:2]) != [sys.executable, "-m"]:
        return False
    module, *arguments = command[2:]
    return module in _JOBS or [module, *arguments] == [_SERVER, "serve"]


def _server(env: Mapping[str, str]) -> ForkServer | None:
    """Return the fork server for a container's variables, for the first few sets of variables."""
    read = {name: value for name, value in env.items() if name.startswith(_READ_AT_LOAD)}
    key = tuple(sorted(read.items()))
    with _lock:
        if key not in _servers and len(_servers) < _MOST:
            ours = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_LOAD)}
            _servers[key] = ForkServer(ours | read)
        return _servers.get(key)
