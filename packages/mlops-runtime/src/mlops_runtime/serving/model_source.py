"""Load a model of any flavor from a folder or an archive: ONNX in this process, everything else in a process of its own."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.serving import onnx_model
from mlops_runtime.serving.model_archive import ArchiveError, read, unpack
from mlops_runtime.serving.model_folder import MANIFEST_FILE
from mlops_runtime.serving.served_model import ModelError, ServedModel
from mlops_runtime.serving.worker_model import Gone, WorkerModel

_TRUSTS = get_args(Trust)
_MANIFEST_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnvironment:
    """The environment in an image in which a model that is not ONNX runs, and what it may do there.

    Args:
        python: ``MLOPS_MODEL_PYTHON``, its interpreter. Default: ``/opt/model/bin/python``.
        requirements_sha256: ``MLOPS_REQUIREMENTS_SHA256``, hash of the lock that it was made of. Default: the image has none, and
            only ONNX is loaded.
        trusts: ``MLOPS_TRUST``, what loading a model may do, divided by commas. Default: ``data,code``, no pickle.

    Example:
        >>> ModelEnvironment.from_variables({"MLOPS_TRUST": "data"}).trusts
        ('data',)
    """

    python: Path = Path("/opt/model/bin/python")
    requirements_sha256: str | None = None
    trusts: tuple[str, ...] = ("data", "code")

    @classmethod
    def from_variables(cls, environment: Mapping[str, str]) -> "ModelEnvironment":
        """Read it from environment variables.

        Raises:
            ModelError: If ``MLOPS_TRUST`` names something else than ``data``, ``code`` and ``pickle``.
        """
        trusts = tuple((environment.get("MLOPS_TRUST") or "data,code").split(","))
        wrong = [each for each in trusts if each not in _TRUSTS]
        if wrong:
            raise ModelError(f"MLOPS_TRUST must be of {', '.join(_TRUSTS)}, got {', '.join(map(repr, wrong))}")
        return cls(
            python=Path(environment.get("MLOPS_MODEL_PYTHON") or "/opt/model/bin/python"),
            requirements_sha256=environment.get("MLOPS_REQUIREMENTS_SHA256") or None,
            trusts=trusts,
        )

    def of_champion(self) -> "ModelEnvironment":
        """Return the same for a model that serves: it is loaded as its server loads it, also if no further one may be like it."""
        return replace(self, trusts=_TRUSTS)


def load_folder(
    folder: Path,
    environment: ModelEnvironment,
    *,
    expected_sha256: str | None = None,
    expected_signature_sha256: str | None = None,
    gone: Gone | None = None,
    workers: int = 1,
) -> ServedModel:
    """Load the model that lies unpacked in a folder, as SageMaker lays ``model.tar.gz``.

    Args:
        folder: Usually ``/opt/ml/model``.
        environment: Where a model that is not ONNX runs.
        expected_sha256: What ``model.onnx`` or ``mlops-model.json`` must hash to. Default: not compared.
        expected_signature_sha256: What ``signature.json`` must hash to. Default: not compared.
        gone: Called once when the process of a model has ended while it was needed. Default: nothing.
        workers: How many processes load a model that is not ONNX. Default: 1.

    Raises:
        ModelError: If the model is not the expected one, may not be loaded, does not load, or its image is another.
    """
    if not (folder / MANIFEST_FILE).exists():
        return onnx_model.load_directory(
            folder, expected_sha256=expected_sha256, expected_signature_sha256=expected_signature_sha256
        )
    if environment.requirements_sha256 is None:
        raise ModelError(
            "MLOPS_REQUIREMENTS_SHA256 is not set: this image has no environment for a model that is not ONNX; build one from "
            "the model's requirements.lock"
        )
    return WorkerModel(
        folder,
        python=environment.python,
        expected_sha256=expected_sha256,
        expected_signature_sha256=expected_signature_sha256,
        requirements_sha256=environment.requirements_sha256,
        trusts=environment.trusts,
        gone=gone,
        workers=workers,
    )


@contextmanager
def archived_model(
    archive: Path, environment: ModelEnvironment, *, expected_sha256: str | None = None
) -> Iterator[ServedModel]:
    """Load the model inside a ``model.tar.gz``; its process and its unpacked files end with the block.

    Example:
        >>> with archived_model(Path("model.tar.gz"), ModelEnvironment()) as model:  # doctest: +SKIP
        ...     model.predict(rows)

    Raises:
        ModelError: As `load_folder`, or if it is not an archive that `model_archive.unpack` takes.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-model-") as folder:
        try:
            with archive.open("rb") as packed:
                has_manifest = MANIFEST_FILE in read(packed, (MANIFEST_FILE,), max_bytes=_MANIFEST_BYTES)
                packed.seek(0)
                if has_manifest:
                    unpack(packed, Path(folder) / "model")
        except (OSError, ArchiveError) as error:
            raise ModelError(f"cannot read {archive.name}: {error}") from error
        model: ServedModel
        if has_manifest:
            model = load_folder(Path(folder) / "model", environment, expected_sha256=expected_sha256)
        else:
            model = onnx_model.load_archive(archive, expected_sha256=expected_sha256)
        try:
            yield model
        finally:
            model.close()
