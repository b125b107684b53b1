"""The process of a team's script: its output copied and cut, its disk watched, its end certain.

What a script may do to its job is bounded here, on AWS and in the embedded cloud alike: a full disk would take even the place of
the file that says why, and a log of gigabytes costs more than it tells.
"""

import codecs
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_TAIL_LINES, _TAIL_BYTES = 30, 16 * 1024
_LOOK_SECONDS = 0.2  # how soon the end of a script is seen whose children hold its output
_DISK_SECONDS = 0.5  # between two readings of the disk
_SHARE_OF_READING = 20  # a reading that took a second is not repeated for twenty
_PIPE_BYTES = 64 * 1024  # capacity of a pipe on Linux
_MIB = 1024**2


class ScriptLimitError(ValueError):
    """A script was stopped, because it passed a limit; the message says which, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """What a script may write.

    Args:
        output: The folder that the script writes its result to. Default: none is measured.
        output_bytes: Bytes in it. Default: what the disk holds.
        log_bytes: Bytes on standard output and standard error together; the rest is left out. Default: 64 MiB.
        free_bytes: Bytes that stay free on the disk of ``output``. Default: 256 MiB.
        grace_seconds: Between SIGTERM and SIGKILL for a script that passed a limit. Default: 10.
    """

    output: Path | None = None
    output_bytes: int | None = None
    log_bytes: int = 64 * _MIB
    free_bytes: int = 256 * _MIB
    grace_seconds: float = 10.0

    def problem(self) -> str | None:
        """Return which limit the disk says was passed, and the fix."""
        if self.output is None or not self.output.is_dir():
            return None
        written = 0 if self.output_bytes is None else folder_bytes(self.output)
        if self.output_bytes is not None and written > self.output_bytes:
            return (
                f"wrote {sized(written)} to its {self.output.name} folder, at most {sized(self.output_bytes)} are allowed; "
                "write what is served and nothing else, to SM_OUTPUT_DATA_DIR what the run should keep"
            )
        disk = shutil.disk_usage(self.output)
        if disk.free < self.free_bytes:
            return (
                f"filled the disk: {sized(disk.free)} of {sized(disk.total)} are left, {sized(self.free_bytes)} must stay "
                "free; write less, or give the job more with volume="
            )
        return None


def sized(count: int) -> str:
    """Return a number of bytes as people read it.

    Example:
        >>> sized(300), sized(5 * 1024**2), sized(1536 * 1024**2)
        ('300 bytes', '5 MiB', '1.5 GiB')
    """
    if count < _MIB:
        return f"{count} bytes"
    return f"{count / _MIB:.0f} MiB" if count < 1024 * _MIB else f"{count / 1024 / _MIB:.1f} GiB"


def folder_bytes(folder: Path) -> int:
    """Return the size of a folder's files, as they are read; one that is being changed is measured as far as it can be."""
    return sum(_sizes(str(folder)))


def _sizes(folder: str) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from _sizes(entry.path)
                    else:
                        yield entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue
    except OSError:
        return


def run_process(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], limits: ScriptLimits
) -> tuple[int, list[str]]:
    """Run a script to its end, and copy what it prints.

    Args:
        command: Interpreter and script.
        folder: Where it runs.
        environment: Its whole environment.
        limits: What it may write.

    Returns:
        Its exit code, and the last lines of its standard error.

    Raises:
        ScriptLimitError: If it was stopped, because it wrote too much.
    """
    with subprocess.Popen(
        list(command), cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        # a job that is stopped gets SIGTERM in this process; the script may want to save what it has
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            copy = _Copy(process, limits)
            problem = copy.run()
            code = process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
    if problem is not None:
        raise ScriptLimitError(problem)
    return code, copy.tail.decode(errors="replace").splitlines()[-_TAIL_LINES:]


class _Copy:
    """Output of a process on its way to this one's; ``tail`` is the end of its standard error."""

    def __init__(self, process: subprocess.Popen[bytes], limits: ScriptLimits) -> None:
        self.tail = b""
        self._process, self._limits = process, limits
        self._left, self._cut = limits.log_bytes, 0
        self._next_look, self._killed_at = 0.0, float("inf")
        decoder = codecs.getincrementaldecoder("utf-8")
        self._open = {
            pipe.fileno(): (target, decoder("replace"))
            for pipe, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
            if pipe is not None
        }
        self._errors = None if process.stderr is None else process.stderr.fileno()

    def run(self) -> str | None:
        """Copy until the script ends; what it has started may hold the pipes for longer, and ends with the container.

        Returns:
            The limit that it was stopped for.
        """
        problem = None
        while True:
            has_ended = self._process.poll() is not None
            ready, _, _ = select.select(list(self._open), [], [], 0 if has_ended else _LOOK_SECONDS)
            for pipe in ready:
                self._read(pipe)
            if has_ended:  # a pipe holds no more than one reading takes
                break
            if not self._open:
                self._wait()
            now = time.monotonic()
            if problem is None and (problem := self._look(now)) is not None:
                self._process.terminate()
                self._killed_at = now + self._limits.grace_seconds
            if now > self._killed_at:
                self._process.kill()
        if self._cut:
            self._say(f"{sized(self._cut)} of output were left out: a script may print {sized(self._limits.log_bytes)}")
        return problem

    def _wait(self) -> None:
        try:
            self._process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            return

    def _look(self, now: float) -> str | None:
        if now < self._next_look:
            return None
        found = self._limits.problem()
        self._next_look = now + max(_DISK_SECONDS, _SHARE_OF_READING * (time.monotonic() - now))
        return found

    def _read(self, pipe: int) -> None:
        target, decoder = self._open[pipe]
        chunk = os.read(pipe, _PIPE_BYTES)
        shown = chunk[: self._left]
        _write(target, decoder.decode(shown, final=not chunk))
        if self._left and len(shown) == self._left:
            self._say(f"the script has printed {sized(self._limits.log_bytes)}; the rest of its output is left out")
        self._left -= len(shown)
        self._cut += len(chunk) - len(shown)
        if pipe == self._errors:
            self.tail = (self.tail + chunk)[-_TAIL_BYTES:]
        if not chunk:
            del self._open[pipe]

    def _say(self, text: str) -> None:
        sys.stdout.flush()
        _write(sys.stderr, f"\nmlops: {text}\n")


def _write(target: TextIO, text: str) -> None:
    if text:
        target.write(text)
        target.flush()
