"""A unit's model on the local machine, trained, packed and loaded like in the training job and the server."""

import subprocess
import sys
import tarfile
from pathlib import Path

from mlops_runtime.serving.model_folder import manifest_of, write_manifest
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.serving.onnx_model import MODEL_FILE

# a model other than ONNX runs in this environment, whose packages are those of the unit's lock file
HERE = ModelEnvironment(python=Path(sys.executable), requirements_sha256="0" * 64)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def train(script: Path, rows: Path, model: Path, *, lock_sha256: str = "0" * 64, python: str = PYTHON) -> str:
    """Run a training script, pack its model, and return its output.

    Args:
        script: The script.
        rows: Folder with the training split.
        model: Folder of the model.
        lock_sha256: Digest of the lock of the model's environment. Default: this environment, see `HERE`.
        python: Python of that environment. Default: the running one.
    """
    command: list[str | Path] = [sys.executable, script, "--train", rows, "--model-dir", model]
    printed: str = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if not (model / MODEL_FILE).exists():
        write_manifest(model, manifest_of(model, requirements_sha256=lock_sha256, python=python))
    return printed.strip()


def archive_of(model: Path) -> Path:
    """Return ``model.tar.gz`` of a model's folder, written next to it."""
    archive = model.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    return archive
