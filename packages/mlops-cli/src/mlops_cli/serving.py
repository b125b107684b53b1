"""``mlops serving check``: check a model server against the container contract; choice of a serving image."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError, VerdictError, shown
from mlops_cli.stacks import read_settings
from mlops_runtime.image import PLACEHOLDER_DIGEST

if TYPE_CHECKING:
    from mlops_runtime.serving.container_contract import Sample, Verdict

app = typer.Typer(help="Check a model server.", no_args_is_help=True)

REPOSITORY = "mlops-runtime"
_IMAGE = re.compile(
    r"(?:(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/)?"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]*)@(?P<digest>sha256:[0-9a-f]{64})"
)


@app.callback()
def serving() -> None:
    """Keep ``check`` a subcommand although it is the only one."""


@app.command()
def check(
    url: Annotated[str, typer.Argument(help="http://host:port of a running server.")],
    *,
    request: Annotated[
        Path | None,
        typer.Option(
            help="Request to send: JSON with instances, or CSV. Default: built from the server's own model metadata."
        ),
    ] = None,
    content_type: Annotated[
        str | None, typer.Option(help="Content type of the request. Default: from the file's extension.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the model in the Open Inference Protocol.")] = "model",
    pid: Annotated[
        int | None,
        typer.Option(help="Process id of the server; it is stopped to check that it drains requests.", min=2),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a server against the container contract, and list every broken rule. Exit 3 if there is one."""
    from mlops_runtime.serving.container_contract import NoAnswerError, Outcome, SampleError
    from mlops_runtime.serving.container_contract import check as check_server

    with shown(SampleError, NoAnswerError):
        verdicts = check_server(url, sample=_sample(request, content_type), model=model, pid=pid)
    width = max(len(verdict.rule) for verdict in verdicts)
    if not as_json:
        for verdict in verdicts:
            typer.echo(_line(verdict, width))
    broken = [verdict.rule for verdict in verdicts if verdict.outcome is Outcome.FAILED]
    document = {"rules": [asdict(verdict) for verdict in verdicts]}
    if broken:
        raise VerdictError(
            f"{url} breaks {len(broken)} of {len(verdicts)} rules: {', '.join(broken)}", document=document
        )
    answer(document, as_json=as_json)


def _line(verdict: "Verdict", width: int) -> str:
    return f"{verdict.rule:<{width}}  {verdict.outcome.value:<7}  {verdict.reason}".rstrip()


def _sample(request: Path | None, content_type: str | None) -> "Sample | None":
    from mlops_runtime.serving.container_contract import Sample

    if request is None:
        if content_type is not None:
            raise UserError(f"--content-type requires --request, got {content_type!r}")
        return None
    kinds = {".json": "application/json", ".csv": "text/csv"}
    kind = kinds.get(request.suffix.lower()) if content_type is None else content_type
    if kind not in kinds.values():
        raise UserError(
            f"the request must be {' or '.join(kinds.values())}, got {kind or request.name!r}; give --content-type"
        )
    try:
        return Sample(content_type=str(kind), body=request.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {request}: {error.strerror}; give a file with a request") from error


def serving_image(
    given: str | None, *, cloud: Literal["aws", "embedded"], account: str, region: str, settings: Path
) -> tuple[str, str]:
    """Return repository and digest of the serving image.

    Args:
        given: Repository and digest, or the whole URI. Default: ``mlops-runtime`` with the settings' digest.
        cloud: Target cloud; only the embedded cloud accepts the placeholder digest of 64 zeros.
        account: Account number of the run.
        region: Region of the run.
        settings: ``cdk.json``, with the context ``image_digest``.

    Raises:
        UserError: If no image is given, it belongs to another account or Region, its digest is the placeholder on AWS, or the
            settings cannot be read.
    """
    repository, digest = _of_settings(settings) if given is None else _named(given, account=account, region=region)
    if digest == PLACEHOLDER_DIGEST and cloud == "aws":
        source = f"image_digest of {settings.name}" if given is None else f"--image {given!r}"
        raise UserError(
            f"{source} is the placeholder of 64 zeros, which only the embedded cloud accepts: push an image with mlops image "
            "push, and give its digest with --image or mlops image digest --write; or run only the free checks with --free"
        )
    return repository, digest


def _of_settings(settings: Path) -> tuple[str, str]:
    digest = read_settings(settings).get("context", {}).get("image_digest")
    if digest is None:
        raise UserError(
            "no serving image: give --image REPOSITORY@sha256:DIGEST of this account and Region (or set image_digest in "
            f"{settings.name}), or run only the free checks with --free"
        )
    return REPOSITORY, str(digest)


def _named(given: str, *, account: str, region: str) -> tuple[str, str]:
    match = _IMAGE.fullmatch(given)
    if match is None:
        raise UserError(
            f"--image must be REPOSITORY@sha256:<64 hexadecimal digits> or its whole URI in ECR, got {given!r}"
        )
    for name, here in (("account", account), ("region", region)):
        if match[name] not in (None, here):
            raise UserError(
                f"--image belongs to {name} {match[name]}, but the run to {here}: push it there, or choose another {name}"
            )
    return match["repository"], match["digest"]
