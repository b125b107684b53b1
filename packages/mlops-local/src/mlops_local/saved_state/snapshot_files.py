"""Snapshots on disk: a JSON document, written atomically, and files of large bytes named by their hash.

saved/snapshot.json       the last snapshot
saved/previous.json       the previous one, used if the last one cannot be read
saved/files/<sha256>      files of both
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# of the document; other formats are not read
FORMAT = 1
_LAST, _PREVIOUS = "snapshot.json", "previous.json"


class SnapshotError(RuntimeError):
    """A snapshot cannot be written or read; the message gives the fix."""


class VersionError(SnapshotError):
    """The snapshot was written by another version of the package; the message names both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Versions that wrote a snapshot."""

    format: int
    package: str
    ministack: str

    def __str__(self) -> str:
        return f"mlops-local {self.package} with ministack {self.ministack} (format {self.format})"


def versions() -> Versions:
    """Return the versions of this package."""
    package, ministack = importlib.metadata.version("mlops-local"), importlib.metadata.version("ministack")
    return Versions(format=FORMAT, package=package, ministack=ministack)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot."""

    versions: Versions  # versions that wrote it
    port: int  # port of the cloud
    saved: str  # time of writing, ISO 8601, real time
    stores: dict[str, Any]  # content of each store as plain data, by name
    files: list[str]


def _document(snapshot: Snapshot) -> dict[str, Any]:
    """Return the fields of a snapshot without copying the stores' data, which would take longer than writing it."""
    return {each.name: getattr(snapshot, each.name) for each in fields(snapshot)} | {
        "versions": asdict(snapshot.versions)
    }


@dataclass(slots=True)
class Writer:
    """Writes one snapshot."""

    folder: Path  # folder of snapshots, created if missing
    _files: set[str] = field(default_factory=set)

    def keep(self, content: bytes) -> str:
        """Write bytes to a file of their own, unless it exists, and return its name."""
        name = hashlib.sha256(content).hexdigest()
        path = self.folder / "files" / name
        if name not in self._files and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(path, content)
        self._files.add(name)
        return name

    def finish(self, port: int, stores: Mapping[str, Any]) -> int:
        """Make this the last snapshot and the last one the previous one, and delete files that neither needs.

        Returns:
            Total size of both in bytes.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        saved = datetime.now(UTC).isoformat(timespec="seconds")
        snapshot = Snapshot(versions=versions(), port=port, saved=saved, stores=dict(stores), files=sorted(self._files))
        part, last, previous = (self.folder / name for name in ("snapshot.part", _LAST, _PREVIOUS))
        try:
            _write(part, json.dumps(_document(snapshot), separators=(",", ":")).encode())
            if last.exists():
                step = self.folder / "previous.part"
                step.unlink(missing_ok=True)
                os.link(last, step)
                step.replace(previous)
            part.replace(last)
        finally:
            part.unlink(missing_ok=True)
        return self._prune()

    def _prune(self) -> int:
        needed = set(self._files)
        with contextlib.suppress(SnapshotError, FileNotFoundError):
            needed |= set(_plain(self.folder / _PREVIOUS)["files"])
        for path in (self.folder / "files").glob("*"):
            if path.name not in needed:
                path.unlink(missing_ok=True)
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A snapshot that was read, with its files."""

    snapshot: Snapshot
    files: Mapping[str, bytes]  # content of its files, by name
    problem: str  # why it is not the last snapshot that was written; empty if it is


def read(folder: Path) -> Found | None:
    """Return the latest complete snapshot; ``None`` without any snapshot.

    Raises:
        VersionError: If another version wrote it.
        SnapshotError: If there are snapshots, but none is complete.
    """
    problems = []
    for name in (_LAST, _PREVIOUS):
        try:
            snapshot = _read(folder / name)
            files = {file: _content(folder / "files" / file) for file in snapshot.files}
        except FileNotFoundError:
            continue
        except VersionError:
            raise
        except SnapshotError as error:
            problems.append(str(error))
            continue
        return Found(snapshot=snapshot, files=files, problem="; ".join(problems))
    if not problems:
        return None
    raise SnapshotError("; ".join(problems))


def check_versions(folder: Path) -> None:
    """Reject snapshots of another version.

    Raises:
        VersionError: If another version wrote a snapshot.
    """
    for name in (_LAST, _PREVIOUS):
        try:
            _plain(folder / name)
        except VersionError:
            raise
        except (FileNotFoundError, SnapshotError):
            continue
        return


def exists(folder: Path) -> bool:
    """Return whether there is a snapshot, complete or not."""
    return any((folder / name).exists() for name in (_LAST, _PREVIOUS))


def delete(folder: Path) -> None:
    """Delete all snapshots, documents first."""
    for name in (_LAST, _PREVIOUS):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> Snapshot:
    plain = _plain(path)
    try:
        return Snapshot(**{**plain, "versions": versions()})
    except TypeError as error:
        raise SnapshotError(f"{path} cannot be read ({error})") from error


def _plain(path: Path) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(path.read_bytes())
        wrote = Versions(**plain["versions"])
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SnapshotError(f"{path} cannot be read ({type(error).__name__}: {error})") from error
    if wrote != versions():
        raise VersionError(f"{path} was written by {wrote}, and this is {versions()}")
    return plain


def _content(path: Path) -> bytes:
    try:
        found = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read ({error.strerror})") from error
    if hashlib.sha256(found).hexdigest() != path.name:
        raise SnapshotError(f"{path} is damaged")
    return found


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
