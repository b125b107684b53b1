"""Processes of containers; our own model server's are forked from one that has loaded it, so that each starts in little time.

A container that sets a variable which Python or a library of the server reads as it is loaded gets a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_local.functions.function_processes import ForkedModule, ForkServer

_SERVE = ("-m", "mlops_runtime.serving", "serve")
_LOADS = ("mlops_runtime.serving.server",)
# of variables that are read while what the server imports is loaded
_READ_AT_LOAD = ("PYTHON", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "ORT_", "NPY_")
_server = ForkServer()


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> "subprocess.Popen[bytes] | ForkedModule":
    """Start a process in a group of its own, whose errors are among its output.

    Args:
        command: Program and arguments.
        env: Its whole environment.
        cwd: Its working directory.

    Raises:
        OSError: If it cannot be started.
    """
    if is_shareable(command, env):
        # the server's import sets it, and its environment is then replaced
        environment = {"ORT_DISABLE_TELEMETRY": "1", **env}
        return _server.start_module(_SERVE[1], _SERVE[2:], loads=_LOADS, folder=str(cwd), environment=environment)
    return subprocess.Popen(
        list(command),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def is_shareable(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Return whether a process is our model server, loaded with what this process's environment says."""
    if tuple(command) != (sys.executable, *_SERVE):
        return False
    names = {name for name in {*env, *os.environ} if name.startswith(_READ_AT_LOAD)}
    return all(env.get(name) == os.environ.get(name) for name in names)
