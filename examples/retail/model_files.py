"""A unit's model on the local machine, trained, packed and loaded like in the training job and the server."""

import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

from examples.retail.transactions import week_start
from mlops_runtime.contracts.model import Evaluation, GateResult
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.serving.model_folder import hash_of, manifest_of, write_manifest
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.serving.onnx_model import MODEL_FILE

# a model other than ONNX runs in this environment, whose packages are those of the unit's lock file
HERE = ModelEnvironment(python=Path(sys.executable), requirements_sha256="0" * 64)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def train(script: Path, rows: Path, model: Path, *, lock_sha256: str = "0" * 64, python: str = PYTHON) -> str:
    """Run a training script, pack its model, and return its output.

    Args:
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


def measured(
    declaration: ModuleType, store: FeatureStoreClient, week: int, folder: Path, champion: Path | None
) -> tuple[Path, Evaluation, GateResult]:
    """Train as a retraining after a week would; return ``model.tar.gz``, evaluation and gate.

    Args:
        declaration: The unit's declaration.
        store: Store with the unit's rows.
        folder: Folder of the training set and the model.
        champion: Archive of the live model; ``None`` without one.
    """
    built = store.split_training_set(declaration.TRAINING_SET, as_of=week_start(week + 1))
    for path, content in built.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    model = folder / f"model-{week}"
    print(train(declaration.TRAINING_CODE / declaration.TRAINING_SCRIPT, folder / "train", model))
    archive = archive_of(model)
    inputs = Inputs(
        train=built.train,
        holdout=built.holdout,
        manifest=built.manifest,
        candidate=archive,
        champion=champion,
        champion_sha256=None if champion is None else hash_of(champion),
        environment=HERE,
    )
    evaluation, _ = evaluate(declaration.EVALUATION, inputs, "file:///baseline.json")
    gate = evaluate_gate(evaluation, declaration.GATE, uri="file:///evaluation.json", sha256="0" * 64)
    print(f"trained after week {week}:", {name: round(value, 4) for name, value in evaluation.metrics.items()})
    return archive, evaluation, gate
