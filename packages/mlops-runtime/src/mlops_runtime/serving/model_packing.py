"""Pack a model that was trained elsewhere into the same reproducible archive as a training job, with checks and manifest.

Nothing of the model is loaded.
"""

import gzip
import json
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import version_info
from typing import Literal, get_args

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.model_manifest import Flavor, Trust
from mlops_runtime.image.requirements_lock import LOCK_COMMAND, RequirementsError, RequirementsLock
from mlops_runtime.serving.loaded_names import container_problems
from mlops_runtime.serving.mlflow_folder import mlflow_entry, signature_of
from mlops_runtime.serving.model_archive import ArchiveError, unpack
from mlops_runtime.serving.model_folder import (
    MANIFEST_FILE,
    TRUSTED_FILE,
    Recognised,
    hash_of,
    manifest_of,
    recognised,
    write_manifest,
)
from mlops_runtime.serving.model_worker import column_problem
from mlops_runtime.serving.required_packages import missing_packages
from mlops_runtime.serving.served_model import SIGNATURE_FILE, ModelError
from mlops_runtime.serving.signature_file import read_signature, signature_text

LOCK_FILE = "requirements.lock"
_ONNX = "model.onnx"
_HEAD_BYTES = 1 << 20
_TRUSTS = get_args(Trust)  # in ascending order
_LEFT_OUT = ("__pycache__", ".git", ".DS_Store", ".ipynb_checkpoints")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedModel:
    """An archive that can be registered.

    ``sha256`` is the hash of the archive, ``model_sha256`` the hash by which a package identifies the model. Flavor, trust and
    lock are absent for ONNX. A model of a third-party container has no lock, and its ``model_sha256`` is the archive's hash.
    """

    archive: Path
    sha256: str
    model_sha256: str
    signature: ModelSignature
    flavor: Flavor | None = None
    trust: Trust | None = None
    lock: RequirementsLock | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts about a model that cannot be packed, as far as its files show them."""

    signature: ModelSignature | None = None
    flavor: Flavor | None = None
    trust: Trust | None = None
    lock: RequirementsLock | None = None


class PackingError(ModelError):
    """A model cannot be packed: every problem, and the facts that are known nevertheless."""

    def __init__(self, problems: Sequence[str], facts: ModelFacts) -> None:
        self.problems, self.facts = tuple(problems), facts
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicts:
    """Prediction of a model with one value per row: its name, and whether it is a number or a probability."""

    output: str
    kind: Literal["number", "probability"] | None = None


def pack(
    source: Path,
    archive: Path,
    *,
    requirements: Path | None = None,
    trust: Trust | None = None,
    predicts: Predicts | None = None,
) -> PackedModel:
    """Pack the model in a folder, a file or a ``model.tar.gz``.

    A file is packed with the ``signature.json``, ``requirements.lock`` and ``trusted-types.txt`` beside it.

    Args:
        source: Path of the model.
        archive: Path of the archive to write.
        requirements: The lock of its environment. Default: ``requirements.lock`` beside the model.
        trust: What loading it may do; required for pickles, and if it is more than the files show. Default: what the files show.
        predicts: Prediction of an MLflow folder without a ``signature.json``, whose signature is then converted from ``MLmodel``.
            Default: unknown, so that ``signature.json`` is required.

    Raises:
        PackingError: If it cannot be served; with every problem, its file and the fix.
        ModelError: If it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-pack-") as temporary:
        folder = Path(temporary) / "model"
        _collect(source, folder)
        problems: list[str] = []
        signature = _signature(folder, predicts, problems)
        found, lock, given = None, None, None
        if (folder / _ONNX).is_file():
            problems += _onnx_problems(folder, trust)
        else:
            found = _recognised(folder, problems)
            lock = _lock(folder, requirements, problems)
            given = None if found is None else _given_trust(found, trust, problems)
            problems += [] if found is None else _loading_problems(folder, found, signature, lock)
        facts = ModelFacts(signature=signature, flavor=None if found is None else found.flavor, trust=given, lock=lock)
        if problems or signature is None:
            raise PackingError(problems, facts)
        digest = _bound(folder, facts)
        _write(folder, archive)
    return PackedModel(
        archive=archive,
        sha256=hash_of(archive),
        model_sha256=digest,
        signature=signature,
        flavor=facts.flavor,
        trust=given,
        lock=lock,
    )


