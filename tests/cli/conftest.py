"""The command as a user calls it, in a process of its own; no cloud stays up."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_local.cloud import CloudError, connect

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def mlops(tmp_path: Path) -> Run:
    """Run the command in the test's folder: ``mlops("deploy", "--home", home, AWS_PROFILE="x")``; the rest is environment."""

    def run(*arguments: object, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mlops_cli", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for an embedded cloud, which is brought down when the test has not done so."""
    folder = tmp_path / "cloud"
    yield folder
    try:
        connect(folder).down()
    except CloudError:
        return
