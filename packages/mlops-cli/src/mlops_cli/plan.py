"""``mlops plan``: show the changes of a deployment, and refuse those that would lose data unless they are allowed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Account, Profile, UserError, account, writing
from mlops_cli.local import Home
from mlops_cli.planned_changes import Allow, PlannedChanges, Versions
from mlops_cli.stacks import Stacks, assembly, assembly_places, assembly_templates, notices

if TYPE_CHECKING:
    from mlops_runtime.price import MonthlyPrice, PriceTable


def plan(
    stacks: Stacks = None,
    *,
    app: Annotated[
        str | None,
        typer.Option(
            help="Command that synthesizes the app, or the folder of a cloud assembly. Default: `app` of cdk.json."
        ),
    ] = None,
    allow: Allow = None,
    as_json: AsJson = False,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Write the file for `cdk import --resource-mapping`: the resources that the newest deletion of the named "
            "stack retained."
        ),
    ] = None,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show what a deployment would change. Exit 1 if it would lose data, or create a name that already exists.

    Stacks of other accounts or Regions than those of the credentials are skipped and reported; naming one is an error.

    Also exit 1 if the policy of a KMS key that a unit uses without owning it does not allow the required services, unless `--allow`
    names the unit's bus; and if an API would have an access log but API Gateway has no role for CloudWatch. Only reported: a key
    policy that cannot be read, and an imported network without access to KMS, which signs records.
    """
    from mlops_runtime.changes import lines
    from mlops_runtime.price import PriceError, price_document, price_lines, price_table

    with assembly(app) as folder:
        templates = _chosen(dict(assembly_templates(folder)), stacks)
        for notice in notices(folder, stacks):
            typer.echo(notice, err=True)
        places = {name: (of, region) for name, of, region in assembly_places(folder)}
        with account(profile, home) as aws:
            cloudformation = aws.client("cloudformation")
            elsewhere = _elsewhere(aws, {name: places[name] for name in templates}, named=bool(stacks))
            templates = {name: template for name, template in templates.items() if name not in elsewhere}
            planned = PlannedChanges.read(aws, templates, allowed=allow or [])
            if mapping is not None:
                write_mapping(cloudformation, mapping, planned.versions)
    for note in (
        *planned.notes,
        *(f"{name} was not planned: it belongs to {where}" for name, where in elsewhere.items()),
    ):
        typer.echo(note, err=True)
    try:
        table = price_table(cloudformation.meta.region_name)
        before, after = _prices(planned.versions, table)
        price_text, price_json = list(price_lines(before, after, table)), price_document(before, after, table)
    except PriceError as error:
        price_text, price_json = [f"price a month: unknown: {error}"], None
    if not as_json:
        for line in (*lines(planned.found), *price_text):
            typer.echo(line)
    for one in planned.existing:
        if one.reason is not None or not as_json:
            typer.echo(f"{one.resource.stack}: {one.text}", err=one.reason is not None)
    found = {**planned.document(), "price": price_json, "elsewhere": elsewhere}
    problems = [*planned.stuck, *planned.problems()]
    if problems:
        raise UserError(f"refused: {'; '.join(problems)}", document=found)
    if as_json:
        print_json(found)


def _elsewhere(aws: Account, places: Mapping[str, tuple[str, str]], *, named: bool) -> dict[str, str]:
    """Return the stacks of another account or Region than the caller's, each with that account and Region.

    Raises:
        UserError: If no stack remains, or stacks were named as arguments and one of them is elsewhere.
    """
    own = aws.identity().arn.split(":")[4], str(aws.client("cloudformation").meta.region_name)
    found = {
        name: " ".join(filter(None, place))
        for name, place in places.items()
        if any(wanted and wanted != here for wanted, here in zip(place, own, strict=True))
    }
    if found and (named or len(found) == len(places)):
        which = "; ".join(f"{name} belongs to {where}" for name, where in found.items())
        raise UserError(
            f"these credentials are for {' '.join(own)}, but {which}; plan it with credentials of its account and with AWS_REGION"
        )
    return found


def write_mapping(cloudformation: Any, path: Path, versions: Mapping[str, Versions]) -> None:
    """Write the resources of the new template that the newest deletion of the stack retained.

    Raises:
        UserError: Unless exactly one stack is planned, and a deletion of it retained one of its resources.
    """
    from mlops_cli.plan_checks import kept

    if len(versions) != 1:
        raise UserError(f"--mapping works on one stack, got {', '.join(sorted(versions))}; name one")
    ((stack, version),) = versions.items()
    adopted = {name: entry for name, entry in kept(cloudformation, stack).items() if name in version.new.resources()}
    if not adopted:
        raise UserError(f"no deleted stack {stack} retained a resource of the new stack; there is nothing to import")
    with writing(path, "give another --mapping"):
        path.write_text(json.dumps(adopted, indent=2) + "\n")
    typer.echo(f"{path}: {len(adopted)} resources; cdk import {stack} --resource-mapping {path}", err=True)


def _prices(
    versions: Mapping[str, Versions], table: "PriceTable"
) -> tuple[dict[str, "MonthlyPrice"], dict[str, "MonthlyPrice"]]:
    from mlops_runtime.price import monthly_price

    deployed = {name: version.deployed for name, version in versions.items() if version.deployed is not None}
    before = {name: monthly_price(template, table) for name, template in deployed.items()}
    return before, {name: monthly_price(version.new, table) for name, version in versions.items()}


def _chosen(templates: dict[str, Mapping[str, Any]], names: Sequence[str] | None) -> dict[str, Mapping[str, Any]]:
    if not names:
        return templates
    missing = [name for name in names if name not in templates]
    if missing:
        raise UserError(f"no stack {', '.join(missing)} in the assembly; it has {', '.join(sorted(templates))}")
    return {name: templates[name] for name in names}