def pack_for_container(source: Path, archive: Path, *, trust: Trust, predicts: Predicts | None = None) -> PackedModel:
    """Pack a model for a third-party container, with the ``signature.json`` in the folder or beside the file.

    Args:
        source: Path of the model.
        archive: Path of the archive to write.
        trust: What loading it may do there, as the pipeline declares.
        predicts: As in `pack`.

    Raises:
        PackingError: If it has no signature, or has a pickle that the container does not declare; with every problem.
        ModelError: If it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-pack-") as temporary:
        folder = Path(temporary) / "model"
        _collect(source, folder)
        problems: list[str] = []
        signature = _signature(folder, predicts, problems)
        _write(folder, archive)
    problems += container_problems(archive, trust)
    if problems or signature is None:
        raise PackingError(problems, ModelFacts(signature=signature, flavor="container", trust=trust))
    digest = hash_of(archive)
    return PackedModel(
        archive=archive, sha256=digest, model_sha256=digest, signature=signature, flavor="container", trust=trust
    )


def _collect(source: Path, folder: Path) -> None:
    if source.is_dir():
        linked = [path for path in sorted(source.rglob("*")) if path.is_symlink()]
        if linked:
            raise ModelError(f"{linked[0].relative_to(source)} is a link; a model consists of regular files")
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    elif source.name.endswith((".tar.gz", ".tgz")):
        try:
            with source.open("rb") as packed:
                unpack(packed, folder)
        except (OSError, ArchiveError) as error:
            raise ModelError(f"cannot read {source}: {error}") from error
    else:
        folder.mkdir()
        _copy(source, folder / source.name)
        for name in (SIGNATURE_FILE, LOCK_FILE, TRUSTED_FILE):
            if (source.parent / name).is_file():
                _copy(source.parent / name, folder / name)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise ModelError(f"cannot read {source}: {error.strerror}") from error


def _signature(folder: Path, predicts: Predicts | None, problems: list[str]) -> ModelSignature | None:
    path = folder / SIGNATURE_FILE
    entry = mlflow_entry(folder)
    if not path.is_file() and entry is not None and predicts is not None:
        try:
            path.write_bytes(canonical_json(signature_of(entry, output=predicts.output, kind=predicts.kind)))
        except ModelError as error:
            problems.append(str(error))
            return None
    if not path.is_file():
        problems.append(
            f"{SIGNATURE_FILE} is missing beside the model; it names the columns in the order of the model's input, such as "
            '{"inputs": [{"name": "price", "type": "number"}], "output": "units", "format": "mlops.signature/1"}'
        )
        return None
    signature, wrong = read_signature(path.read_bytes())
    problems += [signature_text(wrong)] if wrong else []
    return signature


def _onnx_problems(folder: Path, trust: Trust | None) -> list[str]:
    """Return why ONNX cannot be served, and delete the files that are not packed."""
    data = [path.name for path in sorted(folder.iterdir()) if path.name.startswith(f"{_ONNX}.")]
    problems = [f"{name} has weights beside {_ONNX}; export one file (torch: external_data=False)" for name in data[:1]]
    if trust not in (None, "data"):
        problems.append(f"{_ONNX} is data, got trust {trust!r}; omit it")
    for path in folder.iterdir():
        if path.name not in (_ONNX, SIGNATURE_FILE):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return problems


def _recognised(folder: Path, problems: list[str]) -> Recognised | None:
    try:
        return recognised(folder)
    except ModelError as error:
        problems.append(str(error))
        return None


def _given_trust(found: Recognised, trust: Trust | None, problems: list[str]) -> Trust:
    if trust is None and found.trust == "pickle":
        name = "the folder" if found.entry == "." else found.entry
        problems.append(
            f"{name} is loaded by {found.flavor}, which unpickles: that may run any code; add --trust pickle if the "
            "registry allows it, or export ONNX or a native format of the library"
        )
    given = found.trust if trust is None else trust
    if _TRUSTS.index(given) < _TRUSTS.index(found.trust):
        problems.append(f"{found.entry} is loaded by {found.flavor} with trust {found.trust!r}, got {given!r}")
    return given


def _loading_problems(
    folder: Path, found: Recognised, signature: ModelSignature | None, lock: RequirementsLock | None
) -> list[str]:
    """Return why the model's process could not load it: columns that differ from the signature, packages missing in the lock."""
    problems = []
    trained = _trained_columns(folder / found.entry, found.flavor)
    if trained and signature is not None:
        problem = column_problem(trained, len(trained), [column.name for column in signature.inputs])
        problems += [] if problem is None else [f"{found.entry}: {problem}"]
    lacks = {} if lock is None else missing_packages(folder, found, signature, lock.packages)
    if lacks:
        missing = ", ".join(f"{package} ({needed_by})" for package, needed_by in lacks.items())
        problems.append(
            f"{LOCK_FILE} lacks {missing}; add {'it' if len(lacks) == 1 else 'them'} to requirements.in and write the lock with: "
            f"{LOCK_COMMAND}"
        )
    return problems


def _bound(folder: Path, facts: ModelFacts) -> str:
    """Write the manifest of a model with a lock, and return the hash by which the model is registered."""
    if facts.lock is None or facts.trust is None:
        return hash_of(folder / _ONNX)
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    python = facts.lock.python or f"{version_info.major}.{version_info.minor}"
    manifest = manifest_of(folder, requirements_sha256=facts.lock.sha256, python=python)
    return write_manifest(folder, replace(manifest, trust=facts.trust))


def _trained_columns(path: Path, flavor: Flavor) -> list[str]:
    """Return the columns in the text of a native model; [] if its format or the part that is read has none."""
    if flavor not in ("lightgbm", "xgboost") or not path.is_file():
        return []
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8", "replace")
    if flavor == "lightgbm":
        names, end, _ = head.partition("\nfeature_names=")[2].partition("\n")
        return names.split() if end else []
    try:
        found = json.JSONDecoder().raw_decode(head.partition('"feature_names":')[2])[0]
    except ValueError:  # UBJSON, or the names exceed the part that was read
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _lock(folder: Path, requirements: Path | None, problems: list[str]) -> RequirementsLock | None:
    path = folder / LOCK_FILE
    if requirements is not None:
        if not requirements.is_file():
            problems.append(f"the lock {requirements} is missing; write it with: {LOCK_COMMAND}")
            return None
        _copy(requirements, path)
    if not path.is_file():
        problems.append(
            f"{LOCK_FILE} is missing: it defines the environment that loads the model; pass it with --requirements, or write "
            f"it with: {LOCK_COMMAND}"
        )
        return None
    try:
        return RequirementsLock.parsed(path.read_bytes())
    except RequirementsError as error:
        problems.append(f"{LOCK_FILE}: {error}")
        return None


def _write(folder: Path, archive: Path) -> None:
    """Write the folder's files to an archive, in order and without owners and times."""
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(str(path.relative_to(folder).as_posix()))
                member.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(member, content)
