"""Python environments of models that are not ONNX, in place of the image ``mlops-model``.

An image whose digest is the SHA-256 of a requirements lock runs in an environment that uv creates once from the lock, below the
cloud's home. Nothing is built: only wheels are installed, checked by hash. Teams' tests create the same environment with no cloud.
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
from mlops_runtime.image.requirements_lock import LOCK_COMMAND, RequirementsLock
from mlops_runtime.image.uv_program import MissingUvError, find_uv, last_words

_LOCK_FILE = "requirements.lock"
_LOOPBACK_FILE = "loopback.py"
# the loopback interface of a new network namespace is down; in a container it is up, for processes that talk to each other
# See: https://man7.org/linux/man-pages/man7/netdevice.7.html (SIOCSIFFLAGS)
_LOOPBACK = """import fcntl, os, socket, struct, sys

with socket.socket() as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
os.execv(sys.argv[1], sys.argv[1:])
"""
_LONGEST = 1800.0  # limit of one call of uv, in real seconds
# variables of this process that uv must not inherit
_DROPPED = ("AWS_", "MLOPS_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")


class ModelEnvironmentError(ValueError):
    """An environment cannot be created; the message gives the reason and the fix."""


def install() -> None:
    """Report the environments, and the network isolation of their processes, in the cloud's status."""
    ROUTES["/_mlops/model-environments"] = lambda _method, _body: (200, report(root()))


def root() -> Path:
    """Return the folder of all environments, which outlives the embedded cloud."""
    return settings.home.absolute().parent / "environments"


def variables(lock: RequirementsLock, folder: Path, *, has_network: bool = False) -> dict[str, str]:
    """Create the environment of a lock, and return the variables that its image sets.

    Args:
        folder: Folder of all environments.
        has_network: Whether the model's Python may use the network, as a training script without isolation does. Default: no
            network, where the kernel supports that.

    Raises:
        ModelEnvironmentError: If the environment cannot be created.
    """
    python = made(lock, folder) / "bin" / "python"
    if not has_network and isolation() is not None:
        python = python.parents[1] / "isolated" / "python"
    return {"MLOPS_MODEL_PYTHON": str(python), "MLOPS_REQUIREMENTS_SHA256": lock.sha256}


def made(lock: RequirementsLock, folder: Path) -> Path:
    """Return the folder of a lock's environment; the first caller creates it, others wait.

    Raises:
        ModelEnvironmentError: If uv, the lock's Python, or a wheel for this machine is missing.
    """
    folder = folder.absolute()
    place = folder / lock.sha256
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{lock.sha256}.busy"):
        if not place.is_dir():
            partial = folder / f"{lock.sha256}.partial"
            shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
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
        # relocatable: its scripts must not contain the path, because the folder is moved
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
    """Return the environment in which uv reaches the user's package index: the user's, not the embedded cloud's."""
    return {name: value for name, value in outer(environ).items() if not name.startswith(_DROPPED)}


@cache
def isolation() -> str | None:
    """Return how models' processes are isolated from the network; ``None`` if the kernel does not support it."""
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
    """Return the environments, and whether their processes have network access."""
    kept = isolation()
    names = sorted(path.parent.name for path in folder.glob(f"*/{_LOCK_FILE}") if not path.parent.suffix)
    return {
        "network": "none" if kept else "this machine's, as the kernel refuses unshare --user --net",
        "environments": names,
    }
