"""``mlops serving check URL``: ask a server whether it does what SageMaker and a pod need of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.errors import UserError, shown

if TYPE_CHECKING:
    from mlops_runtime.serving.container_contract import Sample, Verdict

app = typer.Typer(help="Servers of models.", no_args_is_help=True)


@app.callback()
def serving() -> None:
    """Keep ``check`` a sub-command, so that later verbs find room beside it."""


@app.command()
def check(
    url: Annotated[str, typer.Argument(help="http://host:port of a running server.")],
    request: Annotated[
        Path | None,
        typer.Option(
            help="A request that it must answer: JSON with instances, or CSV. Default: made of what it says of itself."
        ),
    ] = None,
    content_type: Annotated[str | None, typer.Option(help="Of the request. Default: by the file's ending.")] = None,
    model: Annotated[str, typer.Option(help="The model's name in the Open Inference Protocol.")] = "model",
    pid: Annotated[
        int | None, typer.Option(help="The server's process; it is stopped to see whether it drains.", min=2)
    ] = None,
) -> None:
    """Check a server against the container contract; exit 1 with every rule that it breaks."""
    from mlops_runtime.serving.container_contract import NoAnswerError, Outcome, SampleError
    from mlops_runtime.serving.container_contract import check as ask

    with shown(SampleError, NoAnswerError):
        verdicts = ask(url, sample=_sample(request, content_type), model=model, pid=pid)
    width = max(len(verdict.rule) for verdict in verdicts)
    for verdict in verdicts:
        typer.echo(_line(verdict, width))
    broken = [verdict.rule for verdict in verdicts if verdict.outcome is Outcome.FAILED]
    if broken:
        raise UserError(f"{url} breaks {len(broken)} of {len(verdicts)} rules: {', '.join(broken)}")


def _line(verdict: "Verdict", width: int) -> str:
    return f"{verdict.rule:<{width}}  {verdict.outcome.value:<7}  {verdict.reason}".rstrip()


def _sample(request: Path | None, content_type: str | None) -> "Sample | None":
    from mlops_runtime.serving.container_contract import Sample

    if request is None:
        if content_type is not None:
            raise UserError(f"--content-type says how to send a request, got {content_type!r} without --request")
        return None
    kinds = {".json": "application/json", ".csv": "text/csv"}
    kind = kinds.get(request.suffix.lower()) if content_type is None else content_type
    if kind not in kinds.values():
        raise UserError(
            f"the request must be {' or '.join(kinds.values())}, got {kind or request.name!r}; say --content-type"
        )
    try:
        return Sample(content_type=str(kind), body=request.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {request}: {error.strerror}; give a file with a request") from error
