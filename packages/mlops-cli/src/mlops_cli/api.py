"""``mlops api``: request schema and OpenAPI description of an inference API."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError, VerdictError, shown, writing
from mlops_cli.stacks import App, synthesize_app
from mlops_runtime.inference_api.open_api import METADATA, open_api
from mlops_runtime.inference_api.request_promise import (
    MAX_ROWS,
    PromiseError,
    promise_problems,
    read_promise,
    request_schema,
)

if TYPE_CHECKING:
    from mlops_runtime.contracts.model import ModelSignature

app = typer.Typer(help="Describe an inference API to its callers.", no_args_is_help=True)


@app.command()
def schema(
    signature: Annotated[Path, typer.Argument(help="signature.json of a model.")],
    *,
    output: Annotated[
        Path,
        typer.Option(help="File to write and commit. An existing file is compared with the signature and not changed."),
    ] = Path("request.schema.json"),
    max_rows: Annotated[int, typer.Option(help="Maximum number of rows in a call.", min=1)] = MAX_ROWS,
    objects_only: Annotated[
        bool,
        typer.Option(
            "--objects-only", help="Accept rows as objects only, not arrays, so that later models may add columns."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the request schema of an API from a model's signature. Exit 3 if the model breaks an existing schema."""
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
        answer(document, f"wrote {output}; commit it, and pass it to InferenceApi.add_model", as_json=as_json)
        return
    with shown(PromiseError):
        promise = read_promise(promised, output.name)[1]
    problems = promise_problems(promise, model)
    if problems:
        raise VerdictError("; ".join(problems), document={**document, "problems": problems})
    answer(
        document, f"{output} exists and is unchanged; the model accepts every request that it promises", as_json=as_json
    )


@app.command()
def export(
    unit: Annotated[str | None, typer.Argument(help="Unit of the API. Default: the app's only one.")] = None,
    *,
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("openapi.json"),
    app: App = None,
    as_json: AsJson = False,
) -> None:
    """Write the OpenAPI 3.1 description of a unit's API, from the synthesized app."""
    with tempfile.TemporaryDirectory() as folder:
        synthesize_app(app, Path(folder))
        found = {str(each["unit"]): each for each in _described(Path(folder))}
    names = ", ".join(sorted(found)) or "none"
    if unit is None and len(found) != 1:
        raise UserError(f"name the unit unless the app has exactly one InferenceApi; it has APIs of: {names}")
    name = next(iter(found)) if unit is None else unit
    if name not in found:
        raise UserError(f"the app has no InferenceApi of unit {name!r}; it has APIs of: {names}")
    document = open_api(found[name])
    with writing(output, "give another file with --output"):
        output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    paths = sorted(document["paths"])
    answer({"file": str(output), "unit": name, "paths": paths}, f"wrote {output}: {len(paths)} paths", as_json=as_json)


def _described(assembly: Path) -> Iterator[dict[str, Any]]:
    """Yield the metadata of each inference API in an assembly."""
    for template in sorted(assembly.rglob("*.template.json")):
        for resource in json.loads(template.read_text("utf-8")).get("Resources", {}).values():
            described = resource.get("Metadata", {}).get(METADATA)
            if described is not None:
                # templates omit null values
                yield {"domain": None, "scope": None, **described}


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
