"""``mlops fleet``: show the models of several accounts and Regions, each read with a role of its account."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, print_json, print_table
from mlops_cli.aws_account import Account, Profile, UserError, account, open_account, shown
from mlops_cli.local import Home
from mlops_runtime.contracts import to_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_runtime.console.http_message import Connection
    from mlops_runtime.contracts.fleet import FleetEnvironment, FleetModel, FleetView

_DIGEST = 12  # displayed characters of a model's hash
_UNKNOWN = "-"


def fleet(
    unit: Annotated[str | None, typer.Argument(help="Name of the business unit. Default: all.")] = None,
    *,
    environments: Annotated[
        Path, typer.Option(help="File with the accounts and Regions, and the role that reads each (mlops.fleet/1).")
    ] = Path("fleet.json"),
    costs: Annotated[
        bool,
        typer.Option(
            "--costs", help="Query Cost Explorer for each model's cost per day: one query per environment, $0.01 each."
        ),
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show every model of several accounts and Regions: version and digest, state, drift, quality, owner, rollouts, approvals."""
    from mlops_runtime.fleet.fleet_reading import read_environments

    named = named_environments(environments)
    with account(profile, home) as aws:
        by, now = aws.caller()
        view = read_environments(
            named, lambda each: connected(aws, each, by, home), now=now, has_costs=costs, unit=unit
        )
    if view.unread and not view.models and all(each.name in view.unread for each in named):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in view.unread.items())
        raise UserError(f"no environment can be read: {reasons}")
    if as_json:
        print_json(to_dict(view))
        return
    _print(view, [each.name for each in named], has_costs=costs)


def named_environments(path: Path) -> "Sequence[FleetEnvironment]":
    """Return the environments of a fleet file.

    Raises:
        UserError: If the file cannot be read or is invalid, with all problems.
    """
    from mlops_runtime.fleet.fleet_reading import FleetFileError, read_fleet

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; create it (docs/fleet.md), or name another with --environments"
        ) from error
    with shown(FleetFileError):
        return read_fleet(content, name=str(path)).environments


def connected(aws: Account, environment: "FleetEnvironment", caller: str, home: Path | None) -> "Connection":
    """Return a connection to an environment: with its role, with its profile, or with the caller's own credentials."""
    from mlops_runtime.console.taken_role import take_role
    from mlops_runtime.registry.package_registry import session_name

    if environment.role is not None:
        return take_role(aws, environment.role, session=session_name(caller), region=environment.region)
    if environment.profile is not None:
        return open_account(environment.profile, home, region=environment.region)
    return aws.at(environment.region)


def _print(view: "FleetView", order: "Sequence[str]", *, has_costs: bool) -> None:
    """Print a table with one line per model and environment, then the environments that could not be read."""
    heads = ["unit", "model", "environment", "state", "version", "digest", "since", "drift", "quality", "retrained"]
    heads += ["cost a day"] if has_costs else []
    if view.models:
        print_table([*heads, "owner"], [_cells(each, has_costs=has_costs) for each in view.models])
    else:
        typer.echo(f"no model is deployed in {', '.join(order)}")
    for each in view.models:
        for what, text in (("rollout", each.rollout), ("waits for an approval", ", ".join(each.waiting or ()))):
            if text:
                typer.echo(f"{each.environment} {each.unit}-{each.model}: {what}: {text}")
    for name, reason in view.unread.items():
        typer.echo(f"{name}: not shown: {reason}")
    for name, reason in view.costs.items():
        typer.echo(f"{name}: costs: {reason}")


def _cells(each: "FleetModel", *, has_costs: bool) -> list[str]:
    cost = [] if not has_costs else [_UNKNOWN if each.cost is None else f"{each.cost:.2f} {each.currency}"]
    return [
        each.unit,
        each.model,
        each.environment,
        each.state,
        _UNKNOWN if each.version is None else str(each.version),
        _UNKNOWN if each.digest is None else each.digest[:_DIGEST],
        _UNKNOWN if each.since is None else each.since[:16].replace("T", " "),
        each.drift or _UNKNOWN,
        each.quality or _UNKNOWN,
        each.retrained or _UNKNOWN,
        *cost,
        each.owner or _UNKNOWN,
    ]
