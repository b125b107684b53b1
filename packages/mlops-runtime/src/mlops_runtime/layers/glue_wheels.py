"""Wheels for Glue jobs: a zip with the wheels of a function layer's lock, for Glue's Python.

A job in a network without internet access cannot install from an index.

See: https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-python-libraries.html (zip of wheels)
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mlops_runtime.layers import layer_wheels
from mlops_runtime.layers.layer_wheels import LayerError

# https://docs.aws.amazon.com/glue/latest/dg/release-notes.html: Glue 5.0 has Python 3.11 on Amazon Linux 2023, glibc 2.34
PYTHON_VERSION = "3.11"
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in the zip format


def build_wheels(name: str = "features") -> Path:
    """Download the wheels of a lock for Glue's Python with pip, verify their hashes, and zip them; index settings are respected.

    Args:
        name: Name of the lock. Default: ``features``.

    Returns:
        The zip, possibly of an earlier build: the same lock gives the same bytes.

    Raises:
        LayerError: If the wheels cannot be downloaded.
    """
    archive = archive_path(name)
    if archive.is_file():
        return archive
    layer_wheels.ASSETS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layer_wheels.ASSETS) as scratch:
        wheels = Path(scratch) / "wheels"
        result = subprocess.run(_command(name, wheels), capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise LayerError(f"wheels of {name!r} for Glue could not be fetched: {result.stderr.strip()[-800:]}")
        made = Path(scratch) / archive.name
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:  # wheels are already compressed
            for path in sorted(wheels.glob("*.whl")):
                target.writestr(zipfile.ZipInfo(f"wheels/{path.name}", _EPOCH), path.read_bytes())
            pins = "".join(f"{pin}\n" for pin in layer_wheels.pins(name))
            target.writestr(zipfile.ZipInfo("wheels/requirements.txt", _EPOCH), pins)
        archive.parent.mkdir(exist_ok=True)
        made.replace(archive)
    return archive


def archive_path(name: str) -> Path:
    """Return the path of the zip of a lock's wheels, named by the hash of lock and Python version.

    Args:
        name: Name of the lock, such as ``features``.
    """
    key = f"glue {PYTHON_VERSION} {(layer_wheels.LOCKS / f'{name}.txt').read_text()}"
    folder = layer_wheels.ASSETS / f"{name}-glue-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return folder / f"{name}.gluewheels.zip"


def _command(name: str, target: Path) -> list[str]:
    """Return the command for pip, the only tool that downloads wheels as files; without pip, uv runs it."""
    uv = shutil.which("uv")
    has_pip = importlib.util.find_spec("pip") is not None or uv is None
    pip = [sys.executable, "-m", "pip"] if has_pip else [str(uv), "tool", "run", "--from", "pip", "pip"]
    platforms = [part for platform in _PLATFORMS for part in ("--platform", platform)]
    return [
        *pip,
        *("download", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", PYTHON_VERSION, *platforms),
        *("--dest", str(target), "-r", str(layer_wheels.LOCKS / f"{name}.txt")),
    ]
