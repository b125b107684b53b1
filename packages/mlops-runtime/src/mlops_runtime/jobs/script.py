"""A team's script: unpacked from its zip and run in a process of its own."""

import os
import signal
import subprocess
import sys
import zipfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mlops_runtime.jobs.optml import JobError, single_file

_TAIL_LINES = 30


def run_script(code: Path, script: str, *, folder: Path, environment: Mapping[str, str]) -> None:
    """Unpack the code and run a script of it to its end.

    Args:
        code: Directory with the zip.
        script: Path of the script inside the zip.
        folder: Where the code is unpacked and run.
        environment: Variables besides those of this process.

    Raises:
        JobError: If there is no such script, or it fails; with the last lines of its standard error.
    """
    unpack(single_file(code, "*.zip"), folder)
    path = folder / script
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        held = ", ".join(sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.py"))) or "no scripts"
        raise JobError(f"channel code does not hold {script!r}, it holds {held}")
    returned, tail = _run(path, folder, environment)
    if returned != 0:
        last = next((line for line in reversed(tail) if line.strip()), "no output")
        raise JobError(f"{script} ended with exit code {returned}: {last.strip()}\n" + "\n".join(tail))


def only_script(job: str, arguments: Sequence[str]) -> str:
    """Return the one argument of a job that runs a script.

    Raises:
        JobError: If there is none, or more than one.
    """
    if len(arguments) != 1:
        raise JobError(f"usage: python -m mlops_runtime.jobs.{job} <script>, got {list(arguments)}")
    return arguments[0]


def unpack(archive: Path, directory: Path) -> None:
    """Extract a zip of source files.

    Raises:
        JobError: If it is no zip, or a member would be written outside the directory.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            escaping = [
                n for n in source.namelist() if ".." in PurePosixPath(n).parts or PurePosixPath(n).is_absolute()
            ]
            if escaping:
                raise JobError(
                    f"{archive.name} must not hold paths outside itself, got {', '.join(map(repr, escaping[:5]))}"
                )
            source.extractall(directory)
    except zipfile.BadZipFile as error:
        raise JobError(f"{archive.name} is not a zip: {error}") from error


def _run(script: Path, folder: Path, environment: Mapping[str, str]) -> tuple[int, list[str]]:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        # a job that is stopped gets SIGTERM in this process; the script may want to save what it has
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        for line in process.stderr or ():
            sys.stderr.write(line)
            tail.append(line.rstrip("\n"))
        code = process.wait()
        signal.signal(signal.SIGTERM, before)
    return code, list(tail)
