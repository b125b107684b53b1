"""Run a team's script in a process, with limits on its output and disk usage.

The limits apply on AWS and in the embedded cloud: a full disk would leave no space for the file with the failure reason, and a log
of gigabytes costs more than it is worth.
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
_LOOK_SECONDS = 0.2  # polling interval for the end of a script whose children keep its pipes open
_DISK_SECONDS = 0.5  # minimum interval between measurements of the disk
_SHARE_OF_READING = 20  # a measurement that took one second is repeated after 20 at the earliest
_PIPE_BYTES = 64 * 1024  # capacity of a pipe on Linux
_MIB = 1024**2


class ScriptLimitError(ValueError):
    """A script was stopped because it exceeded a limit; the message names the limit and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """Limits on what a script writes."""

    output: Path | None = None  # folder for the script's result. Default: no folder is measured
    output_bytes: int | None = None  # maximum bytes in it. Default: limited by the disk
    # maximum bytes on standard output and standard error together; the rest is dropped. Default: 64 MiB
    log_bytes: int = 64 * _MIB
    free_bytes: int = 256 * _MIB  # bytes that must stay free on the disk of `output`. Default: 256 MiB
    grace_seconds: float = 10.0  # time between SIGTERM and SIGKILL for a script that exceeded a limit. Default: 10

    def problem(self) -> str | None:
        """Return the exceeded limit on the disk and the fix, or None."""
        if self.output is None or not self.output.is_dir():
            return None
        written = 0 if self.output_bytes is None else folder_bytes(self.output)
        if self.output_bytes is not None and written > self.output_bytes:
            return (
                f"wrote {sized(written)} to its {self.output.name} folder, at most {sized(self.output_bytes)} are allowed; "
                "write only the served model there, and other results of the run to SM_OUTPUT_DATA_DIR"
            )
        disk = shutil.disk_usage(self.output)
        if disk.free < self.free_bytes:
            return (
                f"filled the disk: {sized(disk.free)} of {sized(disk.total)} are left, {sized(self.free_bytes)} must stay "
                "free; write less, or give the job more with volume="
            )
        return None


def sized(count: int) -> str:
    """Return a number of bytes in readable form.

    Example:
        >>> sized(300), sized(5 * 1024**2), sized(1536 * 1024**2)
        ('300 bytes', '5 MiB', '1.5 GiB')
    """
    if count < _MIB:
        return f"{count} bytes"
    return f"{count / _MIB:.0f} MiB" if count < 1024 * _MIB else f"{count / 1024 / _MIB:.1f} GiB"


def folder_bytes(folder: Path) -> int:
    """Return the total size of a folder's files; files that are changing are measured as far as possible."""
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
    """Run a script to its end, and copy its output; return its exit code, and the last lines of its standard error.

    Raises:
        ScriptLimitError: If it was stopped because it exceeded a limit.
    """
    with subprocess.Popen(
        list(command), cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        # when the job is stopped, this process gets SIGTERM; the script may want to save its state
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
    """Copies the output of a process to that of this one; ``tail`` is the end of its standard error."""

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
        """Copy until the script itself ends, not its children; return the limit that it was stopped for, or None."""
        problem = None
        while True:
            has_ended = self._process.poll() is not None
            ready, _, _ = select.select(list(self._open), [], [], 0 if has_ended else _LOOK_SECONDS)
            for pipe in ready:
                self._read(pipe)
            if has_ended:  # one read empties a pipe
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
            self._log(f"{sized(self._cut)} of output were dropped: a script may print {sized(self._limits.log_bytes)}")
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
            self._log(f"the script has printed {sized(self._limits.log_bytes)}; the rest of its output is dropped")
        self._left -= len(shown)
        self._cut += len(chunk) - len(shown)
        if pipe == self._errors:
            self.tail = (self.tail + chunk)[-_TAIL_BYTES:]
        if not chunk:
            del self._open[pipe]

    def _log(self, text: str) -> None:
        sys.stdout.flush()
        _write(sys.stderr, f"\nmlops: {text}\n")


def _write(target: TextIO, text: str) -> None:
    if text:
        target.write(text)
        target.flush()
