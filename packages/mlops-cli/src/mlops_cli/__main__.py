"""Entry point of the command ``mlops``: what a user did wrong is one line on stderr and exit 1, never a traceback."""

import sys
from typing import NoReturn

import typer

from mlops_cli import (
    assets,
    audit,
    demo,
    doctor,
    features,
    image,
    local,
    local_clock,
    models,
    monitor,
    new,
    plan,
    serving,
    stacks,
    status,
    terraform,
    train,
    unit_operations,
    verify,
)
from mlops_cli.aws_account import UserError

# what some verbs import: the distribution that brings it
_BROUGHT_BY = {
    "mlops_local": "mlops-cli[local]",
    "numpy": "mlops-runtime[serving]",
    "pyarrow": "mlops-runtime[features]",
}

app = typer.Typer(
    name="mlops",
    help="Deploy, operate and test the MLOps platform, on AWS or on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(new.new)
app.command()(new.upgrade)
local.app.command()(local_clock.clock)
app.add_typer(local.app, name="local")
app.add_typer(assets.app, name="assets")
app.command()(stacks.deploy)
app.command()(stacks.destroy)
app.command()(plan.plan)
app.command()(demo.demo)
app.command()(status.status)
app.command()(serving.invoke)
app.command()(doctor.doctor)
app.command()(verify.verify)
app.command()(train.train)
app.command()(unit_operations.rollback)
app.command()(unit_operations.pause)
app.command()(unit_operations.resume)
app.add_typer(audit.app, name="audit")
app.add_typer(models.app, name="models")
app.add_typer(features.app, name="features")
app.add_typer(monitor.app, name="monitor")
app.add_typer(serving.app, name="serving")
app.add_typer(image.app, name="image")
app.add_typer(terraform.app, name="terraform")


def main() -> None:
    """Run the command."""
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in _BROUGHT_BY:
            raise
        _fail(f"this needs {package}, which is not installed; run: pip install '{_BROUGHT_BY[package]}'")


def _fail(message: str) -> NoReturn:
    print(f"mlops: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
