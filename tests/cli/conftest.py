"""The command as a user calls it, in a process of its own; no cloud stays up."""

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_local.cloud import Cloud, CloudError, connect

Run = Callable[..., subprocess.CompletedProcess[str]]

_SPEC = importlib.util.spec_from_file_location("deployed_unit", Path(__file__).parent / "deployed_unit.py")
assert _SPEC is not None
assert _SPEC.loader is not None
deployed_unit = importlib.util.module_from_spec(_SPEC)
sys.modules["deployed_unit"] = deployed_unit  # tests import its class by this name
_SPEC.loader.exec_module(deployed_unit)

_number = itertools.count(1)


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


@pytest.fixture
def deployed(cloud: Cloud) -> "deployed_unit.DeployedUnit":
    """A unit of its own on the shared cloud, with an endpoint that serves nothing yet."""
    return deployed_unit.DeployedUnit(cloud, f"unit{next(_number)}")


@pytest.fixture
def on_cloud(cloud: Cloud, mlops: Run) -> Run:
    """Run the command against the shared cloud, on a wide terminal."""
    return lambda *arguments, **environment: mlops(
        *arguments, MLOPS_LOCAL_HOME=str(cloud.home), COLUMNS="300", **environment
    )


@pytest.fixture
def unique_stack() -> str:
    """A stack's name that no other test of the session uses."""
    return f"CliStack{next(_number)}"
