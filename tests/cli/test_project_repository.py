"""A project's git repository: a first commit by the configured user; none if impossible or not wanted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.pipeline_run import LOCK

from mlops_cli.project_repository import commit_project, takes_repository

NEW = """
import sys
from pathlib import Path
from mlops_cli import project_packages
from mlops_cli.__main__ import main
from mlops_cli.project_packages import PackageSources

project_packages.package_sources = lambda index=None: PackageSources(index=index)
project_packages.lock = lambda folder, name: (folder / name).write_bytes(Path(LOCK).read_bytes())
sys.argv = ["mlops", "new", "made/demand", "--unit", "demand", "--model", "forecast", "--kind", "number", *MORE]
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A configured git user without other settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text("[user]\nname = Ann\nemail = ann@example.com\n")


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output."""
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def project(folder: Path) -> Path:
    """Create a folder with a file, and an ignored one."""
    folder.mkdir()
    (folder / "app.py").write_text("")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "a.log").write_text("")
    return folder


def test_the_first_commit_has_every_file(tmp_path: Path) -> None:
    """Committed by the user, without their hooks; a folder inside a repository gets no own one."""
    (tmp_path / "gitconfig").write_text("[user]\nname = Ann\nemail = a@b.example\n[commit]\ngpgsign = true\n")
    assert takes_repository(tmp_path / "made" / "shop")
    shop = project(tmp_path / "shop")
    assert commit_project(shop) == "a git repository with a first commit"
    assert git(shop, "log", "--format=%an %s") == "Ann Create the project"
    assert git(shop, "ls-files").split() == [".gitignore", "app.py"]
    assert git(shop, "status", "--porcelain") == ""
    assert not takes_repository(shop / "sub" / "other")


def test_without_a_name_the_files_are_staged(tmp_path: Path) -> None:
    """No invented author appears in the history."""
    (tmp_path / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    shop = project(tmp_path / "shop")
    assert commit_project(shop).startswith("a git repository with all files staged; to commit, set your name")
    assert git(shop, "diff", "--cached", "--name-only").split() == [".gitignore", "app.py"]


def test_where_git_is_missing_there_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same if git fails, as in a read-only folder."""
    shop = project(tmp_path / "shop")
    (shop / ".git").write_text("not a repository")
    assert commit_project(shop).startswith("no git repository was created: ")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not takes_repository(tmp_path / "other")


def _program(*more: str) -> list[str]:
    return [sys.executable, "-c", f"LOCK, MORE = {str(LOCK)!r}, {list(more)!r}\n{NEW}"]


def test_a_project_is_a_repository_unless_told_otherwise(tmp_path: Path) -> None:
    """The command prints whether it made a repository; the branch is main."""
    done = subprocess.run(_program(), cwd=tmp_path, capture_output=True, text=True, check=True)
    made = tmp_path / "made" / "demand"
    assert done.stdout.splitlines()[1] == "a git repository with a first commit"
    assert git(made, "status", "--porcelain", "--branch") == "## main"
    done = subprocess.run(
        [*_program("--no-git")[:2], _program("--no-git")[2].replace("made/demand", "other")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "git" not in done.stdout.splitlines()[1]
    assert not (tmp_path / "other" / ".git").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Covers Ctrl-C and SIGTERM while the folder is created; the next run works."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(
        '#!/bin/sh\ncase "$PWD" in *.demand.part) mkdir .git; : > "$READY"; exec sleep 60;; esac\n'
        f'exec {shutil.which("git")} "$@"\n'
    )
    slow.chmod(0o755)
    ready = tmp_path / "ready"
    environment = os.environ | {"PATH": f"{slow.parent}:{os.environ['PATH']}", "READY": str(ready)}
    running = subprocess.Popen(
        _program(),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    limit = time.monotonic() + 60
    while not ready.exists():
        assert running.poll() is None, running.stderr and running.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert (tmp_path / "made" / ".demand.part" / "app.py").exists()
    running.send_signal(number)
    assert running.wait(30) == code
    assert not (tmp_path / "made").exists()
