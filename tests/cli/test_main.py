"""The command as a user runs it, in a child process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from mlops_cli.__main__ import app

ROOT = Path(__file__).resolve().parents[2]


def mlops(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "mlops_cli", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    """`mlops --help` lists all commands."""
    result = mlops("--help", cwd=tmp_path)

    assert result.returncode == 0
    for command in (
        "local",
        "assets",
        "deploy",
        "destroy",
        "demo",
        "status",
        "rollback",
        "pause",
        "resume",
        "audit",
        "models",
        "new",
        "upgrade",
        "plan",
        "invoke",
        "doctor",
    ):
        assert command in result.stdout


def test_help_loads_neither_aws_cdk_nor_boto3(tmp_path: Path) -> None:
    """Help is fast, as nothing heavy is imported."""
    code = "import sys, mlops_cli.__main__; print([m for m in ('aws_cdk', 'boto3', 'jsii', 'ministack') if m in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Return every command by its full name, without groups."""
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")


COMMANDS = dict(_commands(get_command(app), "mlops"))


def test_every_command_on_units_is_documented() -> None:
    """Covers all that read or change deployed units."""
    text = (ROOT / "docs" / "operations.md").read_text()
    apart = (
        "mlops local",
        "mlops assets",
        "mlops deploy",
        "mlops destroy",
        "mlops demo",
        "mlops image",
        "mlops serving",
        "mlops terraform",
        "mlops verify",
    )

    assert [name for name in COMMANDS if not name.startswith(apart) and name not in text] == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.startswith("mlops local")])
def test_every_command_and_option_says_what_it_is(name: str) -> None:
    """People read help before the page."""
    command = COMMANDS[name]

    assert command.help
    assert [p.name for p in command.params if p.name != "help" and not getattr(p, "help", None)] == []


def test_fails_when_the_demo_runs_outside_a_checkout(tmp_path: Path) -> None:
    """The error says in one line where the demo runs."""
    result = mlops("demo", cwd=tmp_path)

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: the demo runs in a checkout of mlops-constructs")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "verb", [["local", "down"], ["local", "status"], ["local", "env"], ["local", "logs"], ["deploy"]]
)
def test_fails_when_nothing_runs(verb: list[str], tmp_path: Path) -> None:
    """Every verb that needs a running cloud prints one line with the fix."""
    result = mlops(*verb, "--home", str(tmp_path / "none"), cwd=tmp_path)

    assert result.returncode == 1
    assert "mlops local up" in result.stderr
    assert "Traceback" not in result.stderr
