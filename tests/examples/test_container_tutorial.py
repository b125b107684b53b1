"""The commands of ``docs/tutorial_container.md``, run as printed in a checkout."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.cloud, pytest.mark.campaign]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial_container.md"


def commands() -> list[str]:
    """Return the commands of the complete section."""
    section = PAGE.read_text().partition("## On this machine")[2].partition("\n- ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


class Shell:
    """A checkout's shell, with its own embedded cloud."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "MLOPS_LOCAL_HOME": str(folder / "cloud")}
        self.file = folder / "sales.parquet"

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the page, with the path of its one file replaced."""
        command = [str(self.file) if word == "sales.parquet" else word for word in shlex.split(line)]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """The shell, whose cloud stops after the test."""
    made = Shell(tmp_path)
    yield made
    made.run("mlops local down --yes")


def test_a_container_goes_from_a_server_to_an_endpoint(shell: Shell) -> None:
    """Eight commands; the last one prints the example's prediction: twice the price, and 9.9 where promoted."""
    lines = commands()
    assert len(lines) == 8
    for line in lines:
        done = shell.run(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    request = json.loads((ROOT / "examples/container_model/request.json").read_text())
    expected = [2.0 * row["price"] + 9.9 * row["promoted"] for row in request["instances"]]
    assert json.loads(done.stdout)["predictions"] == pytest.approx(expected)


def test_a_container_that_is_not_declared_is_named_before_it_costs_anything(shell: Shell) -> None:
    """Without its ``mlops local image add`` the deployment is rejected, naming the verb."""
    lines = commands()
    assert "local image add" in lines[1]
    assert shell.run(lines[2]).returncode == 0
    done = shell.run(lines[3])
    assert done.returncode == 1
    assert "declare its command: mlops local image add other-server@sha256:... --serve COMMAND" in done.stderr
