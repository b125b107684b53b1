"""Fixtures to run the command in a child process or in this one; no embedded cloud is left running."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.called_command import call_command
from tests.cli import deployed_unit, feature_shops, linked_units

from mlops_local.cloud import Cloud, CloudError, connect

Run = Callable[..., subprocess.CompletedProcess[str]]

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
def interruptible() -> Iterator[None]:
    """Let child processes receive SIGINT: background jobs of a shell ignore it, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def in_process() -> Run:
    """Run the command in this process, ten times as fast, on a wide terminal: ``in_process("features", "list")``."""
    return call_command


@pytest.fixture
def feature_shop(tmp_path: Path) -> feature_shops.FeatureShop:
    """A feature store in a folder, with two groups of ten days and a training set."""
    return feature_shops.FeatureShop(tmp_path / "shop")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for an embedded cloud, which is stopped after the test."""
    folder = tmp_path / "cloud"
    yield folder
    try:
        connect(folder).down(forget=True)
    except CloudError:
        return


@pytest.fixture
def deployed(cloud: Cloud) -> deployed_unit.DeployedUnit:
    """A unit on the shared cloud, with an endpoint that serves no model yet."""
    return deployed_unit.DeployedUnit(cloud, f"unit{next(_number)}")


@pytest.fixture
def linked(cloud: Cloud) -> linked_units.LinkedUnits:
    """A unit in two accounts of the shared cloud, one of which releases models to the other."""
    return linked_units.LinkedUnits(cloud, f"linked{next(_number)}")


@pytest.fixture
def on_cloud(cloud: Cloud, in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process, in the test's folder, on the shared cloud; keyword arguments are environment variables."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            return in_process(*arguments, **{"MLOPS_LOCAL_HOME": str(cloud.home), **environment})

    return run


@pytest.fixture
def unique_stack() -> str:
    """A stack name that no other test of the session uses."""
    return f"CliStack{next(_number)}"
