"""Check a model that was trained elsewhere for everything that gate, evaluation or server would reject, before uploading it."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.image.requirements_lock import RequirementsLock
from mlops_runtime.inference_api.request_promise import broken_promises
from mlops_runtime.registry.package_approval import RegistryEntry, trust_problems
from mlops_runtime.retraining.retraining_request import kind_problem
from mlops_runtime.serving.model_packing import (
    LOCK_FILE,
    ModelFacts,
    PackedModel,
    PackingError,
    Predicts,
    pack,
    pack_for_container,
)
from mlops_runtime.serving.served_model import ModelError

_PREDICTION = "prediction"
_SHOWN, _PACKAGES = 12, 8
_DEEPEST, _LOCK_BYTES = 4, 4 * 1024**2
_NOT_SEARCHED = ("node_modules", "cdk.out", "__pycache__", "venv")


class UnfitModelError(ModelError):
    """A model that gate, evaluation or server would reject; the message has every reason with its fix."""


def registrable(
    entry: PipelineEntry,
    registry: RegistryEntry,
    source: Path,
    archive: Path,
    *,
    requirements: Path | None = None,
    trust: Trust | None = None,
    predictions: Path | None = None,
    data: Path | None = None,
    promises: Sequence[RequestPromise] = (),
) -> PackedModel:
    """Pack a model for the pipeline's server or third-party container, if no local check fails.

    Args:
        entry: The pipeline that evaluates it.
        registry: The registry for the model.
        source: A folder, a file or a ``model.tar.gz``.
        archive: Path of the archive to write.
        requirements: Lock of its environment. Default: ``requirements.lock`` beside the model.
        trust: What loading it may do. Default: what its files show, or what the pipeline declares for its container.
        predictions: Parquet file of the team's own predictions. Default: none.
        data: Parquet file of the holdout. Default: its columns and rows are not compared.
        promises: Request formats that APIs of the pipeline's endpoint promise. Default: none, so that any signature is accepted.

    Raises:
        UnfitModelError: With every reason why it would be rejected.
        ModelError: If it cannot be read.
    """
    problems: list[str] = []
    facts: PackedModel | ModelFacts
    try:
        facts = _packed(entry, source, archive, requirements=requirements, trust=trust)
    except PackingError as error:
        problems, facts = list(error.problems), error.facts
    problems += trust_problems(facts.flavor, facts.trust, allowed=registry.rule.trust)
    problems += _lock_problems(facts, entry, str(requirements or f"{LOCK_FILE} of {source.name}"))
    if facts.signature is not None:
        kind = kind_problem(entry, facts.signature)
        problems += [] if kind is None else [kind]
        problems += broken_promises(promises, facts.signature)
        problems += _file_problems(facts.signature, facts.flavor, predictions=predictions, data=data)
    if problems or isinstance(facts, ModelFacts):
        raise UnfitModelError("; ".join(problems))
    return facts


def _packed(
    entry: PipelineEntry, source: Path, archive: Path, *, requirements: Path | None, trust: Trust | None
) -> PackedModel:
    container, predicts = entry.container_trust, _predicts(entry)
    if container is None:
        return pack(source, archive, requirements=requirements, trust=trust, predicts=predicts)
    if requirements is not None:
        raise ModelError(
            "requirements are not supported: this pipeline's models are served by a container with its own environment"
        )
    if trust not in (None, container):
        raise ModelError(
            f"trust {trust} is not supported: this pipeline's container is declared with trust {container!r}; change "
            "TrainingJob(serving=ServingContainer(trust=...)) and deploy the stack"
        )
    return pack_for_container(source, archive, trust=container, predicts=predicts)


def _predicts(entry: PipelineEntry) -> Predicts | None:
    """Return the prediction for models that do not declare one (MLflow folders); None for classes and outputs (unknown names)."""
    if entry.label is None or entry.labels is not None or entry.metric in ("macro_log_loss", "custom_loss"):
        return None
    return Predicts(output=entry.label, kind="probability" if entry.metric in ("log_loss", "brier") else None)


def _file_problems(
    signature: ModelSignature, flavor: str | None, *, predictions: Path | None, data: Path | None
) -> list[str]:
    """Return problems of the given files: a holdout that does not fit the signature, predictions of another model."""
    columns, problems = (None, []) if data is None else _columns(data)
    if data is not None and columns is not None:
        missing = [column.name for column in signature.inputs if column.name not in columns]
        if missing:
            problems.append(f"{data} has no column {', '.join(map(repr, missing))}, which the signature has")
        if flavor != "container":  # a third-party server decides itself which rows are valid
            problems += _row_problems(data, signature)
    if predictions is not None:
        given, unread = _columns(predictions)
        problems += unread
        if given is not None and _PREDICTION not in given:
            problems.append(f"{predictions} must have a column {_PREDICTION!r}, got {', '.join(given)}")
        elif given is not None and given[_PREDICTION] != (signature.columns is not None):
            of = signature.columns
            wanted = "one number per row" if of is None else f"a list of {of} numbers per row"
            problems.append(
                f"column {_PREDICTION!r} of {predictions} must have {wanted}, as the model of kind "
                f"{signature.kind or 'number'!r} returns them"
            )
        if (
            data is not None
            and columns is not None
            and given is not None
            and (rows := _rows(predictions)) != _rows(data)
        ):
            problems.append(
                f"{predictions} has {rows} predictions, {data} has {_rows(data)} rows; provide one for each row"
            )
        unknown = [name for name in given or () if columns is not None and name not in (*columns, _PREDICTION)]
        problems += (
            [f"{predictions} identifies rows by {', '.join(unknown)}, which {data} does not have"] if unknown else []
        )
    return problems


def _row_problems(data: Path, signature: ModelSignature) -> list[str]:
    import pyarrow as pa  # noqa: PLC0415 - a registration without files needs none
    import pyarrow.parquet as pq  # noqa: PLC0415

    from mlops_runtime.serving.unfit_rows import unfit_rows  # noqa: PLC0415

    try:
        return unfit_rows(pq.read_table(data, columns=[c.name for c in signature.inputs]), signature, str(data))
    except (OSError, pa.ArrowException) as error:
        return [f"{data} cannot be read as Parquet: {error}"]


def _lock_problems(facts: PackedModel | ModelFacts, entry: PipelineEntry, name: str) -> list[str]:
    """Return why the image of a pipeline cannot load a model, naming the local file of the image's lock if there is one."""
    if facts.flavor in (None, "container") or facts.lock is None or facts.lock.sha256 == entry.requirements_sha256:
        return []
    fix = "ModelImage.from_requirements(...) of the model's requirements.lock, and deploy the stack"
    if entry.requirements_sha256 is None:
        return [
            f"the image of {entry.pipeline} runs only ONNX, the model is loaded by {facts.flavor}; set in its TrainingJob {fix}"
        ]
    there = _lock_here(entry.requirements_sha256)
    if there is None:
        return [
            f"{name} (SHA-256 {facts.lock.sha256[:_SHOWN]}) is not the lock of the image of {entry.pipeline} "
            f"({entry.requirements_sha256[:_SHOWN]}), and no file below {Path.cwd()} is: pack the model with the lock that the "
            f"pipeline's stack uses (--requirements FILE), or set in its TrainingJob {fix}"
        ]
    return [
        f"{name} is not the lock of the image of {entry.pipeline}, which is {there[0]}: {_differing(facts.lock, there[1])}; "
        f"if the model loads there too, pack it with --requirements {there[0]}, else set in its TrainingJob {fix}"
    ]


