"""Changes of a deployment and the reasons to refuse it, for ``mlops plan`` and ``mlops deploy``.

One reason is a business unit that a stack would define although another stack owns it, which CloudFormation would find later.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from botocore.exceptions import ClientError

from mlops_cli.aws_account import UserError
from mlops_cli.plan_checks import KeyFindings, LogRoleFindings, read_keys, read_log_roles, read_networks
from mlops_cli.unit_imports import MissingImport, missing_imports
from mlops_runtime.contracts.unit_entries import ROOT, UNIT_ROOT

if TYPE_CHECKING:
    from mlops_cli.aws_account import Account
    from mlops_runtime.changes import Existing, Refusal, ResourceSchema, StackChanges
    from mlops_runtime.changes.template import Template

_PARAMETER = "AWS::SSM::Parameter"
_ENTRY = re.compile(r"/mlops/([^/]+)/unit")
Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="Logical id of a resource that may be replaced or deleted with its data, or of a unit's bus whose key policy may "
        "lack statements."
    ),
]

# statuses of a stack that CloudFormation would refuse to update
_DELETED = ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS")
_STUCK = {
    "ROLLBACK_COMPLETE": "its creation failed, so it can only be deleted: run cdk destroy, then plan again",
    "ROLLBACK_FAILED": "its creation failed, so it can only be deleted: run cdk destroy, then deploy",
    "UPDATE_ROLLBACK_FAILED": "continue its rollback in CloudFormation first",
    "DELETE_FAILED": "its deletion failed: delete it again, or retain the resources that cannot be deleted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedUnit:
    """A unit that a stack would define although another one owns it."""

    stack: str
    unit: str
    owner: str  # name of the stack that owns it

    @property
    def text(self) -> str:
        """The problem and its fix, as one sentence."""
        return (
            f"stack {self.stack} defines business unit '{self.unit}', which stack {self.owner} owns: import it with "
            f'BusinessUnit.from_name(self, "Unit", name="{self.unit}") instead of BusinessUnit(...)'
        )

    def covers(self, stack: str, name: str) -> bool:
        """Return whether an existing name is one of the unit's own parameters, which ``text`` already covers."""
        own = name == f"{ROOT}{self.unit}/unit" or name.startswith(f"{UNIT_ROOT}{self.unit}/")
        return stack == self.stack and own


def owned_units(cloudformation: Any, templates: Mapping[str, Mapping[str, Any]]) -> Iterator[OwnedUnit]:
    """Yield the units that stacks define although another stack owns them, which is deployed or earlier in the app.

    Args:
        cloudformation: Client.
        templates: Template of each stack by stack name, in deployment order.
    """
    defined: dict[str, str] = {}
    for stack, template in templates.items():
        for unit in _defined_units(template):
            owner = defined.setdefault(unit, _owner(cloudformation, f"{ROOT}{unit}/unit") or stack)
            if owner != stack:
                yield OwnedUnit(stack=stack, unit=unit, owner=owner)


def _defined_units(template: Mapping[str, Any]) -> Iterator[str]:
    for resource in template.get("Resources", {}).values():
        name = resource.get("Properties", {}).get("Name") if resource.get("Type") == _PARAMETER else None
        match = _ENTRY.fullmatch(name) if isinstance(name, str) else None
        if match is not None:
            yield match[1]


def _owner(cloudformation: Any, name: str) -> str | None:
    """Return the stack of a parameter, or ``None`` if it has none or the caller has no permission."""
    try:
        found = cloudformation.describe_stack_resources(PhysicalResourceId=name)["StackResources"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "ValidationError"):
            return None
        raise
    return next((str(one["StackName"]) for one in found if _is_held(one, name)), None)


def _is_held(resource: Mapping[str, Any], name: str) -> bool:
    return resource.get("PhysicalResourceId") == name and resource.get("ResourceStatus") != "DELETE_COMPLETE"


