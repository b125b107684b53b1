"""Run uv, which writes locks of requirements and creates environments from them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mlops_runtime.image.requirements_lock import (
    COMPILE_COMMAND,
    UNIVERSAL_COMMAND,
    RequirementsError,
    RequirementsLock,
)

_LAST_LINES = 8
# characters that uv draws before a line of an error; the first is a cross
_MARKS = " \N{MULTIPLICATION SIGN}│├─▶╰"


class MissingUvError(RequirementsError):
    """uv is not installed; the message states how to install it."""


def find_uv() -> str:
    """Return the path of uv, from the variable ``UV``, the PATH or the installed package.

    Raises:
        MissingUvError: If it is not installed.
    """
    named = os.environ.get("UV") or shutil.which("uv")
    if named is not None:
        return named
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return str(beside)
    raise MissingUvError("the environment of a model that is not ONNX needs uv: pip install uv")


def last_words(text: str) -> str:
    """Return the last lines of uv's output as one line.

    Example:
        >>> last_words(chr(10).join(("error", "  ├─▶ no wheel")))
        'error no wheel'
    """
    lines = [line.strip(_MARKS) for line in text.splitlines() if line.strip()]
    return " ".join(lines[-_LAST_LINES:])


def compile_lock(
    requirements: Path, output: Path, *, is_universal: bool, folder: Path | None = None
) -> RequirementsLock:
    """Write the lock of requirements, with only wheels and their hashes, for the image or universally for Python 3.11 on.

    Raises:
        RequirementsError: If uv is missing, finds no versions with wheels, or writes an invalid lock.
    """
    command = UNIVERSAL_COMMAND if is_universal else COMPILE_COMMAND
    words = command.split()[1:-3]  # without the program and its files
    done = subprocess.run(
        [find_uv(), *words, "--quiet", str(requirements), "-o", str(output)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RequirementsError(
            f"uv cannot lock {str(requirements)!r}: {last_words(done.stderr)}; each package needs a version with wheels"
        )
    return RequirementsLock.parsed((folder or Path()).joinpath(output).read_bytes())
