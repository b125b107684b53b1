"""Files that are complete or missing, and locks that end with their process."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from mlops_runtime.features import locked_files as module
from mlops_runtime.features.locked_files import is_held, remove_parts, write_once, write_whole

# writes a file without its second half
_WRITER = """
import os, sys
from pathlib import Path
from mlops_runtime.features import locked_files
def stop(*_):
    print("here", flush=True)
    sys.stdin.read()
setattr(locked_files.os if sys.argv[2] == "link" else Path, sys.argv[2], stop)
getattr(locked_files, sys.argv[3])(Path(sys.argv[1]), b"secret")
"""


def test_the_first_of_two_writers_is_kept(tmp_path):
    """No partial file of either remains."""
    path = tmp_path / "deep" / "a.json"
    first = write_once(path, b"1")

    assert first is not None
    assert write_once(path, b"2") is None
    assert path.read_bytes() == b"1"
    assert list(path.parent.iterdir()) == [path]
    first.close()


def test_a_lock_lasts_as_long_as_the_file_is_open(tmp_path):
    """A missing file is not locked."""
    file = write_once(tmp_path / "a", b"1")
    assert file is not None
    assert is_held(tmp_path / "a")

    file.close()

    assert not is_held(tmp_path / "a")
    assert not is_held(tmp_path / "b")


@pytest.mark.parametrize(("last", "call"), [("link", "write_once"), ("replace", "write_whole")])
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path, last, call):
    """The lock tells them apart, however long a writer is paused."""
    place = tmp_path / "a" / "b.parquet"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(place), last, call],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "here\n"
    os.kill(writer.pid, signal.SIGSTOP)
    (part,) = place.parent.iterdir()

    assert (remove_parts(tmp_path), part.read_bytes()) == (0, b"secret")

    writer.kill()
    writer.communicate()
    assert remove_parts(tmp_path) == 1
    assert list(place.parent.iterdir()) == []


def test_a_file_that_goes_before_its_lock_is_made_again(tmp_path, monkeypatch):
    """A process that removes files of killed writers may act between the two steps."""
    opened, once = Path.open, []

    def open_and_remove(path, *arguments, **options):
        file = opened(path, *arguments, **options)
        if not once and path.name.endswith(".part"):
            once.append(path)
            path.unlink()
        return file

    monkeypatch.setattr(Path, "open", open_and_remove)
    file = write_once(tmp_path / "a", b"1")
    assert file is not None
    file.close()
    assert once
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_file_that_is_replaced_is_the_old_or_the_new(tmp_path, monkeypatch):
    """After a failed write readers see the old file, never a partial new one."""
    path = tmp_path / "deep" / "a.json"
    write_whole(path, b"old")
    write_whole(path, b"new")
    monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(path, b"newer")

    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_writer_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """Its lock is removed too."""
    monkeypatch.setattr(module.os, "link", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_once(tmp_path / "a", b"1")
    assert list(tmp_path.iterdir()) == []


def test_writers_and_removers_at_once_lose_nothing(tmp_path):
    """Every file that a writer reported as written exists."""
    written: list[Path] = []

    def write(number):
        for count in range(30):
            file = write_once(tmp_path / f"{number}-{count}", b"1")
            assert file is not None
            file.close()
            written.append(tmp_path / f"{number}-{count}")

    threads = [Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        remove_parts(tmp_path)
    for thread in threads:
        thread.join()
    assert len([path for path in written if path.read_bytes() == b"1"]) == 90