class Versions(NamedTuple):
    """The deployed and the new template of a stack; ``deployed`` is ``None`` for a new stack."""

    deployed: "Template | None"
    new: "Template"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChanges:
    """The changes that a deployment of stacks would make."""

    found: "tuple[StackChanges, ...]"  # changes of resources, by stack
    versions: Mapping[str, Versions]  # both templates of each stack
    refused: "tuple[Refusal, ...]"  # changes that must be allowed by name
    existing: "tuple[Existing, ...]"  # names to be created that already exist, and names that could not be checked
    owned: tuple[OwnedUnit, ...]  # units that another stack owns
    missing: tuple[MissingImport, ...]  # imports of the stacks that are not deployed
    keys: KeyFindings  # missing statements in the policies of imported keys
    log_roles: LogRoleFindings  # stacks whose access logs API Gateway has no role to write
    notes: tuple[str, ...]  # messages that do not refuse the deployment
    stuck: tuple[str, ...]  # stacks that CloudFormation cannot update in their current status
    unused: tuple[str, ...]  # allowed names without effect

    @classmethod
    def read(
        cls,
        aws: "Account",
        templates: Mapping[str, Mapping[str, Any]],
        *,
        allowed: Sequence[str],
        remade: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> "PlannedChanges":
        """Return what a deployment of these templates would change.

        Args:
            aws: The account.
            templates: The new template of each stack by the stack's name.
            allowed: Logical ids that may be replaced or deleted.
            remade: Templates of stacks that are deleted and created again, so that nothing is compared. Default: none.
        """
        from mlops_runtime.changes import compare, refusals, unused_names

        cloudformation = aws.client("cloudformation")
        versions, stuck = read_versions(cloudformation, templates)
        keys = read_keys(aws, templates, allow=allowed)
        networks = read_networks(aws, templates)
        deployed = {name: each.deployed.document for name, each in versions.items() if each.deployed is not None}
        log_roles = read_log_roles(aws, {**templates, **remade}, deployed)
        schemas = _schemas()
        found = [compare(name, version.deployed, version.new, schemas) for name, version in versions.items()]
        owned = list(owned_units(cloudformation, templates))
        missing, unchecked = missing_imports(aws.client("ssm"), {**remade, **templates})
        existing = [
            one
            for one in names_that_exist(aws, found, versions)
            if not any(each.covers(one.resource.stack, one.resource.name) for each in owned)
        ]
        return cls(
            found=tuple(found),
            versions=versions,
            refused=tuple(refusals(found, allowed)),
            existing=tuple(existing),
            owned=tuple(owned),
            missing=tuple(missing),
            keys=keys,
            log_roles=log_roles,
            notes=(*keys.notes, *networks, *log_roles.notes, *unchecked),
            stuck=tuple(stuck),
            unused=tuple(name for name in unused_names(found, allowed) if name not in keys.allowed),
        )

    @classmethod
    def together(cls, plans: "Sequence[PlannedChanges]") -> "PlannedChanges":
        """Merge the plans of several accounts and Regions into one."""
        allowed = frozenset(name for plan in plans for name in plan.keys.allowed)
        return cls(
            found=tuple(one for plan in plans for one in plan.found),
            versions={name: version for plan in plans for name, version in plan.versions.items()},
            refused=tuple(one for plan in plans for one in plan.refused),
            existing=tuple(one for plan in plans for one in plan.existing),
            owned=tuple(one for plan in plans for one in plan.owned),
            missing=tuple(one for plan in plans for one in plan.missing),
            keys=KeyFindings(problems=tuple(one for plan in plans for one in plan.keys.problems), allowed=allowed),
            log_roles=LogRoleFindings(problems=tuple(one for plan in plans for one in plan.log_roles.problems)),
            notes=tuple(one for plan in plans for one in plan.notes),
            stuck=tuple(one for plan in plans for one in plan.stuck),
            # a name that has an effect in any plan is used
            unused=tuple(name for name in plans[0].unused if all(name in plan.unused for plan in plans))
            if plans
            else (),
        )

    def problems(self) -> list[str]:
        """Return the reasons why the deployment is refused, each with its fix."""
        from mlops_runtime.changes import refusals_of

        taken = refusals_of(self.existing)
        return [
            *self.keys.problems,
            *self.log_roles.problems,
            *(refusal.text for refusal in self.refused),
            *(each.text for each in self.owned),
            *(each.text for each in self.missing),
            *([f"{len(taken)} of the names to be created already exist: {taken[0]}"] if taken else []),
            *(f"--allow {name} has no effect in this plan; remove it" for name in self.unused),
        ]

    def document(self) -> dict[str, object]:
        """Return the plan as JSON values."""
        from mlops_runtime.changes import document, existing_document

        return {**document(self.found, self.refused), "existing": existing_document(self.existing)}


def read_versions(
    cloudformation: Any, templates: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Versions], list[str]]:
    """Return both templates of each stack, and the stacks that cannot be updated in their current status."""
    from mlops_runtime.changes.template import Template

    versions, problems = {}, []
    for name, new in templates.items():
        description = describe_stack(cloudformation, name)
        status = "" if description is None else str(description["StackStatus"])
        if status in _STUCK or status.endswith("_IN_PROGRESS"):
            fix = _STUCK.get(status, "wait until it ends")
            problems.append(f"stack {name} is {status}: {fix}")
        if status == "ROLLBACK_COMPLETE":  # no resources remain: everything would be created
            description = None
        values = _values(cloudformation, description, new)
        deployed = None if description is None else Template(document=_deployed(cloudformation, name), values=values)
        versions[name] = Versions(deployed, Template(document=new, values=values))
    return versions, problems


