"""Snapshots on disk: complete, or the previous one."""

import json
import os
from pathlib import Path

import pytest

from mlops_local.saved_state import snapshot_files
from mlops_local.saved_state.snapshot_files import SnapshotError, VersionError, Writer, read


def write(folder: Path, value: object, *contents: bytes) -> list[str]:
    """Write a snapshot of one store, and return the names of its files."""
    writer = Writer(folder)
    names = [writer.keep(content) for content in contents]
    writer.finish(4566, {"store": value})
    return names


def test_the_last_snapshot_is_read(tmp_path: Path) -> None:
    """With its files, port and time; only the owner may read it."""
    write(tmp_path, 1)
    (name,) = write(tmp_path, 2, b"content")
    found = read(tmp_path)
    assert found is not None
    assert (found.snapshot.stores, found.snapshot.port, found.problem) == ({"store": 2}, 4566, "")
    assert found.files == {name: b"content"}
    assert (tmp_path / "snapshot.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "files" / name).stat().st_mode & 0o777 == 0o600


def test_no_snapshot_is_none(tmp_path: Path) -> None:
    """A new cloud has nothing to restore."""
    assert read(tmp_path) is None
    assert not snapshot_files.exists(tmp_path)


def test_files_are_written_once_and_deleted_with_the_last_that_needs_them(tmp_path: Path) -> None:
    """At most two snapshots need them."""
    (old,) = write(tmp_path, 1, b"old")
    before = (tmp_path / "files" / old).stat().st_mtime_ns
    write(tmp_path, 2, b"old", b"new")
    assert (tmp_path / "files" / old).stat().st_mtime_ns == before
    write(tmp_path, 3, b"new")
    assert len(list((tmp_path / "files").iterdir())) == 2
    write(tmp_path, 4, b"new")
    assert [path.read_bytes() for path in (tmp_path / "files").iterdir()] == [b"new"]


@pytest.mark.parametrize("damage", ["half", "no file", "other bytes"])
def test_a_damaged_snapshot_gives_way_to_the_one_before(damage: str, tmp_path: Path) -> None:
    """The fallback is reported."""
    write(tmp_path, 1, b"old")
    (name,) = write(tmp_path, 2, b"new")
    if damage == "half":
        content = (tmp_path / "snapshot.json").read_bytes()
        (tmp_path / "snapshot.json").write_bytes(content[: len(content) // 2])
    elif damage == "no file":
        (tmp_path / "files" / name).unlink()
    else:
        (tmp_path / "files" / name).write_bytes(b"neW")
    found = read(tmp_path)
    assert found is not None
    assert found.snapshot.stores == {"store": 1}
    assert str(tmp_path) in found.problem


def test_two_damaged_snapshots_are_refused(tmp_path: Path) -> None:
    """Nothing starts with an empty state, and nothing is deleted."""
    for value in (1, 2):
        write(tmp_path, value)
    for name in ("snapshot.json", "previous.json"):
        (tmp_path / name).write_text("{")
    with pytest.raises(SnapshotError, match=r"snapshot\.json cannot be read .*previous\.json cannot be read"):
        read(tmp_path)
    assert snapshot_files.exists(tmp_path)


def test_a_snapshot_that_cannot_be_finished_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full while the document is written: no part of it stays."""
    write(tmp_path, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2, b"content")
    found = read(tmp_path)
    assert found is not None
    assert found.snapshot.stores == {"store": 1}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["snapshot.json"]


@pytest.mark.parametrize("member", ["format", "package", "ministack"])
def test_another_version_is_refused_by_name(member: str, tmp_path: Path) -> None:
    """The message has both versions; the snapshot is unchanged."""
    write(tmp_path, 1)
    path = tmp_path / "snapshot.json"
    plain = json.loads(path.read_text())
    plain["versions"][member] = 999 if member == "format" else "99.9"
    plain["unknown"] = "a member of another format"
    path.write_text(json.dumps(plain))
    before = path.read_bytes()
    with pytest.raises(VersionError, match=r"was written by mlops-local .*99.*, and this is mlops-local"):
        snapshot_files.check_versions(tmp_path)
    with pytest.raises(VersionError):
        read(tmp_path)
    assert path.read_bytes() == before


def test_deleted_is_gone(tmp_path: Path) -> None:
    """With all files beside it."""
    write(tmp_path / "saved", 1, b"content")
    snapshot_files.delete(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    snapshot_files.delete(tmp_path / "saved")
