"""The command as a user calls it: in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest


def mlops(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "mlops_cli", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_help_names_every_command(tmp_path: Path) -> None:
    """`mlops --help` lists what there is."""
    result = mlops("--help", cwd=tmp_path)

    assert result.returncode == 0
    for command in ("local", "assets", "deploy", "destroy", "demo"):
        assert command in result.stdout


def test_help_loads_neither_aws_cdk_nor_boto3(tmp_path: Path) -> None:
    """Help stays quick because nothing heavy is imported for it."""
    code = "import sys, mlops_cli.__main__; print([m for m in ('aws_cdk', 'boto3', 'jsii', 'ministack') if m in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_fails_when_the_demo_runs_outside_a_checkout(tmp_path: Path) -> None:
    """The demo says where it runs, in one line."""
    result = mlops("demo", cwd=tmp_path)

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: the demo runs in a checkout of mlops-constructs")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "verb", [["local", "down"], ["local", "status"], ["local", "env"], ["local", "logs"], ["deploy"]]
)
def test_fails_when_nothing_runs(verb: list[str], tmp_path: Path) -> None:
    """Every verb on a cloud that is not up says so in one line that names the fix."""
    result = mlops(*verb, "--home", str(tmp_path / "none"), cwd=tmp_path)

    assert result.returncode == 1
    assert "mlops local up" in result.stderr
    assert "Traceback" not in result.stderr
