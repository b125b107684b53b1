"""``mlops models register``: bring a model made elsewhere, and wait for the verdict on it."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops_cli.answers import AsJson, optional_first
from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.retraining_verdict import follow, requests_of, say
from mlops_cli.unit_operations import checked_reason

if TYPE_CHECKING:
    from mlops_runtime.business_unit.deployed_entries import Entries
    from mlops_runtime.contracts.serving import RequestPromise
    from mlops_runtime.contracts.unit_entries import PipelineEntry
    from mlops_runtime.registry.package_approval import RegistryEntry
    from mlops_runtime.tracking.mlflow_password import MlflowPassword

_REGISTERED = "models:/"

Trusted = Literal["data", "code", "pickle"]


def register(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Pipeline, needed where there are several, and model: a folder, a file, a model.tar.gz, s3://bucket/key of one, "
            "or models:/NAME/VERSION and models:/NAME@ALIAS of MLflow's registry. Its signature.json lies in it or beside it; an "
            "MLflow folder has that of its MLmodel.",
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
            help="Parquet with your own prediction for each row of the holdout: column prediction, other columns name the row.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Holdout as Parquet: its columns and rows are checked before anything is uploaded.", show_default=False
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow's address, for a model of its registry. Default: $MLFLOW_TRACKING_URI.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, kept with the request.")] = "a model made elsewhere",
    again: Annotated[
        bool,
        typer.Option("--again", help="Measure it again if it was brought before; it becomes a second version."),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the verdict.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Register a model made elsewhere: measured and gated as one that was trained. Exit 3 where guard or gate refuses.

    A model that would refuse what an API promises its callers is refused before anything is uploaded. A model that was brought
    before is not measured twice: the run that has it answers.
    """
    from mlops_runtime.business_unit.deployed_entries import Entries
    from mlops_runtime.retraining.retraining_request import RetrainingRequestError
    from mlops_runtime.serving.registration_checks import registrable
    from mlops_runtime.serving.served_model import ModelError

    name, source = optional_first(names, "[PIPELINE] PATH")
    why = checked_reason(reason)
    if tracking_uri is not None and not source.startswith(_REGISTERED):
        raise typer.BadParameter(f"--tracking-uri is for models:/NAME/VERSION and models:/NAME@ALIAS, got {source}")
    with account(profile, home) as aws, shown(ModelError, RetrainingRequestError):
        entries = Entries(ssm=aws.client("ssm"))
        entry = entries.pipeline(name)
        with tempfile.TemporaryDirectory(prefix="mlops-register-") as temporary:
            folder = Path(temporary)
            packed = registrable(
                entry,
                _registry(aws, entry),
                _local(aws, source, folder, tracking_uri),
                folder / "packed.tar.gz",
                requirements=requirements,
                trust=trust,
                predictions=predictions,
                data=data,
                promises=_promises(aws, entries, entry),
            )
            requests = requests_of(aws, entries, entry)
            if (problem := requests.unpublished()) is not None:
                raise UserError(problem)
            candidate = requests.upload(
                packed.archive, sha256=packed.sha256, flavor=packed.flavor, trust=packed.trust, predictions=predictions
            )
        caller = str(aws.client("sts").get_caller_identity()["UserId"])
        event = requests.ask(candidate, caller=caller, reason=why, again=again)
        say(f"asked {entry.pipeline} to measure {packed.flavor or 'onnx'} model {packed.model_sha256[:12]}")
        follow(requests, event, facts={"model_sha256": packed.model_sha256}, is_awaited=not no_wait, as_json=as_json)


def _local(aws: Account, source: str, folder: Path, tracking_uri: str | None) -> Path:
    """Return a path, or the copy of an object in S3 or of a model in MLflow's registry."""
    if source.startswith(_REGISTERED):
        return _registered(aws, source, folder / "registered", tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
    if not source.startswith("s3://"):
        if not Path(source).exists():
            raise UserError(
                f"{source} not found; give a folder, a file, a model.tar.gz, an s3:// URI or models:/NAME/VERSION of MLflow"
            )
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


def _registered(aws: Account, source: str, folder: Path, tracking_uri: str | None) -> Path:
    """Return the folder of a model of MLflow's registry, downloaded with the caller's own rights."""
    from mlops_runtime.tracking.mlflow_rest import MlflowRest, TrackingAwayError, TrackingRefusedError
    from mlops_runtime.tracking.registered_model import RegisteredModelError, RegisteredModels

    if tracking_uri is None:
        raise UserError(
            f"{source} is of MLflow's registry: give its address with --tracking-uri or MLFLOW_TRACKING_URI"
        )
    try:
        mlflow = MlflowRest(tracking_uri, credentials=aws.session.get_credentials, password=_password())
        # not the account's options: of the embedded cloud they would lead elsewhere than the team's own bucket
        version = RegisteredModels(mlflow, s3=lambda: aws.session.client("s3")).download(source, folder)
    except (RegisteredModelError, TrackingAwayError, TrackingRefusedError, ValueError) as error:
        raise UserError(str(error)) from error
    say(f"took version {version.version} of {version.name} from MLflow, {mlflow}: {version.source}")
    return folder


def _password() -> "MlflowPassword | None":
    """Return user and password by the variables of the stock client."""
    from mlops_runtime.tracking.mlflow_password import MlflowPassword

    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    return MlflowPassword(lambda: (user, password)) if user and password else None


def _registry(aws: Account, entry: "PipelineEntry") -> "RegistryEntry":
    from mlops_runtime.contracts import from_json
    from mlops_runtime.registry.package_approval import RegistryEntry, registry_parameter

    name = registry_parameter(unit=entry.unit, group=entry.group)
    return from_json(RegistryEntry, aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def _promises(aws: Account, entries: "Entries", entry: "PipelineEntry") -> "tuple[RequestPromise, ...]":
    """Return what APIs promise of the pipeline's endpoint; nothing where the caller may not read that: the gate compares again."""
    from botocore.exceptions import ClientError

    from mlops_runtime.refused_calls import DENIED
    from mlops_runtime.rollout.kept_promises import desired_promises
    from mlops_runtime.rollout.rollout_table import RolloutTable

    if entry.endpoint is None:
        return ()
    try:
        endpoint = entries.endpoint(entry.endpoint)
        table = RolloutTable(aws.client("dynamodb"), endpoint.rollout_table, endpoint.endpoint)
        return desired_promises(aws.client("s3"), entries.unit(entry.unit).artifacts_bucket, table)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        say(
            f"what APIs promise of {entry.endpoint} was not compared, {error.operation_name} is denied; the gate compares it"
        )
        return ()