def names_that_exist(
    aws: "Account", found: Sequence["StackChanges"], versions: Mapping[str, Versions]
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


def _schemas() -> dict[str, "ResourceSchema"]:
    from mlops_runtime.changes import read_schemas

    return read_schemas(json.loads(resources.files("mlops_cli").joinpath("replacement.json").read_text("utf-8")))


def describe_stack(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """Return CloudFormation's description of a stack; ``None`` if it is not deployed."""
    try:
        description: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if description["StackStatus"] in _DELETED else description


def doomed_changes(cloudformation: Any, names: Sequence[str]) -> "list[StackChanges]":
    """Return the changes that deleting stacks would make; stacks that are not deployed are skipped."""
    from mlops_runtime.changes import compare
    from mlops_runtime.changes.template import Template

    empty = Template(document={"Resources": {}}, values={})
    doomed = []
    for name in names:
        description = describe_stack(cloudformation, name)
        if description is not None:
            body = _deployed(cloudformation, name)
            deployed = Template(document=body, values=_values(cloudformation, description, body))
            doomed.append(compare(name, deployed, empty, _schemas()))
    return doomed


def _deployed(cloudformation: Any, name: str) -> dict[str, Any]:
    body = cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    return _from_yaml(body) if isinstance(body, str) else dict(body)


def _values(cloudformation: Any, description: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameter values of a deployment, previous values before defaults, and the Region."""
    values = {"AWS::Region": cloudformation.meta.region_name}
    declared = new.get("Parameters", {})
    # values of SSM parameters may change at any time
    known = {name: body for name, body in declared.items() if not str(body["Type"]).startswith("AWS::SSM::")}
    values |= {name: str(body["Default"]) for name, body in known.items() if "Default" in body}
    if description is not None:
        kept = {p["ParameterKey"]: p["ParameterValue"] for p in description.get("Parameters", [])}
        values |= {name: value for name, value in kept.items() if name in known}
    return values


def _from_yaml(text: str) -> dict[str, Any]:
    """Parse a YAML template, including the short forms of intrinsic functions."""
    import yaml

    class Loader(yaml.SafeLoader):
        """A separate class, so that CloudFormation's tags are not registered globally."""

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
