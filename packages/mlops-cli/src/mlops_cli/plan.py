"""``mlops plan``: what a deployment would change, and a refusal of what would lose data unless it is named."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Profile, UserError, account
from mlops_cli.local import Home
from mlops_cli.plan_checks import read_keys, read_networks
from mlops_cli.stacks import Stacks, assembly_templates, synthesize_app
from mlops_cli.unit_owners import owned_units

if TYPE_CHECKING:
    from mlops_cli.aws_account import Account
    from mlops_runtime.changes import Existing, ResourceSchema, StackChanges
    from mlops_runtime.changes.template import Template
    from mlops_runtime.price import MonthlyPrice, PriceTable

# statuses of a stack that CloudFormation would refuse to update
_GONE = ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS")
_STUCK = {
    "ROLLBACK_COMPLETE": "its creation failed, so it can only be deleted: run cdk destroy, then plan again",
    "ROLLBACK_FAILED": "its creation failed, so it can only be deleted: run cdk destroy, then deploy",
    "UPDATE_ROLLBACK_FAILED": "continue its rollback in CloudFormation first",
    "DELETE_FAILED": "its deletion failed: delete it again, or retain the resources that cannot be deleted",
}


def plan(
    stacks: Stacks = None,
    *,
    app: Annotated[
        str | None,
        typer.Option(
            help="Command that synthesizes the app, or the folder of a cloud assembly. Default: `app` of cdk.json.",
            show_default=False,
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Logical id of a resource whose replacement or deletion is allowed, data included, or of a bus whose key policy "
            "may lack statements.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="Write the file for `cdk import --resource-mapping`: the resources that the newest deletion of the named "
            "stack retained.",
            show_default=False,
        ),
    ] = None,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show what a deployment would change. Exit 1 if it would lose data, or create a name that exists already.

    A key that a unit uses and does not own is read too: exit 1 if its policy does not let services in, unless `--allow` names the
    unit's bus. A policy that cannot be read is reported and refuses nothing. So is a network that the unit does not make and that
    does not reach KMS, where records are signed.
    """
    from mlops_cli.stacks import notices
    from mlops_runtime.changes import compare, document, existing_document, lines, refusals, refusals_of, unused_names
    from mlops_runtime.price import PriceError, price_document, price_lines, price_table

    allowed = [] if allow is None else allow
    with _assembly(app) as folder:
        templates = _chosen(dict(assembly_templates(folder)), stacks)
        for notice in notices(folder, stacks):
            typer.echo(notice, err=True)
        with account(profile, home) as aws:
            cloudformation = aws.client("cloudformation")
            versions, problems = read_versions(cloudformation, templates)
            keys = read_keys(aws, templates, allow=allowed)
            networks = read_networks(aws, templates)
            schemas = _schemas()
            found = [compare(name, version.deployed, version.new, schemas) for name, version in versions.items()]
            owned = list(owned_units(cloudformation, templates))
            existing = [
                one
                for one in names_that_exist(aws, found, versions)
                if not any(each.covers(one.resource.stack, one.resource.name) for each in owned)
            ]
            if mapping is not None:
                write_mapping(cloudformation, mapping, versions)
    for note in (*keys.notes, *networks):
        typer.echo(note, err=True)
    refused = refusals(found, allowed)
    try:
        table = price_table(cloudformation.meta.region_name)
        before, after = _prices(versions, table)
        price_text, price_json = list(price_lines(before, after, table)), price_document(before, after, table)
    except PriceError as error:
        price_text, price_json = [f"price a month: unknown: {error}"], None
    found_all = {**document(found, refused), "existing": existing_document(existing), "price": price_json}
    if not as_json:
        for line in (*lines(found), *price_text):
            typer.echo(line)
    for one in existing:
        if one.reason is not None or not as_json:
            typer.echo(f"{one.resource.stack}: {one.text}", err=one.reason is not None)
    problems += [*keys.problems, *(refusal.text for refusal in refused)]
    problems += [each.text for each in owned]
    taken = refusals_of(existing)
    if taken:
        problems.append(f"{len(taken)} of the names to be created already exist: {taken[0]}")
    unused = [name for name in unused_names(found, allowed) if name not in keys.allowed]
    problems += [f"--allow {name} allows nothing in this plan; remove it" for name in unused]
    if problems:
        raise UserError(f"refused: {'; '.join(problems)}", document=found_all)
    if as_json:
        print_json(found_all)


def names_that_exist(
    aws: "Account", found: Sequence["StackChanges"], versions: Mapping[str, "Versions"]
) -> list["Existing"]:
    """Return the names that exist although the plan creates them, and those that could not be checked."""
    from mlops_cli.plan_checks import look_up
    from mlops_runtime.changes import named

    resources = [one for changes in found for one in named(changes, versions[changes.stack].new)]
    if not resources:
        return []
    sts = aws.client("sts")
    number, region = sts.get_caller_identity()["Account"], str(sts.meta.region_name)
    return list(look_up(cache(aws.client), resources, account=number, region=region))


