"""Policy statements between both sides of each promotion, read from templates, and statements without a counterpart.

Templates are read instead of the declarations they come from, to include overrides, and keys and buckets of other owners. Pure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mlops_runtime.contracts.events import DetailType
from mlops_runtime.promotion.environment_link import LinkedEnvironment, LinkRole, inbox_arn, link_role_arn
from mlops_runtime.registry.package_approval import is_registry_parameter

_Statement = Mapping[str, Any]
# policy of the role itself, or of a resource that the role uses
StatementKind = Literal["identity", "resource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedTemplate:
    """The template of a stack, and its account and Region."""

    stack: str
    place: LinkedEnvironment
    resources: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatement:
    """One statement: ``role`` is the ARN of its role, ``resource`` the logical id of the policy's resource in ``stack``."""

    kind: StatementKind
    role: str
    stack: str
    resource: str
    type: str
    statement: _Statement

    @property
    def actions(self) -> tuple[str, ...]:
        """Its actions."""
        return _several(self.statement.get("Action"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPolicy:
    """Statements that the policy of a source's repository needs if a target pulls images from it.

    ``repository`` is its ARN, ending with ``/*`` if no role of the target's stack names one. Repositories are not part of the
    stacks: their owner adds the statements.
    """

    repository: str
    statements: tuple[_Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLink:
    """Promotions of a group from ``source`` to ``target``.

    ``source_stack`` and ``target_stack`` are absent if no template of that account and Region has the registry. ``problems`` are
    permissions of only one side, and a side whose stack does not declare the other one. ``repositories`` is empty if the target has
    every image in its own registry.
    """

    unit: str
    group: str
    source: LinkedEnvironment
    target: LinkedEnvironment
    source_stack: str | None
    target_stack: str | None
    statements: tuple[LinkStatement, ...]
    problems: tuple[str, ...]
    repositories: tuple[RepositoryPolicy, ...] = ()


def repository_statements(
    *, unit: str, model: str, target: LinkedEnvironment, organization: str | None = None
) -> tuple[dict[str, object], ...]:
    """Return the statements that a repository's policy needs for a target that pulls from it.

    The role that describes an image has a fixed name, and is named by a condition. Roles of endpoints have generated names, so the
    account's root is allowed to pull, and nothing else; the account decides which of its roles may.

    See: https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html

    Args:
        model: Name of the model, without the unit's.
        target: The environment that pulls.
        organization: Organization that the account must belong to. Default: any.

    Example:
        >>> staging = LinkedEnvironment(account="222222222222", region="eu-west-1")
        >>> find, pull = repository_statements(unit="demand", model="forecast", target=staging)
        >>> pull["Action"]
        ['ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer']
    """
    root = {"AWS": f"arn:{target.partition}:iam::{target.account}:root"}
    role = link_role_arn("promote", unit=unit, model=model, environment=target)
    member = {} if organization is None else {"StringEquals": {"aws:PrincipalOrgID": organization}}
    find = {"Action": ["ecr:DescribeImages"], "Condition": {"ArnEquals": {"aws:PrincipalArn": role}, **member}}
    pull = {"Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], **({"Condition": member} if member else {})}
    return tuple({"Effect": "Allow", "Principal": root, **each} for each in (find, pull))


def template_links(templates: Sequence[PlacedTemplate]) -> tuple[TemplateLink, ...]:
    """Return the promotions that templates declare, each with the statements of both sides.

    Args:
        templates: Templates of stacks whose account and Region are known.
    """
    registries = [each for template in templates for each in _registries(template)]
    offered = {link for each in registries for link in each.offers()}
    taken = {link for each in registries if (link := each.takes()) is not None}
    return tuple(
        _link(found, registries, templates, is_offered=found in offered, is_taken=found in taken)
        for found in sorted(offered | taken, key=lambda each: (each.group, str(each.source), str(each.target)))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A link between a source and a target."""

    unit: str
    group: str
    source: LinkedEnvironment
    target: LinkedEnvironment

    @property
    def model(self) -> str:
        return self.group.removeprefix(f"{self.unit}-")

    def role_arns(self, environment: LinkedEnvironment) -> tuple[str, ...]:
        return tuple(
            link_role_arn(purpose, unit=self.unit, model=self.model, environment=environment)
            for purpose in get_args(LinkRole)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registry:
    """A registry of a template, found by its SSM parameter."""

    template: PlacedTemplate
    unit: str
    group: str
    entry: Mapping[str, Any]

    def takes(self) -> _Found | None:
        """Return the link from its source; None without a source."""
        inbox = self.entry.get("inbox")
        if not inbox:
            return None
        source = LinkedEnvironment(account=inbox["source"]["account"], region=inbox["source"]["region"])
        return _Found(unit=self.unit, group=self.group, source=source, target=self.template.place)

    def offers(self) -> Iterator[_Found]:
        """Yield the links to its targets, from rules that send events of releases to an inbox."""
        for resource in _of_type(self.template, "AWS::Events::Rule").values():
            pattern = resource.get("EventPattern", {})
            subjects = pattern.get("detail", {}).get("subject")
            if DetailType.MODEL_RELEASED.value not in pattern.get("detail-type", []) or subjects != [self.group]:
                continue
            for each in resource.get("Targets", []):
                if (target := self._behind(each.get("Arn"))) is not None:
                    yield _Found(unit=self.unit, group=self.group, source=self.template.place, target=target)

    def _behind(self, arn: object) -> LinkedEnvironment | None:
        parts = arn.split(":") if isinstance(arn, str) else []
        if len(parts) < 6:
            return None
        place, model = LinkedEnvironment(account=parts[4], region=parts[3]), self.group.removeprefix(f"{self.unit}-")
        return place if arn == inbox_arn(unit=self.unit, model=model, environment=place) else None


def _registries(template: PlacedTemplate) -> Iterator[_Registry]:
    for properties in _of_type(template, "AWS::SSM::Parameter").values():
        name = properties.get("Name")
        if isinstance(name, str) and is_registry_parameter(name):
            entry = json.loads(_text(properties["Value"]))
            yield _Registry(template=template, unit=entry["unit"], group=entry["group"], entry=entry)


def _link(
    found: _Found,
    registries: Iterable[_Registry],
    templates: Sequence[PlacedTemplate],
    *,
    is_offered: bool,
    is_taken: bool,
) -> TemplateLink:
    stacks = {each.template.place: each.template.stack for each in registries if each.group == found.group}
    places = {each.place for each in templates}
    statements = tuple(
        statement
        for here, there in ((found.source, found.target), (found.target, found.source))
        for template in templates
        if template.place == here
        for statement in (*_admitting(template, found.role_arns(there)), *_granted(template, found, here, there))
    )
    problems = []
    if not is_offered and found.source in places:
        problems.append(
            f"{_named(found.target, stacks)} takes {found.group} from {_named(found.source, stacks)}, which does not release it "
            "there; name that environment in deploy_to"
        )
    if not is_taken and found.target in places:
        problems.append(
            f"{_named(found.source, stacks)} releases {found.group} to {_named(found.target, stacks)}, which takes none from "
            "there; define its registry with ModelRegistry.from_environment(source=...)"
        )
    if is_offered and is_taken:
        problems += _half_problems(statements)
    return TemplateLink(
        unit=found.unit,
        group=found.group,
        source=found.source,
        target=found.target,
        source_stack=stacks.get(found.source),
        target_stack=stacks.get(found.target),
        statements=statements,
        problems=tuple(problems),
        repositories=tuple(_repositories(found, statements, templates)),
    )


def _repositories(
    found: _Found, statements: Sequence[LinkStatement], templates: Sequence[PlacedTemplate]
) -> Iterator[RepositoryPolicy]:
    """Yield policies of repositories from which the target's roles pull, if its machine may describe images in the source."""
    if not any(each.kind == "identity" and "ecr:DescribeImages" in each.actions for each in statements):
        return
    start = f":ecr:{found.source.region}:{found.source.account}:repository/"
    names = {
        resource.partition(start)[2]
        for template in templates
        if template.place == found.target
        for each in template.resources.values()
        for statement in _statements(each.get("Properties", {}))
        if "ecr:GetDownloadUrlForLayer" in _several(statement.get("Action"))
        for resource in _several(statement.get("Resource"))
        if start in resource
    }
    conditions = (each.statement.get("Condition", {}) for each in statements if each.kind == "resource")
    organizations = (each.get("StringEquals", {}).get("aws:PrincipalOrgID") for each in conditions)
    needed = repository_statements(
        unit=found.unit,
        model=found.model,
        target=found.target,
        organization=next((each for each in organizations if each is not None), None),
    )
    for name in sorted(names) or ["*"]:
        yield RepositoryPolicy(repository=found.source.arn("ecr", f"repository/{name}"), statements=needed)


def _named(place: LinkedEnvironment, stacks: Mapping[LinkedEnvironment, str]) -> str:
    where = f"{place.account} {place.region}"
    return f"stack {stacks[place]} ({where})" if place in stacks else where


def _half_problems(statements: Sequence[LinkStatement]) -> Iterator[str]:
    """Yield permissions of only one side, since a call needs both; policies of repositories need not be in templates."""
    both = {
        kind: {(each.role, action): each for each in statements if each.kind == kind for action in each.actions}
        for kind in get_args(StatementKind)
    }
    for role, action in sorted(both["identity"].keys() - both["resource"].keys()):
        stack = both["identity"][role, action].stack
        if action.startswith("ecr:"):
            continue
        yield f"{role} of stack {stack} may call {action}, and no policy of the other side's resources lets it"
    for role, action in sorted(both["resource"].keys() - both["identity"].keys()):
        each = both["resource"][role, action]
        yield f"{each.resource} of stack {each.stack} lets {role} call {action}, and no policy of that role allows it"


def _admitting(template: PlacedTemplate, roles: Sequence[str]) -> Iterator[LinkStatement]:
    """Yield statements of resource policies with a condition on one of the roles."""
    for logical_id, resource in template.resources.items():
        for statement in _statements(resource.get("Properties", {})):
            held = _several(statement.get("Condition", {}).get("ArnEquals", {}).get("aws:PrincipalArn"))
            for role in roles:
                if "Principal" in statement and role in held:
                    yield _placed("resource", role, template, logical_id, statement)


def _granted(
    template: PlacedTemplate, found: _Found, here: LinkedEnvironment, there: LinkedEnvironment
) -> Iterator[LinkStatement]:
    """Yield statements of the link's roles here about resources there."""
    roles = {arn.rpartition("/")[2]: arn for arn in found.role_arns(here)}
    names = {
        logical_id: role
        for logical_id, properties in _of_type(template, "AWS::IAM::Role").items()
        if (role := roles.get(str(properties.get("RoleName")))) is not None
    }
    for logical_id, resource in template.resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
            attached = [each["Ref"] for each in properties.get("Roles", []) if isinstance(each, dict) and "Ref" in each]
            document = properties.get("PolicyDocument", {})
        else:
            attached, document = [logical_id], properties.get("Policies", [])
        for each in attached:
            if each in names:
                for statement in _statements(document):
                    if _is_about(statement, there):
                        yield _placed("identity", names[each], template, logical_id, statement)


def _is_about(statement: _Statement, place: LinkedEnvironment) -> bool:
    """Return whether a statement names an account and Region, or resources of the account in any Region."""
    accounts = statement.get("Condition", {}).get("StringEquals", {}).get("aws:ResourceAccount")
    names = f":{place.region}:{place.account}:"
    return place.account in _several(accounts) or any(names in each for each in _several(statement.get("Resource")))


def _placed(
    kind: StatementKind, role: str, template: PlacedTemplate, logical_id: str, statement: _Statement
) -> LinkStatement:
    return LinkStatement(
        kind=kind,
        role=role,
        stack=template.stack,
        resource=logical_id,
        type=str(template.resources[logical_id]["Type"]),
        statement=statement,
    )


def _statements(value: object) -> Iterator[_Statement]:
    """Yield every statement of policies below a property."""
    if isinstance(value, Mapping):
        if "Effect" in value and "Action" in value:
            yield value
            return
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _statements(each)


def _of_type(template: PlacedTemplate, kind: str) -> dict[str, Mapping[str, Any]]:
    return {
        name: resource.get("Properties", {})
        for name, resource in template.resources.items()
        if resource["Type"] == kind
    }


def _text(value: Any) -> str:
    """Return a document without its references; the fields that identify links are never references."""
    separator, parts = value["Fn::Join"] if isinstance(value, Mapping) else ("", [value])
    return str(separator).join(part if isinstance(part, str) else "" for part in parts)


def _several(value: object) -> tuple[str, ...]:
    """Return the strings of a member with one value or a list, with references in ``Fn::Sub`` notation."""
    if value is None:
        return ()
    return tuple(map(shown, value)) if isinstance(value, list) else (shown(value),)


def shown(value: object) -> str:
    """Return a string of a template with its references in ``Fn::Sub`` notation.

    Example:
        >>> shown({"Fn::Join": ["", [{"Fn::GetAtt": ["Artifacts", "Arn"]}, "/models/*"]]})
        '${Artifacts.Arn}/models/*'
    """
    if not isinstance(value, Mapping):
        return str(value)
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(map(shown, parts))
    if "Ref" in value:
        return f"${{{value['Ref']}}}"
    if "Fn::GetAtt" in value:
        return f"${{{'.'.join(value['Fn::GetAtt'])}}}"
    return json.dumps(value)


def shown_statement(statement: _Statement) -> dict[str, object]:
    """Return a statement with every string formatted by ``shown``.

    Example:
        >>> shown_statement({"Effect": "Allow", "Action": "kms:Decrypt", "Resource": {"Ref": "Key"}})["Resource"]
        '${Key}'
    """
    return {name: _shown(value) for name, value in statement.items()}


def _shown(value: object) -> object:
    if isinstance(value, list):
        return [_shown(each) for each in value]
    is_reference = isinstance(value, Mapping) and len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref"))
    if isinstance(value, Mapping) and not is_reference:
        return {name: _shown(each) for name, each in value.items()}
    return shown(value)
