"""Environments of models that are not ONNX, in place of the image ``mlops-model`` on this machine.

An image whose digest is the SHA-256 of a lock of requirements runs in an environment that uv makes of the lock, once, below the
cloud's home. Nothing is built: wheels alone, by hash. A team's test makes the same environment, without a cloud.
"""

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from mlops_local import settings
from mlops_local.egress.environment import outer
from mlops_local.routes import ROUTES
from mlops_runtime.image.requirements_lock import (
    LOCK_COMMAND,
    RequirementsLock,
)
from mlops_runtime.image.uv_program import MissingUvError, find_uv, last_words

_LOCK_FILE = "requirements.lock"
_LOOPBACK_FILE = "loopback.py"
# a new network has its own loopback, which is down; a container's is up, and a script may talk to its own processes by it
# See: https://man7.org/linux/man-pages/man7/netdevice.7.html (SIOCSIFFLAGS)
_LOOPBACK = """import fcntl, os, socket, struct, sys

with socket.socket() as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
os.execv(sys.argv[1], sys.argv[1:])
"""
_LONGEST = 1800.0  # real seconds of one call of uv
# of uv's environment: what belongs to this process and not to the one that is made
_DROPPED = ("AWS_", "MLOPS_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")


class ModelEnvironmentError(ValueError):
    """An environment cannot be made here; the message says why, and the fix."""


def install() -> None:
    """Report environments and what keeps their processes from the network."""
    ROUTES["/_mlops/model-environments"] = lambda _method, _body: (200, report(root()))


def root() -> Path:
    """Return the folder of all environments; it stays when the embedded cloud ends."""
    return settings.home.absolute().parent / "environments"


def variables(lock: RequirementsLock, folder: Path, *, has_network: bool = False) -> dict[str, str]:
    """Return what the image of a lock has in its environment, and make what they name.

    Args:
        lock: The lock.
        folder: The folder of all environments.
        has_network: Whether the model's Python may use the network, as a script that trains without isolation does. Default: it
            gets none where the kernel allows that.

    Raises:
        ModelEnvironmentError: It cannot be made.
    """
    python = made(lock, folder) / "bin" / "python"
    if not has_network and isolation() is not None:
        python = python.parents[1] / "isolated" / "python"
    return {"MLOPS_MODEL_PYTHON": str(python), "MLOPS_REQUIREMENTS_SHA256": lock.sha256}


def made(lock: RequirementsLock, folder: Path) -> Path:
    """Return the folder of a lock's environment; the first caller makes it, others wait for it.

    Args:
        lock: The lock.
        folder: The folder of all environments.

    Raises:
        ModelEnvironmentError: uv, the Python of the lock, or a wheel for this machine is missing.
    """
    folder = folder.absolute()
    place = folder / lock.sha256
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{lock.sha256}.busy"):
        if not place.is_dir():
            partial = folder / f"{lock.sha256}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a maker that was killed
            _make(lock, partial, place)
            partial.replace(place)
    return place


def _make(lock: RequirementsLock, partial: Path, place: Path) -> None:
    version = lock.python
    if version is None or lock.is_universal:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        problem = lock.python_problem(version)
        if problem is not None:
            raise ModelEnvironmentError(f"{problem}; write it with: {LOCK_COMMAND}")
    try:
        # names that it is moved under later may not stand in its scripts
        _uv("venv", "--quiet", "--relocatable", "--no-python-downloads", "--python", version, str(partial))
    except ModelEnvironmentError as error:
        raise ModelEnvironmentError(
            f"the lock is of Python {version}, which uv does not find here; install it (uv python install {version}), or write a "
            f"lock for every Python with: {LOCK_COMMAND} ({error})"
        ) from error
    (partial / _LOCK_FILE).write_bytes(lock.content)
    python = str(partial / "bin" / "python")
    try:
        wheels = ("--require-hashes", "--only-binary", ":all:")
        _uv("pip", "install", "--quiet", "--python", python, *wheels, "-r", str(partial / _LOCK_FILE))
    except ModelEnvironmentError as error:
        raise ModelEnvironmentError(
            f"the environment of lock {lock.sha256} cannot be made: {error}; each package needs a wheel for this machine: choose "
            f"versions that have one, and write the lock with: {LOCK_COMMAND}"
        ) from error
    wrapper = partial / "isolated" / "python"
    wrapper.parent.mkdir()
    (wrapper.parent / _LOOPBACK_FILE).write_text(_LOOPBACK)
    final, first = (shlex.quote(str(path)) for path in (place / "bin" / "python", place / "isolated" / _LOOPBACK_FILE))
    apart = f"unshare --user --map-root-user --net -- {final} -I -S {first} {final}"
    wrapper.write_text(f'#!/bin/sh\nexec {apart} "$@"\n')
    wrapper.chmod(0o755)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _uv(*arguments: str) -> None:
    try:
        program = find_uv()
    except MissingUvError as error:
        raise ModelEnvironmentError(str(error)) from error
    try:
        done = subprocess.run(
            [program, *arguments], env=_own(os.environ), capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelEnvironmentError(f"{program} failed: {error}") from error
    if done.returncode:
        raise ModelEnvironmentError(f"uv: {last_words(done.stderr)}")


def _own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which uv reaches the user's package index: the user's, and not the embedded cloud's."""
    return {name: value for name, value in outer(environ).items() if not name.startswith(_DROPPED)}


@cache
def isolation() -> str | None:
    """Return what keeps a model's process from the network, if the kernel allows it."""
    program = shutil.which("unshare")
    if program is None:
        return None
    command = [program, "--user", "--map-root-user", "--net", "--", "true"]
    try:
        is_allowed = subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "a network namespace of its own (unshare)" if is_allowed else None


def report(folder: Path) -> dict[str, object]:
    """Return what environments there are, and whether their processes are kept from the network.

    Args:
        folder: The folder of all environments.
    """
    kept = isolation()
    names = sorted(path.parent.name for path in folder.glob(f"*/{_LOCK_FILE}") if not path.parent.suffix)
    return {
        "network": "none" if kept else "this machine's, as the kernel refuses unshare --user --net",
        "environments": names,
    }
