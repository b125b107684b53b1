"""Building layers with the command."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_cli import assets
from mlops_cli.aws_account import UserError
from mlops_runtime.layers.layer_wheels import layer_folder, layer_names

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_what_is_built_is_shown_and_not_fetched_again(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prints a line per layer with its folder; existing layers start no installer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    folders = [layer_folder(name, architecture=architecture) for name in layer_names()]
    for folder in folders:
        (folder / "python").mkdir(parents=True)

    every = [word for name in layer_names() for word in ("--layer", name)]
    result = CliRunner().invoke(assets.app, ["build", "--architecture", architecture, *every])
    default = CliRunner().invoke(assets.app, ["build", "--architecture", architecture])

    assert (result.exit_code, default.exit_code) == (0, 0)
    assert result.output.splitlines() == [f"built {folder}" for folder in folders]
    assert default.output.splitlines() == [f"built {layer_folder('monitor', architecture=architecture)}"]


def test_fails_on_an_architecture_that_lambda_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names both architectures; nothing is built."""
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(assets.app, ["build", "--architecture", "aarch64", "--layer", "pandas"])

    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "layer must be one of features, monitor, got 'pandas'; architecture must be one of x86_64, arm64, got 'aarch64'"
    )
    assert list(tmp_path.iterdir()) == []


def test_fails_when_wheels_cannot_be_had(mlops: Run, tmp_path: Path) -> None:
    """A real installer without a network: its message is shown without a traceback, and no partial layer remains."""
    result = mlops(
        "assets", "build", UV_OFFLINE="1", UV_CACHE_DIR=str(tmp_path / "cache"), PIP_NO_INDEX="1", UV_NO_CONFIG="1"
    )

    assert result.returncode == 1
    assert "mlops: wheels of layer 'monitor' for x86_64 could not be fetched: " in result.stderr
    assert "Traceback" not in result.stderr
    assert "built" not in result.stdout
    assert list((tmp_path / ".mlops" / "assets").iterdir()) == []


def test_fails_without_a_verb(mlops: Run) -> None:
    """The help names the verb."""
    result = mlops("assets")

    assert result.returncode == 2
    assert "build" in result.stdout + result.stderr
