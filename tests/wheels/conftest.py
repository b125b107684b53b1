"""Fixtures: the four wheels built from this checkout, and separate environments with them installed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# dependencies between the distributions
NEEDS = {
    "mlops-runtime": ["mlops-runtime"],
    "mlops-local": ["mlops-runtime", "mlops-local"],
    "mlops-cli": ["mlops-runtime", "mlops-cli"],
    "mlops-constructs": ["mlops-runtime", "mlops-cli", "mlops-constructs"],
}
Install = Callable[..., Path]


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that lead Python or uv to this checkout; the tests' network guard stays.

    Tests with Spark add this environment's packages to ``PYTHONPATH`` of their whole process.
    """
    leading = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    kept = {name: value for name, value in os.environ.items() if name not in leading}
    return kept | {"PYTHONPATH": str(ROOT / "tests" / "outside")}


def run(*command: object, **variables: str) -> str:
    """Run a command in the checkout, and return its output."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="session")
def uv() -> str:
    """The program that builds and installs."""
    found = shutil.which("uv")
    if found is None:
        pytest.skip("uv builds the wheels and is not installed")
    return found


@pytest.fixture(scope="session")
def wheels(uv: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each distribution's wheel by the distribution's name."""
    folder = tmp_path_factory.mktemp("wheels")
    run(uv, "build", "--all-packages", "--wheel", "--out-dir", folder)
    return {path.name.partition("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


@pytest.fixture(scope="session")
def install(uv: str, wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Install a wheel into an empty environment, with dependencies at the versions of ``uv.lock``; return the environment.

    Tests with the same wheel and extras share one environment, and none changes it.
    """

    @cache
    def installed(name: str, *, extras: tuple[str, ...] = (), needs: tuple[str, ...] = ()) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        options = [option for extra in extras for option in ("--extra", extra)]
        where = {"UV_PROJECT_ENVIRONMENT": str(folder), "UV_LINK_MODE": "hardlink", "UV_COMPILE_BYTECODE": "0"}
        # third-party packages come from the lock file, by hash; ours are the wheels themselves
        locked = ("--frozen", "--no-dev", "--no-install-workspace", "--python", sys.executable)
        run(uv, "sync", "--quiet", "--package", name, *options, *locked, **where)
        ours = [wheels[each] for each in (*NEEDS[name], *needs)]
        run(uv, "pip", "install", "--quiet", "--python", folder, "--no-deps", "--no-index", *ours)
        run(uv, "pip", "check", "--python", folder)
        return folder

    return installed
