"""uv, which writes locks of requirements and makes environments of them."""

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
# what uv draws before a line of an error; the first is a cross
_MARKS = " \N{MULTIPLICATION SIGN}│├─▶╰"


class MissingUvError(RequirementsError):
    """uv is missing here; the message says how to install it."""


def find_uv() -> str:
    """Return the path of uv: that of the variable ``UV``, on the path, or of the installed package.

    Raises:
        MissingUvError: It is not installed.
    """
    named = os.environ.get("UV") or shutil.which("uv")
    if named is not None:
        return named
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return str(beside)
    raise MissingUvError("the environment of a model that is not ONNX needs uv: pip install uv")


def last_words(text: str) -> str:
    """Return the last lines of what uv said as one.

    Example:
        >>> last_words(chr(10).join(("error", "  ├─▶ no wheel")))
        'error no wheel'
    """
    lines = [line.strip(_MARKS) for line in text.splitlines() if line.strip()]
    return " ".join(lines[-_LAST_LINES:])


def compile_lock(
    requirements: Path, output: Path, *, is_universal: bool, folder: Path | None = None
) -> RequirementsLock:
    """Write the lock of requirements: wheels alone, each by hash.

    Args:
        requirements: What a person wrote, such as ``requirements.in``.
        output: Where to; versions that it has are kept where they fit.
        is_universal: For each platform and each Python from 3.11 on, or for the image alone.
        folder: Where both are, if they are relative, and with whose settings of uv. Default: where this process is.

    Raises:
        RequirementsError: uv is missing, finds no versions with wheels, or wrote something that is not a lock.
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
