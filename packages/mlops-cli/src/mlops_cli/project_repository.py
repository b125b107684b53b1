"""Git repository of a generated project, with a first commit.

Of the user's git configuration, only the name is used: hooks and signing are disabled, since both may prompt.
"""

import os
import shutil
import subprocess
from pathlib import Path

_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
_QUIET = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false")


def takes_repository(folder: Path) -> bool:
    """Return whether git is installed, and a folder to create would be outside of any repository."""
    if shutil.which("git") is None:
        return False
    above = next(each for each in folder.absolute().parents if each.is_dir())
    return _git(above, "rev-parse", "--git-dir").returncode != 0


def commit_project(folder: Path) -> str:
    """Create a repository in a folder, and commit its files if git has a user name.

    Returns:
        A message about the result.
    """
    made = _git(folder, "init", "--quiet", "--initial-branch", "main")
    if made.returncode == 0:
        made = _git(folder, "add", "--all")
    if made.returncode != 0:  # an old git, or an unsuitable file system
        shutil.rmtree(folder / ".git", ignore_errors=True)
        return f"no git repository was created: {_said(made)}"
    if _git(folder, "var", "GIT_COMMITTER_IDENT").returncode != 0:
        return 'a git repository with all files staged; to commit, set your name: git config user.name "..."'
    done = _git(folder, *_QUIET, "commit", "--quiet", "--message", "Create the project")
    if done.returncode != 0:
        return f"a git repository with all files staged; the commit failed: {_said(done)}"
    return "a git repository with a first commit"


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # when run by a git hook, these variables name the hook's repository
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else f"git exited with {done.returncode}"
