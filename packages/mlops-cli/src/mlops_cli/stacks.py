"""``mlops deploy`` and ``mlops destroy``: stacks of an app on the embedded cloud."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.errors import UserError, shown
from mlops_cli.local import Home, home_folder

App = Annotated[
    str | None, typer.Option(help="Command that synthesizes. Default: `app` of cdk.json.", show_default=False)
]
# as CloudFormation's handlers say it
_TAKEN = re.compile(r"already exists", re.IGNORECASE)
_ADOPT = "mlops plan names what exists before a deployment, and docs/adopt.md how to adopt or delete it"
Stacks = Annotated[list[str] | None, typer.Argument(help="Stack names. Default: all of the app.", show_default=False)]


def deploy(stacks: Stacks = None, app: App = None, home: Home = None) -> None:
    """Synthesize the app and deploy its stacks to the embedded cloud, showing what constructs say, and each resource."""
    from mlops_cli.synthesis import notices
    from mlops_local import cloud, deployer

    with shown(cloud.CloudError, deployer.DeployError), _leaving(), tempfile.TemporaryDirectory() as folder:
        running = cloud.connect(home_folder(home))
        synthesize_app(app, Path(folder), surroundings=running.environment())
        for notice in notices(Path(folder), stacks):
            typer.echo(notice, err=True)
        shown_events = _Progress()
        try:
            outputs = deployer.deploy(running, Path(folder), stacks=stacks, on_event=shown_events)
        except deployer.DeployError as error:
            if _TAKEN.search(str(error)):
                raise UserError(f"{error}; {_ADOPT}") from error
            raise
    if not shown_events.count:
        typer.echo("no changes")
    for stack, values in outputs.items():
        typer.echo(f"\n{stack}")
        for name, value in sorted(values.items()):
            typer.echo(f"  {name} = {value}")


def destroy(stacks: Stacks = None, app: App = None, home: Home = None) -> None:
    """Delete the app's stacks from the embedded cloud; what is retained is named."""
    from mlops_local import cloud, deployer

    with shown(cloud.CloudError, deployer.DeployError), _leaving(), tempfile.TemporaryDirectory() as folder:
        running = cloud.connect(home_folder(home))
        synthesize_app(app, Path(folder), surroundings=running.environment())
        shown_events = _Progress()
        deployer.destroy(running, Path(folder), stacks=stacks, on_event=shown_events)
    if not shown_events.count:
        typer.echo("nothing to destroy")


@contextmanager
def _leaving() -> Iterator[None]:
    """On Ctrl-C say what goes on without us: a stack that is being changed is the cloud's, as on AWS."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "mlops: interrupted; the embedded cloud goes on with a stack that it has begun: run the same command again to "
            "see it through",
            err=True,
        )
        raise typer.Exit(130) from None


class _Progress:
    """Prints what happens to each resource, and counts it."""

    count = 0

    def __call__(self, event: object) -> None:
        self.count += 1
        typer.echo(str(event))


def synthesize_app(
    app: str | None,
    output: Path,
    context: Mapping[str, object] | None = None,
    surroundings: Mapping[str, str] | None = None,
) -> None:
    """Synthesize the app of the folder one stands in as the stock CLI does: cdk.json's build first, then its app.

    Args:
        app: Command line of the app. ``None``: cdk.json's.
        output: Where the cloud assembly goes.
        context: Put over cdk.json's, as ``cdk --context`` does. Default: nothing is.
        surroundings: Variables of the embedded cloud that the app is meant for, which keep it from AWS. The build runs without
            them: it fetches packages, and a registry may be on AWS. Default: the app is not meant for one.
    """
    from mlops_cli.synthesis import run_build, synthesize

    settings = _settings(Path("cdk.json"))
    build = settings.get("build")
    if app is None and isinstance(build, str):
        run_build(build)
    command = settings.get("app") if app is None else app
    if not isinstance(command, str):
        raise UserError(
            "no app to synthesize: there is no cdk.json here with an `app`; run in the app's folder or give --app"
        )
    kept = settings.get("context", {})
    merged = {**(kept if isinstance(kept, dict) else {}), **({} if context is None else context)}
    synthesize(command, output, merged, surroundings)


def _settings(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path.resolve()} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path.resolve()} must hold an object, got {settings!r}")
    return settings
