"""``mlops assets``: download the wheels of Lambda layers and Glue jobs."""

from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import shown

app = typer.Typer(help="Build the assets that synthesis packages into Lambda layers.", no_args_is_help=True)


@app.callback()
def assets() -> None:
    """Keep ``build`` a subcommand although it is the only one."""


@app.command()
def build(
    architecture: Annotated[str, typer.Option(help="Architecture as Lambda names it: x86_64 or arm64.")] = "x86_64",
    layer: Annotated[
        list[str],
        typer.Option(help="Layer to build; may be repeated. The layer features, for FeatureIngest, downloads 50 MB."),
    ] = ["monitor"],  # noqa: B006 - Typer copies it
    glue: Annotated[
        bool, typer.Option("--glue", help="Also download the wheels of Glue jobs (GlueIngestJob).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download the hash-pinned wheels of layers into a folder named after the lock's hash. Default: the monitor layer."""
    from mlops_runtime.layers.layer_wheels import LayerError, build_glue_archive, build_layers

    with shown(LayerError):
        built = [*build_layers(architecture=architecture, names=layer), *([build_glue_archive()] if glue else [])]
    answer({"built": built}, "\n".join(f"built {folder}" for folder in built), as_json=as_json)
