"""Entry point of the ``mlops`` command: user errors are reported as one line on stderr, without a traceback.

Exit codes: 0 success; 1 refused or failed; 2 usage error; 3 the command ran and its verdict is negative; 130 interrupted.
"""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from mlops_cli import (
    accounts,
    add,
    api,
    assets,
    audit,
    console,
    demo,
    doctor,
    features,
    fleet,
    image,
    invoke,
    labels,
    local,
    local_clock,
    local_images,
    models,
    monitor,
    new,
    plan,
    promotions,
    runs,
    serving,
    stacks,
    status,
    terraform,
    traffic,
    train,
    unit_creation,
    unit_operations,
    verify,
)
from mlops_cli.answers import print_json
from mlops_cli.aws_account import UserError

# optional imports of some verbs, and the distribution that installs each
_BROUGHT_BY = {
    "mlops_local": "mlops-cli[local]",
    "numpy": "mlops-runtime[serving]",
    "pyarrow": "mlops-runtime[features]",
}
_INTERRUPTED = 130  # as shells count SIGINT

app = typer.Typer(
    name="mlops",
    help="Deploy, operate and test the MLOps platform, on AWS or on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(new.new)
app.command()(new.upgrade)
app.add_typer(add.app, name="add")
app.add_typer(unit_creation.app, name="unit")
local.app.command()(local_clock.clock)
local.app.add_typer(local_images.app, name="image")
app.add_typer(local.app, name="local")
app.add_typer(assets.app, name="assets")
app.command()(stacks.deploy)
app.command()(stacks.destroy)
app.command()(plan.plan)
app.command()(demo.demo)
app.command()(status.status)
app.command()(fleet.fleet)
app.command()(promotions.promotions)
app.add_typer(accounts.app, name="accounts")
app.command()(console.console)
app.command()(invoke.invoke)
app.command()(doctor.doctor)
app.command()(verify.verify)
app.command()(train.train)
app.command()(unit_operations.rollback)
app.command()(unit_operations.pause)
app.command()(unit_operations.resume)
app.add_typer(audit.app, name="audit")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.add_typer(labels.app, name="labels")
app.add_typer(traffic.app, name="traffic")
app.add_typer(features.app, name="features")
app.add_typer(monitor.app, name="monitor")
app.add_typer(serving.app, name="serving")
app.add_typer(api.app, name="api")
app.add_typer(image.app, name="image")
app.add_typer(terraform.app, name="terraform")


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"mlops {version('mlops-cli')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Handle the global options."""


def main() -> None:
    """Run the command."""
    try:
        sys.exit(app(prog_name="mlops", standalone_mode=False))
    except UserError as error:
        _fail(str(error), error.code, error.document)
    except typer.TyperException as error:  # usage
        from typer.rich_utils import rich_format_error

        _print_refusal(error.format_message())
        rich_format_error(error)  # type: ignore[arg-type]  # the parser raises no other kind
        sys.exit(error.exit_code)
    except typer.Abort:
        _fail("interrupted", _INTERRUPTED)
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        _fail(f"cannot use {error.filename}: {error.strerror}; correct the path, or its permissions")
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in _BROUGHT_BY:
            raise
        _fail(f"this needs {package}, which is not installed; run: pip install '{_BROUGHT_BY[package]}'")


def _fail(message: str, code: int = 1, document: Mapping[str, Any] | None = None) -> NoReturn:
    _print_refusal(message, document)
    print(f"mlops: {message}", file=sys.stderr)
    sys.exit(code)


def _print_refusal(message: str, document: Mapping[str, Any] | None = None) -> None:
    """With ``--json``, print a failure as the one JSON document on standard output."""
    if "--json" in sys.argv[1:]:
        print_json({**(document or {}), "error": message})


if __name__ == "__main__":
    main()
