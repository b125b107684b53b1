"""Wheels of function layers and for Glue jobs."""

import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_runtime.layers import layer_wheels
from mlops_runtime.layers.layer_wheels import LayerError, build_layers, layer_folder, layer_names


def test_locks_pin_every_wheel_by_hash() -> None:
    """No wheel enters a layer that was not looked at."""
    for name in layer_names():
        lines = (layer_wheels.LOCKS / f"{name}.txt").read_text().splitlines()
        pins = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert pins
        assert all("==" in pin and pin.endswith("\\") for pin in pins)
        assert all(line.lstrip().startswith("--hash=sha256:") for line in lines if line.startswith(" "))


def test_the_layer_of_features_has_pyarrow_and_pyiceberg_and_what_they_need() -> None:
    """No engine, no frames, nothing that Lambda brings, and none of the parts that its lock leaves out."""
    built = next(path for path in build_layers() if path.name.startswith("features-")) / "python"
    there = {path.name for path in built.iterdir()}
    assert {"pyarrow", "pyiceberg", "pyiceberg_core"} <= there
    assert there.isdisjoint(
        {"boto3", "botocore", "duckdb", "hive_metastore", "numpy", "pandas", "polars", "sqlalchemy"}
    )
    assert layer_wheels._left_out("features") != []
    assert [path for pattern in layer_wheels._left_out("features") for path in built.glob(pattern)] == []


def test_architectures_have_folders_of_their_own() -> None:
    """An x86 wheel never reaches an arm function."""
    assert layer_folder("monitor", architecture="x86_64") != layer_folder("monitor", architecture="arm64")


def test_fails_on_an_unknown_architecture() -> None:
    """Lambda knows two."""
    with pytest.raises(LayerError, match="architecture must be one of x86_64, arm64, got 'x86'"):
        next(build_layers(architecture="x86"))


@pytest.mark.parametrize(
    ("architecture", "platform"), [("x86_64", "x86_64-manylinux_2_28"), ("arm64", "aarch64-manylinux_2_28")]
)
def test_wheels_are_fetched_for_lambda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, platform: str
) -> None:
    """The command asks for Lambda's platform and Python, by hash, and keeps what it fetched."""
    monkeypatch.chdir(tmp_path)
    commands = []

    def fetch(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        package = Path(command[command.index("--target") + 1]) / "numpy"
        (package / "__pycache__").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(layer_wheels.shutil, "which", lambda _: "/usr/bin/uv")
    monkeypatch.setattr(layer_wheels.subprocess, "run", fetch)

    first, second = list(build_layers(architecture=architecture)), list(build_layers(architecture=architecture))

    assert first == second
    assert len(commands) == len(layer_names())
    assert commands[0][commands[0].index("--python-platform") + 1] == platform
    assert "--require-hashes" in commands[0]
    assert [str(p.relative_to(first[0])) for p in sorted(first[0].rglob("*"))] == [
        "python",
        "python/numpy",
        "python/numpy/__init__.py",
    ]


def test_two_builds_at_once_leave_one_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second finds the first one's, whole, and leaves nothing of its own."""
    monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: list(build_layers()), range(2))

    assert first == second
    assert all((folder / "python").is_dir() for folder in first)
    assert sorted(tmp_path.iterdir()) == sorted(first)


def test_fails_when_the_layer_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda would refuse it at deployment, after the upload."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layer_wheels, "MAXIMUM_LAYER_MIB", 0)

    def fetch(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--target") + 1])
        target.mkdir()
        (target / "big").write_bytes(b"0" * 2**20)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(layer_wheels.subprocess, "run", fetch)

    with pytest.raises(LayerError, match=r"layer '\w+' is 1 MiB unzipped, at most 0 are allowed"):
        list(build_layers())


def test_fails_when_wheels_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the installer says is shown, and nothing half-made stays."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        layer_wheels.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no route to the index"),
    )

    with pytest.raises(LayerError, match="could not be fetched: no route to the index"):
        list(build_layers())
    assert list((tmp_path / ".mlops" / "assets").iterdir()) == []


def test_a_real_archive_holds_each_pinned_wheel_for_glues_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are fetched by hash; the zip has the same bytes each time, and what is there is not fetched again."""
    archives = []
    for name in ("one", "two"):
        monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path / name)
        archives.append(layer_wheels.build_glue_archive())
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
    monkeypatch.setattr(layer_wheels.subprocess, "run", lambda *_, **__: pytest.fail("nothing is fetched again"))
    assert layer_wheels.build_glue_archive() == layer_wheels.glue_archive_path("features") == two


def test_fails_when_wheels_for_glue_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the installer says is shown, and nothing half-made stays."""
    monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path / "assets")
    monkeypatch.setattr(
        layer_wheels.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no route")
    )

    with pytest.raises(LayerError, match="wheels of 'features' for Glue could not be fetched: no route"):
        layer_wheels.build_glue_archive()

    assert list((tmp_path / "assets").iterdir()) == []
