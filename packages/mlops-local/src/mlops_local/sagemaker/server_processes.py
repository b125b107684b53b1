"""Processes of containers; those of our own server and jobs are forked from one that has loaded them: each starts in little time.

A container that sets a variable which Python or a library of theirs reads as it is loaded gets a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_local.functions.function_processes import ForkedModule, ForkServer

_SERVER = "mlops_runtime.serving"
_JOBS = frozenset(f"mlops_runtime.jobs.{name}" for name in ("evaluate", "predict", "train", "training_set"))
# of variables that are read while what they import is loaded
_READ_AT_LOAD = ("PYTHON", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "ORT_", "NPY_", "ARROW_")
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
        _, _, module, *arguments = command
        loads = (module,) if module in _JOBS else (f"{module}.server", "boto3")  # which captures and looks up with it
        # the server's import sets it, and its environment is then replaced
        environment = {"ORT_DISABLE_TELEMETRY": "1", **env}
        return _server.start_module(module, arguments, loads=loads, folder=str(cwd), environment=environment)
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
    """Return whether a process is of our model server or jobs, loaded with what this process's environment says."""
    if list(command[:2]) != [sys.executable, "-m"]:
        return False
    module, *arguments = command[2:]
    if module not in _JOBS and [module, *arguments] != [_SERVER, "serve"]:
        return False
    names = {name for name in {*env, *os.environ} if name.startswith(_READ_AT_LOAD)}
    return all(env.get(name) == os.environ.get(name) for name in names)
