"""Files that appear whole, and whose writer holds a lock that ends with its process.

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
    """Write a file unless there is one; return it open, with its lock, which goes when it is closed. ``None``: there was one.

    A reader sees the whole file or none, also if this process ends now; of two writers, one succeeds.
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
    """Write a file, or replace it; a reader sees all of the new content or what was there, also if this process ends now."""
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
    """Return whether a process has a file open that it wrote, and so its lock; a missing file is held by none."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def remove_parts(folder: Path) -> int:
    """Remove what writers below a folder left that have ended; return how many files went."""
    gone = [part for part in folder.rglob(f".*{_PART}") if not is_held(part)]
    for part in gone:
        part.unlink(missing_ok=True)
    return len(gone)


def _locked(path: Path) -> IO[bytes]:
    """Create a file with its lock; one that was removed between the two is created again."""
    while True:
        file = path.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()
