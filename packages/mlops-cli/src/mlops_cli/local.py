"""``mlops local``: start, stop and inspect the embedded cloud."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from mlops_cli.answers import AsJson, Yes, answer, confirm, print_facts, print_json
from mlops_cli.aws_account import UserError, shown
from mlops_cli.termination import ended_by_sigterm

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

app = typer.Typer(help="Manage the embedded cloud, which runs the app's stacks on this machine.", no_args_is_help=True)

_LOOK_SECONDS = 0.5
_NOT_DEPLOYED = ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_TOOLKIT = "CDKToolkit"  # stack of `cdk bootstrap`, recreated automatically

Home = Annotated[
    Path | None, typer.Option(help="Folder of the cloud's state. Default: $MLOPS_LOCAL_HOME, else .mlops/local.")
]

AccountNumber = Annotated[
    str | None, typer.Option("--account", help="Number of an account of the embedded cloud. Default: the first.")
]


@app.command()
def up(
    home: Home = None,
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1. Default: the last port used, else a free one.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Speed of the cloud's clock: embedded seconds in one real second. Default: the last speed, else 1."
        ),
    ] = None,
    accounts: Annotated[
        int | None,
        typer.Option(
            help="Number of accounts: 000000000000, 111111111111 and so on. Default: the last number, else 1."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the embedded cloud in the background and restore its saved state."""
    from mlops_local import cloud
    from mlops_local.accounts import profile, profiles_path

    with shown(cloud.CloudError), ended_by_sigterm():
        running = cloud.up(
            home_folder(home),
            port=port,
            clock_scale=scale,
            account_count=accounts,
            on_event=lambda line: typer.echo(line, err=as_json),
        )
    given = "" if home is None else f" --home {shlex.quote(str(home))}"
    text = f"up at {running.endpoint_url}; state in {running.home}\n" + (
        f'to use it from this shell: eval "$(mlops local env{given})"'
    )
    profiles = {number: profile(number) for number in running.accounts}
    if len(profiles) > 1:
        text += f"\naccounts {', '.join(profiles)}; to use another one: mlops local env{given} --account {list(profiles)[1]}"
        text += f"\nprofiles {', '.join(profiles.values())} in {profiles_path(running.home)}, which that shell reads"
    document = {"endpoint_url": running.endpoint_url, "home": running.home, "pid": running.pid, "accounts": profiles}
    answer(document, text, as_json=as_json)


