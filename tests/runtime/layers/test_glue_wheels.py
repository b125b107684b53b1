"""Wheels for Glue jobs."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from mlops_runtime.layers import glue_wheels, layer_wheels
from mlops_runtime.layers.layer_wheels import LayerError


def test_a_real_archive_holds_each_pinned_wheel_for_glues_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are fetched by hash; the zip has the same bytes each time, and what is there is not fetched again."""
    archives = []
    for name in ("one", "two"):
        monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path / name)
        archives.append(glue_wheels.build_wheels())
    one, two = archives

    assert one.read_bytes() == two.read_bytes()
    assert one.name.endswith(".gluewheels.zip")
    with zipfile.ZipFile(one) as archive:
        names = archive.namelist()
        requirements = archive.read("wheels/requirements.txt").decode().split()
    wheels = [name for name in names if name.endswith(".whl")]
    assert len(wheels) == len(requirements) == len(layer_wheels.pins("features"))
    assert not [
        name for name in wheels if not any(tag in name for tag in ("-none-any", "-cp311-cp311-", "-cp310-abi3-"))
    ]
    assert not [name for name in wheels if "aarch64" in name]
    monkeypatch.setattr(glue_wheels.subprocess, "run", lambda *_, **__: pytest.fail("nothing is fetched again"))
    assert glue_wheels.build_wheels() == glue_wheels.archive_path("features") == two


def test_fails_when_wheels_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the installer says is shown, and nothing half-made stays."""
    monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path / "assets")
    monkeypatch.setattr(
        glue_wheels.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no route")
    )

    with pytest.raises(LayerError, match="wheels of 'features' for Glue could not be fetched: no route"):
        glue_wheels.build_wheels()

    assert list((tmp_path / "assets").iterdir()) == []
