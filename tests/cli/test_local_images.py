"""``mlops local image``: declares, lists and removes images, without a running cloud."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
IMAGE = "server@sha256:" + "0" * 64


def test_images_are_declared_listed_and_taken_back(
    in_process: Run, mlops: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored beside the cloud's state, so that they stay when the cloud stops."""
    monkeypatch.delenv("COLUMNS", raising=False)
    home = ("--home", str(tmp_path / "cloud"))
    added = in_process("local", "image", "add", IMAGE, "--serve", "python serve.py", "--folder", str(tmp_path), *home)
    assert added.stdout == f"{IMAGE} runs: cd {tmp_path} && exec python serve.py\n"
    listed = json.loads(in_process("local", "image", "list", "--json", *home).stdout)
    assert listed == [{"image": IMAGE, "command": f"cd {tmp_path} && exec python serve.py"}]
    assert "exec python serve.py" in mlops("local", "image", "list", *home).stdout
    assert in_process("local", "image", "remove", IMAGE, *home).stdout == f"{IMAGE} is no longer declared\n"
    output = in_process("local", "image", "list", *home).stdout
    assert output == "no image is declared; declare one: mlops local image add REPOSITORY@sha256:... --serve COMMAND\n"


def test_fails_with_every_problem(in_process: Run, tmp_path: Path) -> None:
    """Prints one line with the fix."""
    result = in_process("local", "image", "add", "server:1", "--serve", "x", "--home", str(tmp_path))
    assert (result.returncode, result.stderr.startswith("mlops: an image is named by its digest")) == (1, True)