@app.command()
def down(
    forget: Annotated[bool, typer.Option("--forget", help="Delete the state instead of keeping it.")] = False,
    packages: Annotated[
        bool,
        typer.Option(
            "--packages",
            help="With --forget: also delete model environments and function packages, which are rebuilt when needed.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Stop the embedded cloud and every process that it started; `mlops local up` restores its state.

    Asks for confirmation before interrupting running work and before deleting deployed stacks.
    """
    from mlops_local import cloud

    if packages and not forget:
        raise UserError("--packages needs --forget")
    with shown(cloud.CloudError):
        folder = home_folder(home)
        if forget and not cloud.is_running(folder):
            confirm(f"delete the state of the embedded cloud of {folder}", yes=yes)
            had = cloud.forget(folder)
            _answer_forgotten(
                folder, had, "state deleted" if had else "there is no state", packages=packages, as_json=as_json
            )
            return
        running = cloud.connect(folder)
        if forget:
            stacks = [] if yes else _deployed_stacks(running)
            if stacks:
                confirm(
                    f"stop the embedded cloud of {running.home} and delete its state ({', '.join(stacks)})", yes=yes
                )
            running.down(forget=True)
            text = "down; state deleted"
            _answer_forgotten(running.home, True, text, packages=packages, as_json=as_json)
            return
        lost = _lost(running)
        if lost:
            confirm(f"stop the embedded cloud of {running.home} and interrupt {'; '.join(lost)}", yes=yes)
        saved = running.down()
    document = {"home": running.home, "saved": saved["saved"], "bytes": saved["bytes"], "interrupted": lost}
    lines = [f"down; state saved in {running.home} ({saved['bytes'] / 1e6:.1f} MB)"]
    lines += [f"interrupted: {row}" for row in lost]
    answer(document, "\n".join(lines), as_json=as_json)


def _answer_forgotten(home: Path, forgotten: bool, text: str, *, packages: bool, as_json: bool) -> None:
    """Report the packages that later clouds or deployments in the folder reuse, or delete them."""
    beside = home.parent / "assets"  # written by `mlops assets build` for the project's stacks
    found = [home / "environments", *([beside] if home.parent.name == ".mlops" else [])]
    sizes = {path: size for path in found if (size := _size(path))}
    if packages:
        for path in sizes:
            shutil.rmtree(path)
    verb = "deleted" if packages else "kept"
    lines = [f"{verb}: {path} ({size / 1e6:.1f} MB)" for path, size in sizes.items()]
    if sizes and not packages:
        given = "" if home.resolve() == home_folder(None).resolve() else f" --home {shlex.quote(str(home))}"
        fix = f"mlops local down --forget --packages{given}"
        lines.append(f"these packages are reused by the next cloud here; to delete them: {fix}")
    document = {"home": home, "forgotten": forgotten, verb: {str(path): size for path, size in sizes.items()}}
    answer(document, "\n".join([text, *lines]), as_json=as_json)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _lost(running: "Cloud") -> list[str]:
    """Return running work that a stop interrupts, and state that it does not save."""
    state = running.saved_state()
    return [*state["under_way"], *state["not_kept"]]


def _deployed_stacks(running: "Cloud") -> list[str]:
    """Return the names of deployed stacks, or one message that they are unknown if the cloud does not respond."""
    try:
        pages = running.client("cloudformation").get_paginator("list_stacks").paginate()
        found = [stack for page in pages for stack in page["StackSummaries"]]
    except (BotoCoreError, ClientError) as error:
        return [f"its stacks cannot be listed: {' '.join(str(error).split())}"]
    names = [stack["StackName"] for stack in found if stack["StackStatus"] not in _NOT_DEPLOYED]
    return sorted(name for name in names if name != _TOOLKIT)


@app.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Show running processes, and resource types that are recorded without effect."""
    from mlops_local import cloud

    with shown(cloud.CloudError):
        report = cloud.connect(home_folder(home)).status()
    if as_json:
        print_json(report)
        return
    print_facts([(name, "\n".join(_lines(value))) for name, value in report.items()])


def _lines(value: object) -> list[str]:
    """Return a value as lines of text."""
    if isinstance(value, Mapping):
        shown = {str(name): _lines(part) for name, part in value.items()}
        return [line for name, part in shown.items() for line in _under(name, part)] or ["none"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [line for part in value for line in _lines(part)] or ["none"]
    return ["none" if value is None else str(value)]


def _under(name: str, part: Sequence[str]) -> list[str]:
    return [f"{name}: {part[0]}"] if len(part) == 1 else [f"{name}:", *(f"  {line}" for line in part)]


@app.command()
def logs(
    last: Annotated[int, typer.Option(help="Number of last lines to print.", min=1)] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Print new lines until interrupted.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Print the last lines of the embedded cloud's log."""
    from mlops_local import cloud

    if follow and as_json:
        raise UserError("--follow prints lines continuously, --json one document; remove one of the two options")
    with shown(cloud.CloudError):
        path = cloud.connect(home_folder(home)).log_path
    with path.open(errors="replace") as log:
        lines = log.read().splitlines()[-last:]
        answer({"file": path, "lines": lines}, "\n".join(lines), as_json=as_json)
        while follow:
            typer.echo(log.read(), nl=False)
            time.sleep(_LOOK_SECONDS)


@app.command()
def env(
    account: AccountNumber = None,
    region: Annotated[str | None, typer.Option(help="Region of the shell. Default: us-east-1.")] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Print environment variables that point the AWS SDKs and the cdk CLI at the embedded cloud, never at AWS.

    With them, `aws` and `cdk` have one profile for each of its accounts, mlops-<number>.
    """
    from mlops_local import cloud
    from mlops_local.egress.environment import conflicting

    with shown(cloud.CloudError):
        variables = cloud.connect(home_folder(home)).at(account, region).environment()
    if as_json:
        print_json({"set": variables, "unset": list(conflicting(os.environ))})
        return
    for name in conflicting(os.environ):
        typer.echo(f"unset {name}")
    for name, value in sorted(variables.items()):
        typer.echo(f"export {name}={shlex.quote(value)}")
    # the cdk CLI runs `mlops`, `python` and `node` of this environment
    typer.echo(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')


@app.command()
def browse(
    address: Annotated[str, typer.Argument(help="Address to open. Default: the only distribution.")] = "",
    browser: Annotated[
        str, typer.Option(help="Path or name of Chromium, Chrome or Edge. Default: the first one found.")
    ] = "",
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Open a distribution of the embedded cloud at its own address, in a browser with a new profile, until it is closed.

    In this browser, host names of distributions and sign-in pages resolve to the embedded cloud; all others resolve normally.
    """
    from mlops_local import cloud

    with shown(cloud.CloudError):
        running = cloud.connect(home_folder(home))
        pages, arguments = running.pages(), running.browser_arguments()
    if not pages:
        raise UserError(
            "no distribution is deployed here; deploy a stack with one, such as a Console, with `mlops deploy`"
        )
    if not address and len(pages) > 1:
        raise UserError(f"there are {len(pages)} distributions; name one of {', '.join(pages)}")
    address = address or pages[0]
    if not any(address == page or address.startswith((f"{page}/", f"{page}?", f"{page}#")) for page in pages):
        raise UserError(f"{address} is not an address of a distribution here; there are {', '.join(pages)}")
    found = next(filter(None, map(shutil.which, [browser] if browser else _BROWSERS)), None)
    if found is None:
        raise UserError(f"no browser found ({browser or ', '.join(_BROWSERS)}); give the path of one with --browser")
    text = f"{address} in {found}, until it is closed"
    answer({"address": address, "browser": found, "arguments": arguments}, text, as_json=as_json)
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="mlops-browse-", ignore_cleanup_errors=True) as profile:
        own = [f"--user-data-dir={profile}", "--no-first-run", "--no-default-browser-check"]
        stream = sys.stderr if as_json else None  # with --json, standard output is one document
        ended = subprocess.run([found, *arguments, *own, address], stdout=stream, check=False)
    raise typer.Exit(ended.returncode)


def home_folder(home: Path | None) -> Path:
    """Return the given folder, or the default one."""
    from mlops_local import cloud

    return cloud.default_home() if home is None else home
