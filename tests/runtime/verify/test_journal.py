"""The journal: written before each call, and readable after a crash within a line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from mlops_runtime.verify.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_announced_and_is_not_gone_is_left(tmp_path: Path) -> None:
    """The newest is first, without duplicates."""
    journal = Journal(tmp_path / "a" / "journal.jsonl")
    journal.begin("r1")
    for kind, name in (("lock", "l"), ("bucket", "b"), ("stack", "s"), ("stack", "s")):
        journal.make(kind, name)
    journal.removed("bucket", "b")

    assert journal.left() == [("stack", "s"), ("lock", "l")]
    journal.begin("r2")
    assert journal.left() == []


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    """Only the truncated line is skipped."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.begin("r1")
    journal.make("bucket", "b")
    with journal.path.open("a") as file:
        file.write('{"event": "make", "ki')

    assert journal.left() == [("bucket", "b")]
    assert Journal(tmp_path / "none").left() == []


def test_the_run_of_a_dead_process_is_known(tmp_path: Path) -> None:
    """Runs of a living process, other runs and finished runs do not count."""
    path = tmp_path / "journal.jsonl"
    program = (
        "import sys, pathlib; from mlops_runtime.verify.journal import Journal; "
        "Journal(pathlib.Path(sys.argv[1])).begin('dead')"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    journal = Journal(path)

    assert journal.entries()[0].pid not in (0, os.getpid())
    assert journal.is_of_a_dead_process("dead")
    assert not journal.is_of_a_dead_process("other")
    journal.end()
    assert not journal.is_of_a_dead_process("dead")
    journal.begin("alive")
    assert not journal.is_of_a_dead_process("alive")
