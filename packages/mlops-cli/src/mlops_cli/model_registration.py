"""``mlops models register``: bring a model made elsewhere, and wait for the verdict on it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops_cli.answers import AsJson, optional_first
from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.retraining_verdict import follow, requests_of, say
from mlops_cli.unit_operations import checked_reason

if TYPE_CHECKING:
    from mlops_runtime.contracts.unit_entries import PipelineEntry
    from mlops_runtime.registry.package_approval import RegistryEntry
    from mlops_runtime.serving.model_packing import PackedModel

_PREDICTION = "prediction"

Trusted = Literal["data", "code", "pickle"]


def register(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Pipeline, needed where there are several, and model: a folder, a file, a model.tar.gz, or s3://bucket/key "
            "of one. Its signature.json lies in it or beside it; an MLflow folder has that of its MLmodel.",
            metavar="[PIPELINE] PATH",
            show_default=False,
        ),
    ],
    *,
    trust: Annotated[
        Trusted | None,
        typer.Option(
            help="What loading it may do; needed for pickles. Default: what its files show.", show_default=False
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(help="Lock of its environment. Default: requirements.lock beside it.", show_default=False),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Parquet with your own predictions for the holdout's rows: column prediction, other columns name the row.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Holdout as Parquet: its columns are compared before anything is uploaded.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, kept with the request.")] = "a model made elsewhere",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the verdict.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Register a model made elsewhere: measured and gated as one that was trained. Exit 3 where guard or gate refuses."""
    from mlops_cli.deployed_entries import Entries
    from mlops_runtime.retraining.retraining_request import RetrainingRequestError
    from mlops_runtime.serving.served_model import ModelError

    name, source = optional_first(names, "[PIPELINE] PATH")
    why = checked_reason(reason)
    if source.startswith("models:/"):
        raise UserError(
            f"{source} is a model of MLflow's registry, which is not read yet; download its folder and give the path"
        )
    with account(profile, home) as aws, shown(ModelError, RetrainingRequestError):
        entries = Entries(ssm=aws.client("ssm"))
        entry = entries.pipeline(name)
        with tempfile.TemporaryDirectory(prefix="mlops-register-") as temporary:
            model = _Model(source=_local(aws, source, Path(temporary)), folder=Path(temporary), trust=trust)
            packed = model.packed(requirements, entry)
            _check(packed, entry, _registry(aws, entry), predictions=predictions, data=data)
            requests = requests_of(aws, entries, entry)
            candidate = requests.upload(
                packed.archive, sha256=packed.sha256, flavor=packed.flavor, trust=packed.trust, predictions=predictions
            )
        caller = str(aws.client("sts").get_caller_identity()["UserId"])
        event = requests.ask(candidate, caller=caller, reason=why)
        say(f"asked {entry.pipeline} to measure {packed.flavor or 'onnx'} model {packed.model_sha256[:12]}")
        follow(requests, event, facts={"model_sha256": packed.model_sha256}, is_awaited=not no_wait, as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    source: Path
    folder: Path
    trust: Trusted | None

    def packed(self, requirements: Path | None, entry: "PipelineEntry") -> "PackedModel":
        from mlops_runtime.serving.model_packing import Predicts, pack, pack_for_container

        archive, container = self.folder / "packed.tar.gz", entry.container_trust
        # an MLflow folder says nothing of classes and outputs
        is_one = entry.label is not None and entry.labels is None and entry.metric != "macro_log_loss"
        kind: Literal["probability"] | None = "probability" if entry.metric in ("log_loss", "brier") else None
        predicts = Predicts(output=str(entry.label), kind=kind) if is_one else None
        if container is not None:
            self._check_for_container(requirements, container)
            return pack_for_container(self.source, archive, trust=container, predicts=predicts)
        return pack(self.source, archive, requirements=requirements, trust=self.trust, predicts=predicts)

    def _check_for_container(self, requirements: Path | None, container: Trusted) -> None:
        if requirements is not None:
            raise UserError(
                "--requirements is not possible: this pipeline's models are served by a container with its own environment"
            )
        if self.trust not in (None, container):
            raise UserError(
                f"--trust {self.trust} is not possible: this pipeline's container is declared with trust {container!r}; change "
                "TrainingJob(serving=ServingContainer(trust=...)) and deploy the stack"
            )


def _local(aws: Account, source: str, folder: Path) -> Path:
    """Return a path, or the copy of an object in S3."""
    if not source.startswith("s3://"):
        if not Path(source).exists():
            raise UserError(f"{source} not found; give a folder, a file, a model.tar.gz or an s3:// URI")
        return Path(source)
    bucket, _, key = source.removeprefix("s3://").partition("/")
    if not key or key.endswith("/"):
        raise UserError(
            f"{source} must name one object, such as s3://bucket/folder/model.tar.gz; pack the folder first"
        )
    target = folder / "given" / key.rpartition("/")[2]
    target.parent.mkdir()
    aws.client("s3").download_file(bucket, key, str(target))
    return target


def _registry(aws: Account, entry: "PipelineEntry") -> "RegistryEntry":
    from mlops_runtime.contracts import from_json
    from mlops_runtime.registry.package_approval import RegistryEntry, registry_parameter

    name = registry_parameter(unit=entry.unit, group=entry.group)
    return from_json(RegistryEntry, aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def _check(
    packed: "PackedModel",
    entry: "PipelineEntry",
    registry: "RegistryEntry",
    *,
    predictions: Path | None,
    data: Path | None,
) -> None:
    """Refuse what the gate, the evaluation or the server would refuse, before anything is uploaded.

    Raises:
        UserError: With every problem.
    """
    from mlops_runtime.registry.package_approval import trust_problems
    from mlops_runtime.retraining.retraining_request import kind_problem

    problems = trust_problems(packed.flavor, packed.trust, allowed=registry.rule.trust)
    if packed.signature.kind == "vector":
        problems.append(
            "a model of kind 'vector' has no loss, so no gate can pass it; register it in a container of its own"
        )
    elif (problem := kind_problem(entry, packed.signature)) is not None:
        problems.append(problem)
    problems += [problem for problem in (_lock_problem(packed, entry),) if problem is not None]
    if predictions is not None and packed.signature.kind not in (None, "number", "probability"):
        problems.append(
            f"--predictions are compared for one number a row, the model is of kind {packed.signature.kind!r}"
        )
    columns = None if data is None else _columns(data)
    if columns is not None:
        missing = [column.name for column in packed.signature.inputs if column.name not in columns]
        problems += (
            [f"{data} has no column {', '.join(map(repr, missing))}, which the signature names"] if missing else []
        )
    if predictions is not None:
        given = _columns(predictions)
        problems += (
            []
            if _PREDICTION in given
            else [f"{predictions} must have a column {_PREDICTION!r}, got {', '.join(given)}"]
        )
        unknown = [name for name in given if columns is not None and name not in (*columns, _PREDICTION)]
        problems += [f"{predictions} names rows by {', '.join(unknown)}, which {data} does not have"] if unknown else []
    if problems:
        raise UserError("; ".join(problems))


def _lock_problem(packed: "PackedModel", entry: "PipelineEntry") -> str | None:
    if packed.flavor in (None, "container") or packed.requirements_sha256 == entry.requirements_sha256:
        return None
    fix = "ModelImage.from_requirements(...) of the model's requirements.lock, and deploy the stack"
    if entry.requirements_sha256 is None:
        return f"the image of {entry.pipeline} runs only ONNX, the model is loaded by {packed.flavor}; give its TrainingJob {fix}"
    return (
        f"the image of {entry.pipeline} is of the lock {entry.requirements_sha256}, the model's is {packed.requirements_sha256}; "
        f"give its TrainingJob {fix}, or pack the model with the image's lock"
    )


def _columns(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
