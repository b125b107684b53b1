"""Wheels of function layers, downloaded by hash from a lock of this folder, for Lambda's platform and Python.

``mlops assets build`` downloads them; synthesis only reads the folder, whose name contains the hash of the lock.

Glue jobs get a zip with the wheels of a layer's lock, for Glue's Python: a job in a network without internet access cannot install
from an index.

See: https://docs.aws.amazon.com/glue/latest/dg/aws-glue-programming-python-libraries.html (zip of wheels)
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

PYTHON_VERSION = "3.14"  # of the functions
# Lambda's platforms in uv and pip; Amazon Linux 2023 has glibc 2.34
ARCHITECTURES = {
    "x86_64": ("x86_64-manylinux_2_28", "manylinux_2_28_x86_64"),
    "arm64": ("aarch64-manylinux_2_28", "manylinux_2_28_aarch64"),
}
MAXIMUM_LAYER_MIB = 245  # Lambda allows 250 MB for function and layers together
ASSETS = Path(".mlops/assets")
LOCKS = Path(__file__).parent
_MIB = 1024 * 1024
# https://docs.aws.amazon.com/glue/latest/dg/release-notes.html: Glue 5.0 has Python 3.11 on Amazon Linux 2023, glibc 2.34
GLUE_PYTHON_VERSION = "3.11"
_GLUE_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in the zip format


class LayerError(RuntimeError):
    """Wheels of a layer could not be downloaded or are too large."""


def layer_names() -> list[str]:
    """Return the names of all layers, each with a hash-pinned lock in this package."""
    return sorted(path.stem for path in LOCKS.glob("*.txt"))


def layer_folder(name: str, *, architecture: str) -> Path:
    """Return the folder of a layer's wheels, named by the hash of lock, Python version and architecture.

    Args:
        name: Name of the layer.
        architecture: ``x86_64`` or ``arm64``.
    """
    key = f"{PYTHON_VERSION} {architecture} {(LOCKS / f'{name}.txt').read_text()}"
    return ASSETS / f"{name}-{architecture}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def build_layers(*, architecture: str = "x86_64", names: Sequence[str] | None = None) -> Iterator[Path]:
    """Download layers' wheels with uv (or pip), for Lambda's platform, by hash; index settings in the environment are respected.

    Args:
        architecture: ``x86_64`` or ``arm64``. Default: ``x86_64``.
        names: Names of the layers. Default: all.

    Yields:
        The folder of each layer, including those of earlier builds.

    Raises:
        LayerError: If architecture or a name is unknown, wheels cannot be downloaded, or the layer is too large.
    """
    known = layer_names()
    problems = [f"layer must be one of {', '.join(known)}, got {name!r}" for name in names or () if name not in known]
    if architecture not in ARCHITECTURES:
        problems.append(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    if problems:
        raise LayerError("; ".join(problems))
    for name in known if names is None else names:
        folder = layer_folder(name, architecture=architecture)
        if not (folder / "python").is_dir():
            _fetch(name, architecture, folder)
        yield folder


def build_glue_archive(name: str = "features") -> Path:
    """Download the wheels of a lock for Glue's Python with pip, verify their hashes, and zip them; index settings are respected.

    Args:
        name: Name of the lock. Default: ``features``.

    Returns:
        The zip, possibly of an earlier build: the same lock gives the same bytes.

    Raises:
        LayerError: If the wheels cannot be downloaded.
    """
    archive = glue_archive_path(name)
    if archive.is_file():
        return archive
    ASSETS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ASSETS) as scratch:
        wheels = Path(scratch) / "wheels"
        result = subprocess.run(_pip_download(name, wheels), capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise LayerError(f"wheels of {name!r} for Glue could not be fetched: {result.stderr.strip()[-800:]}")
        made = Path(scratch) / archive.name
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as target:  # wheels are already compressed
            for path in sorted(wheels.glob("*.whl")):
                target.writestr(zipfile.ZipInfo(f"wheels/{path.name}", _EPOCH), path.read_bytes())
            requirements = "".join(f"{pin}\n" for pin in pins(name))
            target.writestr(zipfile.ZipInfo("wheels/requirements.txt", _EPOCH), requirements)
        archive.parent.mkdir(exist_ok=True)
        made.replace(archive)
    return archive


def glue_archive_path(name: str) -> Path:
    """Return the path of the zip of a lock's wheels, named by the hash of lock and Python version.

    Args:
        name: Name of the lock, such as ``features``.
    """
    key = f"glue {GLUE_PYTHON_VERSION} {(LOCKS / f'{name}.txt').read_text()}"
    folder = ASSETS / f"{name}-glue-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return folder / f"{name}.gluewheels.zip"


def _fetch(name: str, architecture: str, folder: Path) -> None:
    lock = LOCKS / f"{name}.txt"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        target = Path(scratch) / "python"
        result = subprocess.run(_command(lock, architecture, target), capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise LayerError(
                f"wheels of layer {name!r} for {architecture} could not be fetched: {result.stderr.strip()[-800:]}"
            )
        for junk in (*target.rglob("__pycache__"), *target.rglob("tests"), target / "bin"):
            shutil.rmtree(junk, ignore_errors=True)
        for path in {path for pattern in _left_out(name) for path in target.glob(pattern)}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (target / ".lock").unlink(missing_ok=True)
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) / _MIB
        if size > MAXIMUM_LAYER_MIB:
            raise LayerError(
                f"layer {name!r} is {size:.0f} MiB unzipped, at most {MAXIMUM_LAYER_MIB} are allowed; drop a wheel"
            )
        made = Path(scratch) / "layer"
        made.mkdir()
        target.rename(made / "python")
        try:
            made.rename(folder)
        except OSError:
            # the folder exists: another process has built the same layer meanwhile, or a broken build left it
            if not (folder / "python").is_dir():
                shutil.rmtree(folder)
                made.rename(folder)


def _command(lock: Path, architecture: str, target: Path) -> list[str]:
    common = ["--target", str(target), "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(lock)]
    uv_platform, pip_platform = ARCHITECTURES[architecture]
    uv = shutil.which("uv")
    if uv is not None:
        platform = ["--python-platform", uv_platform, "--python-version", PYTHON_VERSION]
        return [uv, "pip", "install", "--no-compile-bytecode", "--link-mode", "copy", *platform, *common]
    platform = ["--platform", pip_platform, "--python-version", PYTHON_VERSION]
    return [sys.executable, "-m", "pip", "install", "--no-compile", "--implementation", "cp", *platform, *common]


def _pip_download(name: str, target: Path) -> list[str]:
    """Return the command for pip, the only tool that downloads wheels as files; without pip, uv runs it."""
    uv = shutil.which("uv")
    has_pip = importlib.util.find_spec("pip") is not None or uv is None
    pip = [sys.executable, "-m", "pip"] if has_pip else [str(uv), "tool", "run", "--from", "pip", "pip"]
    platforms = [part for platform in _GLUE_PLATFORMS for part in ("--platform", platform)]
    return [
        *pip,
        *("download", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", GLUE_PYTHON_VERSION, *platforms),
        *("--dest", str(target), "-r", str(LOCKS / f"{name}.txt")),
    ]


def pins(name: str) -> list[str]:
    """Return the pinned packages of a lock, such as ``numpy==2.5.5``."""
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    return [line.split(";")[0].rstrip(" \\") for line in lines if "==" in line and not line.startswith((" ", "#"))]


def _left_out(name: str) -> list[str]:
    """Return the patterns of files to exclude from a layer, which are in the lock so that its hash covers them."""
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    return [line.removeprefix("# without: ") for line in lines if line.startswith("# without: ")]
