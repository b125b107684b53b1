"""``mlops models register``: bring a model made elsewhere, and wait for the verdict on it."""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.unit_operations import checked_reason

if TYPE_CHECKING:
    from mlops_runtime.contracts.unit_entries import PipelineEntry
    from mlops_runtime.registry.package_approval import RegistryEntry
    from mlops_runtime.retraining.candidate_request import Brought, CandidateRequests
    from mlops_runtime.serving.model_packing import PackedModel

REFUSED = 3  # exit code where the command worked and the verdict is no
_LOOK_SECONDS = 1.0
_GUARD_SECONDS = 120  # a queue and a function: what takes longer is among the dead letters
_PREDICTION = "prediction"

T = TypeVar("T")
Trusted = Literal["data", "code", "pickle"]


def register(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Pipeline, needed where there are several, and model: a folder, a file, a model.tar.gz, or s3://bucket/key "
            "of one. Its signature.json lies in it or beside it.",
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Register a model made elsewhere: measured and gated as one that was trained. Exit 3 where the verdict is no."""
    from mlops_cli.deployed_entries import Entries
    from mlops_runtime.retraining.candidate_request import CandidateRequestError, CandidateRequests
    from mlops_runtime.serving.served_model import ModelError

    if len(names) > 2:
        raise typer.BadParameter(f"give [PIPELINE] PATH, got {' '.join(names)}")
    source, name = names[-1], names[0] if len(names) == 2 else None
    why = checked_reason(reason)
    if source.startswith("models:/"):
        raise UserError(
            f"{source} is a model of MLflow's registry, which is not read yet; download its folder and give the path"
        )
    with account(profile, home) as aws, shown(ModelError, CandidateRequestError):
        entries = Entries(ssm=aws.client("ssm"))
        entry = entries.pipeline(name)
        with tempfile.TemporaryDirectory(prefix="mlops-register-") as temporary:
            model = _Model(source=_local(aws, source, Path(temporary)), folder=Path(temporary), trust=trust)
            packed = model.packed(requirements)
            _check(packed, entry, _registry(aws, entry), predictions=predictions, data=data)
            requests = CandidateRequests(
                s3=aws.client("s3"),
                events=aws.client("events"),
                dynamodb=aws.client("dynamodb"),
                stepfunctions=aws.client("stepfunctions"),
                unit=entries.unit(entry.unit),
                pipeline=entry,
            )
            candidate = requests.upload(
                packed.archive, sha256=packed.sha256, flavor=packed.flavor, trust=packed.trust, predictions=predictions
            )
        caller = str(aws.client("sts").get_caller_identity()["UserId"])
        event = requests.ask(candidate, caller=caller, reason=why)
        _say(f"asked {entry.pipeline} to measure {packed.flavor or 'onnx'} model {packed.model_sha256[:12]}")
        execution = _started(requests, event)
        if no_wait:
            _print(
                {"execution": execution, "model_sha256": packed.model_sha256}, f"started {execution}", as_json=as_json
            )
            return
        _say(f"waiting for {execution.rpartition(':')[2]}")
        found = _awaited(lambda: requests.outcome(execution))
    if found is not None:  # it waits for as long as the machine may take
        _finish(found, execution, packed, as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    source: Path
    folder: Path
    trust: Trusted | None

    def packed(self, requirements: Path | None) -> "PackedModel":
        from mlops_runtime.serving.model_packing import pack

        return pack(self.source, self.folder / "packed.tar.gz", requirements=requirements, trust=self.trust)


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

    problems = trust_problems(packed.flavor, packed.trust, allowed=registry.rule.trust)
    if packed.signature.kind == "vector":
        problems.append(
            "a model of kind 'vector' has no loss, so no gate can pass it; register it in a container of its own"
        )
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
    if packed.flavor is None or packed.requirements_sha256 == entry.requirements_sha256:
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


def _started(requests: "CandidateRequests", event: str) -> str:
    """Return the execution that the guard started.

    Raises:
        UserError: If it started none.
    """
    from mlops_runtime.contracts.retraining import Decision
    from mlops_runtime.retraining.candidate_request import refusal_of

    decision = _awaited(lambda: requests.decision(event), seconds=_GUARD_SECONDS)
    if decision is None:
        raise UserError(
            f"the guard of {requests.pipeline.pipeline} has not decided on event {event} within {_GUARD_SECONDS} s; check the "
            f"log of its function and at the dead letters of {requests.pipeline.queue_url.rpartition('/')[2]}"
        )
    if decision.decision is not Decision.STARTED or decision.execution is None:
        raise UserError(refusal_of(decision))
    return decision.execution


def _awaited(look: Callable[[], T | None], *, seconds: float = math.inf) -> T | None:
    until = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    return found


def _finish(found: "Brought", execution: str, packed: "PackedModel", *, as_json: bool) -> None:
    document = {
        "outcome": found.outcome,
        "reason": found.reason,
        "package": found.package,
        "execution": execution,
        "model_sha256": packed.model_sha256,
    }
    version = "" if found.package is None else found.package.rpartition(":model-package/")[2]
    if found.is_registered:
        fix = "" if found.outcome == "APPROVED" else f'; approve it: mlops models approve {version} --reason "..."'
        _print(document, f"{found.outcome.lower()} as {version}: {found.reason}{fix}", as_json=as_json)
        return
    if found.outcome != "REJECTED":
        raise UserError(
            f"{execution.rpartition(':')[2]} ended as {found.outcome}: {found.reason}; the live version stays"
        )
    reasons = "\n".join(f"  {part}" for part in found.reason.split("; "))
    _print(document, f"the gate refused the model; the live version stays:\n{reasons}", as_json=as_json)
    raise typer.Exit(REFUSED)


def _print(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(document, indent=2, sort_keys=True) if as_json else text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
