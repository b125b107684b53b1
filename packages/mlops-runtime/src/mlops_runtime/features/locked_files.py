"""Atomically written files, and locks that a writer holds until its process ends.

See: https://man7.org/linux/man-pages/man2/flock.2.html
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

_PART = ".part"


def write_once(path: Path, content: bytes) -> IO[bytes] | None:
    """Write a file unless it exists; return it open and locked until it is closed, or ``None`` if it existed.

    Readers see the complete file or none, even if this process is killed; of two writers, one succeeds.
    """
    if path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid4().hex}{_PART}")
    file = _locked(half)
    try:
        file.write(content)
        file.flush()
        os.link(half, path)
    except FileExistsError:
        file.close()
        return None
    except BaseException:
        file.close()
        raise
    finally:
        half.unlink(missing_ok=True)
    return file


def write_whole(path: Path, content: bytes) -> None:
    """Write or replace a file; readers see the complete new or old content, even if this process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid4().hex}{_PART}")
    try:
        with _locked(half) as file:
            file.write(content)
            file.flush()
            half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Return whether a process still has a file that it wrote open, and so locked; false for a missing file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def remove_parts(folder: Path) -> int:
    """Remove temporary files of ended writers below a folder; return the number of files."""
    unlocked = [part for part in folder.rglob(f".*{_PART}") if not is_held(part)]
    for part in unlocked:
        part.unlink(missing_ok=True)
    return len(unlocked)


def _locked(path: Path) -> IO[bytes]:
    """Create a locked file; retry if it was removed before it was locked."""
    while True:
        file = path.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()
