"""Process sessions: their members, and that all of them end."""

import os
import signal
import subprocess
import sys
import time

from mlops_local import session_processes


def test_born_names_one_living_process() -> None:
    """The same while it lives, none when it is dead, also before its parent collects it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    born = session_processes.born(child.pid)
    assert born is not None
    assert session_processes.born(child.pid) == born
    child.kill()
    while session_processes.born(child.pid) is not None:
        time.sleep(0.01)
    child.wait()
    assert session_processes.born(os.getpid()) is not None


def test_end_reaches_other_groups_and_the_deaf() -> None:
    """Also a member that ignores SIGTERM, in a process group of its own, whose parent is dead."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    leader = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {deaf!r}], process_group=0); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", leader], start_new_session=True, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert len(session_processes.members(child.pid)) == 2
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert len(session_processes.members(child.pid)) == 1
    session_processes.end(child.pid, grace=0.1)
    assert session_processes.members(child.pid) == []
    child.stdout.close()
