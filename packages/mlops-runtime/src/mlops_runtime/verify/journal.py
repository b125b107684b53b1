"""Journal of a run on the user's disk: created and removed resources, written before each creation."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: an event (``begin``, ``make``, ``gone``, ``end``) and its resource."""

    event: str
    kind: str = ""
    name: str = ""
    run: str = ""
    pid: int = 0


class Journal:
    """A file of JSON lines, each on the disk before the call that it announces.

    Args:
        path: The file; its folder is created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, run: str) -> None:
        """Start the journal of a run; the previous run must have been cleaned up."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        (self.path.parent / ".gitignore").write_text("*\n")  # its name contains the account's id
        self.path.write_text("")
        self._append({"event": "begin", "run": run, "pid": os.getpid()})
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def make(self, kind: str, name: str) -> None:
        """Announce the creation of a resource.

        Args:
            kind: Kind, such as ``stack``.
            name: Its name.
        """
        self._append({"event": "make", "kind": kind, "name": name})

    def removed(self, kind: str, name: str) -> None:
        """Note that a resource was removed, or was never created."""
        self._append({"event": "gone", "kind": kind, "name": name})

    def end(self) -> None:
        """Note that the run has ended and left nothing behind."""
        if self.path.exists():
            self._append({"event": "end"})

    def entries(self) -> list[Entry]:
        """Return the entries; a line that was truncated by a crash is skipped."""
        if not self.path.is_file():
            return []
        found = []
        for line in self.path.read_text("utf-8").splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue
            found.append(Entry(**{name: document[name] for name in Entry.__dataclass_fields__ if name in document}))
        return found

    def left(self) -> list[tuple[str, str]]:
        """Return kind and name of all announced resources that are not removed, newest first."""
        open_: dict[tuple[str, str], None] = {}
        for entry in self.entries():
            key = (entry.kind, entry.name)
            if entry.event == "make":
                open_[key] = None
            elif entry.event == "gone":
                open_.pop(key, None)
        return list(reversed(open_))

    def is_of_a_dead_process(self, run: str) -> bool:
        """Return whether the journal is of a run whose process has ended without writing the last line."""
        entries = self.entries()
        if not entries or entries[0].run != run or entries[-1].event == "end":
            return False
        return not _is_alive(entries[0].pid)

    def _append(self, line: Mapping[str, Any]) -> None:
        stamped = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **line}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(stamped) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
