"""``mlops api``: what an API of models promises its callers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError, VerdictError, shown
from mlops_runtime.inference_api.request_promise import (
    MAX_ROWS,
    PromiseError,
    promise_problems,
    read_promise,
    request_schema,
)

if TYPE_CHECKING:
    from mlops_runtime.contracts.model import ModelSignature

app = typer.Typer(help="Describe the API of models to its callers.", no_args_is_help=True)


@app.callback()
def api() -> None:
    """Keep ``schema`` a sub-command, so that later verbs find room beside it."""


@app.command()
def schema(
    signature: Annotated[Path, typer.Argument(help="signature.json of a model.")],
    *,
    output: Annotated[
        Path,
        typer.Option(help="File to write, for git. One that exists is compared with the signature, and left as it is."),
    ] = Path("request.schema.json"),
    max_rows: Annotated[int, typer.Option(help="Rows of a call at most.", min=1)] = MAX_ROWS,
    objects_only: Annotated[
        bool,
        typer.Option(
            "--objects-only", help="Rows are objects and not arrays, so that later models may have further columns."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write once which requests an API takes, from the signature of a model. Exit 3 if a model breaks what a file promises."""
    model = _signature(signature)
    try:
        promised = output.read_bytes() if output.exists() else None
        if promised is None:
            with shown(PromiseError):
                made = request_schema(model, max_rows=max_rows, arrays=not objects_only)
            output.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise UserError(f"cannot use {output}: {error.strerror}; give another file with --output") from error
    document = {"file": str(output), "is_new": promised is None, "problems": list[str]()}
    if promised is None:
        answer(document, f"wrote {output}; commit it, and name it in InferenceApi.add_model", as_json=as_json)
        return
    with shown(PromiseError):
        promise = read_promise(promised, output.name)[1]
    problems = promise_problems(promise, model, output.name)
    if problems:
        raise VerdictError("; ".join(problems), document={**document, "problems": problems})
    answer(document, f"{output} exists and is unchanged; the model takes all that it promises", as_json=as_json)


def _signature(path: Path) -> "ModelSignature":
    from mlops_runtime.serving.signature_file import read_signature, signature_text

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give the signature.json of a model") from error
    found, problems = read_signature(content)
    if found is None or problems:
        raise UserError(signature_text(problems))
    return found
