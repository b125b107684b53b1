"""A generated repository in git, and its pipeline, run job by job with gitlab-ci-local."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_cli.new import sample_schema
from mlops_cli.project import RECORD, Answers, ModelAnswers, record_of, render, write_all
from mlops_cli.project_environments import read_environments
from mlops_cli.project_packages import PackageSources

BIN = Path(sys.executable).parent
OFFLINE = {**os.environ, "UV_OFFLINE": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
# GitLab's own templates come from gitlab.com and are omitted without a network
INPUTS = ("gitlab_scans=false",)
needs_gitlab = [
    pytest.mark.skipif(
        shutil.which("gitlab-ci-local", path=OFFLINE["PATH"]) is None, reason="no gitlab-ci-local: npm install"
    ),
    pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync, which gitlab-ci-local needs"),
]
_HIDDEN = ("AWS_", "CDK_VALIDATION", "PYTHONDONTWRITEBYTECODE", "PYTEST_", "VIRTUAL_ENV")

# packages required by a project of the default framework
LOCK = Path(__file__).parents[2] / "examples" / "own_model" / "requirements.lock"


def rendered(folder: Path, environments: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the files of a unit's repository as `mlops new` writes them, from a temporary folder."""
    model = ModelAnswers(unit="demand", model="forecast", schema=sample_schema("number"))
    chain, problems = read_environments(environments)
    assert problems == []
    answers = Answers(unit="demand", models=(model,), environments=chain)
    files = {**render(answers, folder, PackageSources()), "requirements.lock": LOCK.read_bytes()}
    return {**files, RECORD: record_of(answers, files)}


def make_repository(folder: Path, files: dict[str, bytes]) -> Path:
    """Create a git repository with one commit on its default branch."""
    write_all(folder, files)
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    _git(folder, "remote", "add", "origin", "https://gitlab.example.com/retail/demand.git")
    _git(folder, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all changes."""
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "Change")


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that occurs once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def run_jobs(
    project: Path,
    *jobs: str,
    options: Sequence[str] = (),
    variables: Sequence[str] = (),
    inputs: Sequence[str] = INPUTS,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run the named jobs, or all; the rest is environment."""
    given = [option for variable in variables for option in ("--variable", variable)]
    given += [option for value in inputs for option in ("--input", value)]
    home = project.parent / "home"
    # jobs have a socket as standard input, which bash below two shells takes for a remote shell: it reads ~/.bashrc, which may put
    # another Python first (https://www.gnu.org/software/bash/manual/html_node/Bash-Startup-Files.html)
    inherited = {name: value for name, value in OFFLINE.items() if not name.startswith(_HIDDEN)} | {"SHLVL": "2"}
    return subprocess.run(
        ["gitlab-ci-local", "--force-shell-executor", "--home", home, "--concurrency", "2", *given, *options, *jobs],
        cwd=project,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )


def results(output: str) -> dict[str, str]:
    """Return PASS or FAIL of each job."""
    rows = [line.split() for line in output.splitlines() if line.startswith((" PASS", " FAIL"))]
    return {row[1]: row[0] for row in rows}


def printed(output: str) -> str:
    """Return the output of the jobs as one line."""
    return " ".join(line.partition("> ")[2] for line in output.splitlines() if "> " in line)


def declared(files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs and jobs that the file declares."""
    header, jobs = yaml.load_all(files[".gitlab-ci.yml"].replace(b"!reference", b""), Loader=yaml.SafeLoader)
    return header["spec"]["inputs"], jobs


def id_token(subject: str) -> str:
    """Return an ID token as GitLab writes it; the embedded cloud does not check the signature."""
    claims = {"iss": "https://gitlab.com", "aud": "sts.amazonaws.com", "sub": subject}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    ]
    return ".".join([*parts, "none"])


def _git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)