def write_mapping(cloudformation: Any, path: Path, versions: Mapping[str, "Versions"]) -> None:
    """Write what the newest deletion of a stack that kept anything kept and its new template has.

    Raises:
        UserError: If not one stack is named, or no deletion of it kept anything.
    """
    from mlops_cli.plan_checks import kept

    if len(versions) != 1:
        raise UserError(f"--mapping works on one stack, got {', '.join(sorted(versions))}; name one")
    ((stack, version),) = versions.items()
    adopted = {name: entry for name, entry in kept(cloudformation, stack).items() if name in version.new.resources()}
    if not adopted:
        raise UserError(f"no deleted stack {stack} retained a resource of the new stack; there is nothing to import")
    path.write_text(json.dumps(adopted, indent=2) + "\n")
    typer.echo(f"{path}: {len(adopted)} resources; cdk import {stack} --resource-mapping {path}", err=True)


class Versions(NamedTuple):
    """A stack's template before and after: what is deployed, ``None`` for a new stack, and what would be."""

    deployed: "Template | None"
    new: "Template"


def read_versions(
    cloudformation: Any, templates: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Versions], list[str]]:
    """Return both templates of each stack, and what keeps a stack from being changed at all.

    Args:
        cloudformation: Client.
        templates: The new template of each stack by the stack's name.
    """
    from mlops_runtime.changes.template import Template

    versions, problems = {}, []
    for name, new in templates.items():
        description = _described(cloudformation, name)
        status = "" if description is None else str(description["StackStatus"])
        if status in _STUCK or status.endswith("_IN_PROGRESS"):
            fix = _STUCK.get(status, "wait until it ends")
            problems.append(f"stack {name} is {status}: {fix}")
        if status == "ROLLBACK_COMPLETE":  # nothing of it is left: everything would be created
            description = None
        values = _values(cloudformation, description, new)
        deployed = None if description is None else Template(document=_deployed(cloudformation, name), values=values)
        versions[name] = Versions(deployed, Template(document=new, values=values))
    return versions, problems


def _prices(
    versions: Mapping[str, Versions], table: "PriceTable"
) -> tuple[dict[str, "MonthlyPrice"], dict[str, "MonthlyPrice"]]:
    from mlops_runtime.price import monthly_price

    deployed = {name: version.deployed for name, version in versions.items() if version.deployed is not None}
    before = {name: monthly_price(template, table) for name, template in deployed.items()}
    return before, {name: monthly_price(version.new, table) for name, version in versions.items()}


def _schemas() -> dict[str, "ResourceSchema"]:
    from mlops_runtime.changes import read_schemas

    return read_schemas(json.loads(resources.files("mlops_cli").joinpath("replacement.json").read_text("utf-8")))


@contextmanager
def _assembly(app: str | None) -> Iterator[Path]:
    """Give a folder with an assembly: the one that is named, or one that is synthesized."""
    if app is not None and Path(app).is_dir():
        yield Path(app)
        return
    with tempfile.TemporaryDirectory() as folder:
        synthesize_app(app, Path(folder))
        yield Path(folder)


def _chosen(templates: dict[str, Mapping[str, Any]], names: Sequence[str] | None) -> dict[str, Mapping[str, Any]]:
    if not names:
        return templates
    missing = [name for name in names if name not in templates]
    if missing:
        raise UserError(f"no stack {', '.join(missing)} in the assembly; it has {', '.join(sorted(templates))}")
    return {name: templates[name] for name in names}


def _described(cloudformation: Any, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        description: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if description["StackStatus"] in _GONE else description


def _deployed(cloudformation: Any, name: str) -> dict[str, Any]:
    body = cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    return _from_yaml(body) if isinstance(body, str) else dict(body)


def _values(cloudformation: Any, description: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of parameters that a deployment keeps or takes from the template, and the region."""
    values = {"AWS::Region": cloudformation.meta.region_name}
    declared = new.get("Parameters", {})
    # a parameter of Parameter Store is the name of one there, and its value may change at any time
    known = {name: body for name, body in declared.items() if not str(body["Type"]).startswith("AWS::SSM::")}
    values |= {name: str(body["Default"]) for name, body in known.items() if "Default" in body}
    if description is not None:
        kept = {p["ParameterKey"]: p["ParameterValue"] for p in description.get("Parameters", [])}
        values |= {name: value for name, value in kept.items() if name in known}
    return values


def _from_yaml(text: str) -> dict[str, Any]:
    """Read a template that was deployed as YAML, its short functions too."""
    import yaml

    class Loader(yaml.SafeLoader):
        """A separate loader, so that CloudFormation's tags are not registered on yaml's own."""

    def function(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
        if isinstance(node, yaml.ScalarNode):
            value: Any = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
        return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}

    Loader.add_multi_constructor("!", function)
    document = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    if not isinstance(document, dict):
        raise UserError(
            f"the deployed template must be a JSON object, got {type(document).__name__}; deploy the stack again"
        )
    return document
