"""Load a model of any flavor from a folder or an archive: ONNX in this process, other flavors in a worker process."""

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
from mlops_runtime.serving.worker_model import OnEnd, WorkerModel

_TRUSTS = get_args(Trust)
_MANIFEST_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnvironment:
    """The environment in an image in which models other than ONNX run, and what loading them may do.

    Args:
        python: ``MLOPS_MODEL_PYTHON``, its interpreter. Default: ``/opt/model/bin/python``.
        requirements_sha256: ``MLOPS_REQUIREMENTS_SHA256``, hash of the lock that it was built from. Default: the image has no
            such environment, and only ONNX is loaded.
        trusts: ``MLOPS_TRUST``, allowed trust levels, separated by commas. Default: ``data,code``, no pickle.

    Example:
        >>> ModelEnvironment.from_variables({"MLOPS_TRUST": "data"}).trusts
        ('data',)
    """

    python: Path = Path("/opt/model/bin/python")
    requirements_sha256: str | None = None
    trusts: tuple[str, ...] = ("data", "code")

    @classmethod
    def from_variables(cls, environment: Mapping[str, str]) -> "ModelEnvironment":
        """Read the environment variables.

        Raises:
            ModelError: If ``MLOPS_TRUST`` has values other than ``data``, ``code`` and ``pickle``.
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
        """Return the environment for a serving model, which is loaded with any trust even if new models may no longer have it."""
        return replace(self, trusts=_TRUSTS)


def load_folder(
    folder: Path,
    environment: ModelEnvironment,
    *,
    expected_sha256: str | None = None,
    expected_signature_sha256: str | None = None,
    on_end: OnEnd | None = None,
    workers: int = 1,
) -> ServedModel:
    """Load an unpacked model from a folder, where SageMaker extracts ``model.tar.gz``.

    Args:
        folder: Usually ``/opt/ml/model``.
        environment: Environment of models that are not ONNX.
        expected_sha256: Expected hash of ``model.onnx`` or ``mlops-model.json``. Default: not compared.
        expected_signature_sha256: Expected hash of ``signature.json``. Default: not compared.
        on_end: Called once if the model's process ends while it is needed. Default: nothing is called.
        workers: Number of processes of a model that is not ONNX. Default: 1.

    Raises:
        ModelError: If the model is not the expected one, is not allowed, fails to load, or needs another image.
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
        on_end=on_end,
        workers=workers,
    )


@contextmanager
def archived_model(
    archive: Path, environment: ModelEnvironment, *, expected_sha256: str | None = None
) -> Iterator[ServedModel]:
    """Load the model in a ``model.tar.gz``; its process and its unpacked files are removed at the end of the block.

    Example:
        >>> with archived_model(Path("model.tar.gz"), ModelEnvironment()) as model:  # doctest: +SKIP
        ...     model.predict(rows)

    Raises:
        ModelError: As in `load_folder`, or if the archive is invalid for `model_archive.unpack`.
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
