"""What gate, evaluation or server would refuse of a model made elsewhere, before anything is uploaded."""

from pathlib import Path

from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.registry.package_approval import RegistryEntry, trust_problems
from mlops_runtime.retraining.retraining_request import kind_problem
from mlops_runtime.serving.model_packing import PackedModel, Predicts, pack, pack_for_container
from mlops_runtime.serving.served_model import ModelError

_PREDICTION = "prediction"


def packed_for(
    entry: PipelineEntry, source: Path, archive: Path, *, requirements: Path | None = None, trust: Trust | None = None
) -> PackedModel:
    """Pack a model for the server of the pipeline: ours, or a container of others.

    Args:
        entry: The pipeline.
        source: A folder, a file or a ``model.tar.gz``.
        archive: The archive to write.
        requirements: Lock of its environment. Default: ``requirements.lock`` beside the model.
        trust: What loading it may do. Default: what can be seen, or what the pipeline declares of its container.

    Raises:
        ModelError: If it cannot be served.
    """
    container, predicts = entry.container_trust, _predicts(entry)
    if container is None:
        return pack(source, archive, requirements=requirements, trust=trust, predicts=predicts)
    if requirements is not None:
        raise ModelError(
            "requirements are not possible: this pipeline's models are served by a container with its own environment"
        )
    if trust not in (None, container):
        raise ModelError(
            f"trust {trust} is not possible: this pipeline's container is declared with trust {container!r}; change "
            "TrainingJob(serving=ServingContainer(trust=...)) and deploy the stack"
        )
    return pack_for_container(source, archive, trust=container, predicts=predicts)


def _predicts(entry: PipelineEntry) -> Predicts | None:
    """Return what a model predicts that does not say it, as an MLflow folder, which says nothing of classes and outputs."""
    if entry.label is None or entry.labels is not None or entry.metric in ("macro_log_loss", "custom_loss"):
        return None
    return Predicts(output=entry.label, kind="probability" if entry.metric in ("log_loss", "brier") else None)


def registration_problems(
    packed: PackedModel,
    entry: PipelineEntry,
    registry: RegistryEntry,
    *,
    predictions: Path | None = None,
    data: Path | None = None,
) -> list[str]:
    """Return every reason why a model would be refused.

    Args:
        packed: The model.
        entry: The pipeline that is to measure it.
        registry: Where it is to be registered.
        predictions: Parquet file of the team's own predictions. Default: none.
        data: Parquet file of the holdout. Default: its columns are not compared.
    """
    problems = trust_problems(packed.flavor, packed.trust, allowed=registry.rule.trust)
    if (problem := kind_problem(entry, packed.signature)) is not None:
        problems.append(problem)
    problems += [problem for problem in (_lock_problem(packed, entry),) if problem is not None]
    columns, unread = (None, []) if data is None else _columns(data)
    problems += unread
    if columns is not None:
        missing = [column.name for column in packed.signature.inputs if column.name not in columns]
        problems += (
            [f"{data} has no column {', '.join(map(repr, missing))}, which the signature names"] if missing else []
        )
    if predictions is not None:
        given, unread = _columns(predictions)
        problems += unread
        if given is not None and _PREDICTION not in given:
            problems.append(f"{predictions} must have a column {_PREDICTION!r}, got {', '.join(given)}")
        elif given is not None and given[_PREDICTION] != (packed.signature.columns is not None):
            of = packed.signature.columns
            wanted = "one number a row" if of is None else f"a list of {of} numbers a row"
            problems.append(
                f"column {_PREDICTION!r} of {predictions} must have {wanted}, as the model of kind "
                f"{packed.signature.kind or 'number'!r} gives them"
            )
        unknown = [name for name in given or () if columns is not None and name not in (*columns, _PREDICTION)]
        problems += [f"{predictions} names rows by {', '.join(unknown)}, which {data} does not have"] if unknown else []
    return problems


def _lock_problem(packed: PackedModel, entry: PipelineEntry) -> str | None:
    if packed.flavor in (None, "container") or packed.requirements_sha256 == entry.requirements_sha256:
        return None
    fix = "ModelImage.from_requirements(...) of the model's requirements.lock, and deploy the stack"
    if entry.requirements_sha256 is None:
        return f"the image of {entry.pipeline} runs only ONNX, the model is loaded by {packed.flavor}; give its TrainingJob {fix}"
    return (
        f"the image of {entry.pipeline} is of the lock {entry.requirements_sha256}, the model's is {packed.requirements_sha256}; "
        f"give its TrainingJob {fix}, or pack the model with the image's lock"
    )


def _columns(path: Path) -> tuple[dict[str, bool] | None, list[str]]:
    """Return the names of a file's columns, with whether each is of lists, or why it cannot be read."""
    import pyarrow as pa  # noqa: PLC0415 - a registration without files needs none
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return {field.name: pa.types.is_nested(field.type) for field in pq.read_schema(path)}, []
    except (OSError, pa.ArrowException) as error:
        return None, [f"{path} cannot be read as Parquet: {error}"]
