"""The processes of an embedded cloud: all members of the session that its child process leads."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")


def born(pid: int) -> str | None:
    """Return the start time of a living process, an opaque string; together with the pid it identifies a process uniquely.

    Returns:
        ``None`` if there is no such process, or it is a zombie.
    """
    if _PROC.is_dir():
        with contextlib.suppress(OSError):
            # the name, field 2, may contain spaces and parentheses: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
            fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            return None if fields[0] in "ZX" else fields[19]
        return None
    output = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    state, _, started = output.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def members(session: int) -> list[int]:
    """Return the pids of the living processes of a session, whose id is the pid of its leader, which may have ended."""
    if _PROC.is_dir():
        pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    else:
        pids = [
            int(pid)
            for pid in subprocess.run(["ps", "-Ao", "pid="], capture_output=True, text=True, check=True).stdout.split()
        ]
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session and born(pid) is not None:
                found.append(pid)
    return found


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end(session: int, *, grace: float) -> None:
    """End every process of a session: SIGTERM to its leader, then, after real seconds of grace, SIGKILL to all remaining ones.

    Raises:
        TimeoutError: If a process outlives SIGKILL for ten seconds.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(session, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while born(session) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    deadline = time.monotonic() + 10
    while left := members(session):
        kill(left)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} do not end")
        time.sleep(0.02)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(session, 0)  # our child: its last threads may still be ending
