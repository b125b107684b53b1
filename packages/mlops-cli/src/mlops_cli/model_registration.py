"""``mlops models register``: register a model trained elsewhere, and wait for its verdict."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from botocore.exceptions import ClientError

from mlops_cli.answers import AsJson, optional_first
from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.retraining_verdict import echo, follow, requests_of
from mlops_cli.unit_operations import checked_reason
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.refused_calls import DENIED
from mlops_runtime.registry.package_approval import RegistryEntry, registry_parameter

if TYPE_CHECKING:
    from mlops_runtime.tracking.mlflow_rest import MlflowPassword

_REGISTERED = "models:/"

Trusted = Literal["data", "code", "pickle"]


def register(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Pipeline, required if there are several, and model: a folder, a file, a model.tar.gz, an s3:// URI of one, or "
            "models:/NAME/VERSION or models:/NAME@ALIAS of an MLflow registry. Its signature.json is in the model or next to it; "
            "an MLflow folder uses the signature of its MLmodel.",
            metavar="[PIPELINE] PATH",
        ),
    ],
    *,
    trust: Annotated[
        Trusted | None,
        typer.Option(help="What loading the model may do; required for pickles. Default: from its files."),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(help="Lock file of its environment. Default: requirements.lock next to it.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file with your own predictions for the holdout: column prediction; the other columns identify the row."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Parquet file of the holdout, to check its columns and rows before the upload.")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow's URI, for a model of its registry. Default: $MLFLOW_TRACKING_URI.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, stored with the request.")] = "a model made elsewhere",
    again: Annotated[
        bool, typer.Option("--again", help="Evaluate a model that was registered before again, as a second version.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the verdict.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Register a model trained elsewhere; it is evaluated and gated like a trained one. Exit 3 if guard or gate refuses it.

    A model that would reject requests promised by an API is refused before the upload. A model that was registered before is not
    evaluated twice: the result is that of its earlier run.
    """
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
        event = requests.send(candidate, caller=caller, reason=why, again=again)
        echo(
            f"requested an evaluation of {packed.flavor or 'onnx'} model {packed.model_sha256[:12]} by {entry.pipeline}"
        )
        follow(requests, event, facts={"model_sha256": packed.model_sha256}, is_awaited=not no_wait, as_json=as_json)


def _local(aws: Account, source: str, folder: Path, tracking_uri: str | None) -> Path:
    """Return the local path of a model, downloaded if it is in S3 or in an MLflow registry."""
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
    """Download a model of an MLflow registry with the caller's own credentials, and return its folder."""
    from mlops_runtime.tracking.mlflow_rest import MlflowRest, TrackingAwayError, TrackingRefusedError
    from mlops_runtime.tracking.registered_model import RegisteredModelError, RegisteredModels

    if tracking_uri is None:
        raise UserError(
            f"{source} is a model of an MLflow registry: give its URI with --tracking-uri or MLFLOW_TRACKING_URI"
        )
    try:
        mlflow = MlflowRest(tracking_uri, credentials=aws.session.get_credentials, password=_password())
        # without the account's options: those of the embedded cloud would miss the team's own bucket
        version = RegisteredModels(mlflow, s3=lambda: aws.session.client("s3")).download(source, folder)
    except (RegisteredModelError, TrackingAwayError, TrackingRefusedError, ValueError) as error:
        raise UserError(str(error)) from error
    echo(f"downloaded version {version.version} of {version.name} from MLflow, {mlflow}: {version.source}")
    return folder


def _password() -> "MlflowPassword | None":
    """Return user and password from the environment variables of MLflow's own client."""
    from mlops_runtime.tracking.mlflow_rest import MlflowPassword

    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    return MlflowPassword(lambda: (user, password)) if user and password else None


def _registry(aws: Account, entry: PipelineEntry) -> RegistryEntry:
    name = registry_parameter(unit=entry.unit, group=entry.group)
    return from_json(RegistryEntry, aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])


def _promises(aws: Account, entries: Entries, entry: PipelineEntry) -> tuple[RequestPromise, ...]:
    """Return the promises of APIs about the pipeline's endpoint; none without read access, as the gate compares them again."""
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
        echo(
            f"the promises of APIs of {entry.endpoint} were not compared: {error.operation_name} is denied; the gate compares them"
        )
        return ()
