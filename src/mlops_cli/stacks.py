"""``mlops deploy`` and ``mlops destroy``: stacks of an app on the embedded cloud."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.errors import UserError, shown
from mlops_cli.local import Home, home_folder

App = Annotated[
    str | None, typer.Option(help="Command that synthesizes. Default: `app` of cdk.json.", show_default=False)
]
Stacks = Annotated[list[str] | None, typer.Argument(help="Stack names. Default: all of the app.", show_default=False)]


def deploy(stacks: Stacks = None, app: App = None, home: Home = None) -> None:
    """Synthesize the app and deploy its stacks to the embedded cloud, showing each resource."""
    from mlops_local import cloud, deployer  # noqa: PLC0415 - lazy, keeps --help fast

    with shown(cloud.CloudError, deployer.DeployError), tempfile.TemporaryDirectory() as folder:
        running = cloud.connect(home_folder(home))
        synthesize_app(app, Path(folder))
        outputs = deployer.deploy(running, Path(folder), stacks=stacks, on_event=lambda event: typer.echo(str(event)))
    for stack, values in outputs.items():
        typer.echo(f"\n{stack}")
        for name, value in sorted(values.items()):
            typer.echo(f"  {name} = {value}")


def destroy(stacks: Stacks = None, app: App = None, home: Home = None) -> None:
    """Delete the app's stacks from the embedded cloud; what is retained is named."""
    from mlops_local import cloud, deployer  # noqa: PLC0415

    with shown(cloud.CloudError, deployer.DeployError), tempfile.TemporaryDirectory() as folder:
        running = cloud.connect(home_folder(home))
        synthesize_app(app, Path(folder))
        deployer.destroy(running, Path(folder), stacks=stacks, on_event=lambda event: typer.echo(str(event)))


def synthesize_app(app: str | None, output: Path) -> None:
    """Synthesize the app of the folder one stands in, with cdk.json's command and context unless `app` is given."""
    from mlops_cli.synthesis import synthesize  # noqa: PLC0415

    settings: dict[str, object] = {}
    if Path("cdk.json").is_file():
        settings = json.loads(Path("cdk.json").read_text())
    command = settings.get("app") if app is None else app
    if not isinstance(command, str):
        raise UserError(
            "no app to synthesize: there is no cdk.json here with an `app`; run in the app's folder or give --app"
        )
    context = settings.get("context", {})
    synthesize(command, output, dict(context) if isinstance(context, dict) else {})