def _lock_here(sha256: str) -> tuple[Path, RequirementsLock] | None:
    """Return the lock with this hash in the working directory or a folder below it."""
    for root, folders, names in os.walk("."):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_SEARCHED)
        if len(Path(root).parts) >= _DEEPEST:
            folders.clear()
        for name in sorted(names):
            path = Path(root) / name
            if path.suffix in (".lock", ".txt") and path.is_file() and path.stat().st_size <= _LOCK_BYTES:
                content = path.read_bytes()
                if hashlib.sha256(content).hexdigest() == sha256:
                    return path, RequirementsLock(content=content, sha256=sha256)
    return None


def _differing(own: RequirementsLock, other: RequirementsLock) -> str:
    """Return how the packages of two locks differ.

    Example:
        >>> locks = [RequirementsLock(content=b"numpy==" + version, sha256="") for version in (b"2.4.0", b"2.3.1")]
        >>> _differing(*locks)
        'numpy 2.4.0 instead of 2.3.1'
    """
    ours, theirs = own.packages, other.packages
    changed = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    shown = [f"{name} {ours.get(name, 'none')} instead of {theirs.get(name, 'none')}" for name in changed[:_PACKAGES]]
    more = len(changed) - _PACKAGES
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or "the same versions in other lines"


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415

    return int(pq.read_metadata(path).num_rows)


def _columns(path: Path) -> tuple[dict[str, bool] | None, list[str]]:
    """Return a file's columns, with whether each is a list, or why the file cannot be read."""
    import pyarrow as pa  # noqa: PLC0415 - a registration without files needs none
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return {field.name: pa.types.is_nested(field.type) for field in pq.read_schema(path)}, []
    except (OSError, pa.ArrowException) as error:
        return None, [f"{path} cannot be read as Parquet: {error}"]
