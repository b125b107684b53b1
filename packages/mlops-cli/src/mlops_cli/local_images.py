"""``mlops local image``: commands that replace third-party images on this machine, without a container engine."""

from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer, print_facts, print_json
from mlops_cli.aws_account import shown
from mlops_cli.local import Home, home_folder

app = typer.Typer(help="Declare the commands that third-party images run in the embedded cloud.", no_args_is_help=True)

Image = Annotated[str, typer.Argument(help="The image by its digest: repository@sha256:...")]


@app.command()
def add(
    image: Image,
    *,
    serve: Annotated[
        str,
        typer.Option(
            help="Command of the server, as in a Dockerfile; it must listen on $SAGEMAKER_BIND_TO_PORT, and read the model from "
            "$SM_MODEL_DIR or /opt/ml/model."
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Working directory of the command. Default: the current one.")
    ] = None,
    venv: Annotated[Path | None, typer.Option(help="Python virtual environment of the command. Default: none.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Declare the command that replaces an image on this machine. It takes effect at once in a running cloud."""
    from mlops_local.declared_images import DeclarationError, file_of
    from mlops_local.declared_images import add as declare

    with shown(DeclarationError):
        made = declare(
            file_of(home_folder(home)), image, serve=serve, folder=Path() if folder is None else folder, venv=venv
        )
    answer({"image": image, "command": made.command()}, f"{image} runs: {made.command()}", as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False, home: Home = None) -> None:
    """List the declared images and their commands."""
    from mlops_local.declared_images import DeclarationError, file_of, images

    with shown(DeclarationError):
        found = {name: image.command() for name, image in images(file_of(home_folder(home))).items()}
    if as_json:
        print_json([{"image": name, "command": command} for name, command in found.items()])
    elif found:
        print_facts(list(found.items()))
    else:
        typer.echo("no image is declared; declare one: mlops local image add REPOSITORY@sha256:... --serve COMMAND")


@app.command()
def remove(image: Image, as_json: AsJson = False, home: Home = None) -> None:
    """Remove the declaration of an image. Running endpoints keep their processes."""
    from mlops_local.declared_images import DeclarationError, file_of
    from mlops_local.declared_images import remove as take_back

    with shown(DeclarationError):
        take_back(file_of(home_folder(home)), image)
    answer({"image": image}, f"{image} is no longer declared", as_json=as_json)
