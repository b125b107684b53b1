"""Imports of units by stacks: imports that are not deployed yet, and importers that prevent the deletion of a unit's stack.

CloudFormation reads imported values from SSM parameters named in the template. A stack that owns a unit, feature store or registry
cannot be deleted while another stack imports it; the command reports all importers at once.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-supplied-parameter-types.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

_PARAMETER = "AWS::SSM::Parameter"
_READ = f"{_PARAMETER}::Value<"
_MOST = 10  # https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
_PUBLISHED = re.compile(r"/mlops-unit/(?P<unit>[^/]+)/\d+/(?P<profile>[^/]+)/(?P<field>.+)")
_REGISTRY = re.compile(r"/mlops/(?P<unit>[^/]+)/registry/(?P<registry>[^/]+)")
_STORE = re.compile(r"/mlops/(?P<unit>[^/]+)/features")
_DENIED = ("AccessDenied", "AccessDeniedException")


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingImport:
    """A unit, feature store or registry that a stack imports and that is not deployed."""

    stack: str  # name of the importing stack
    what: str  # description of the import, such as `unit 'demand'`
    fix: str  # what to do

    @property
    def text(self) -> str:
        """The problem and its fix, as one sentence."""
        return f"stack {self.stack} imports {self.what}, which is not deployed in this account and Region: {self.fix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingImport:
    """Stacks that import a unit, feature store or registry of a stack to delete."""

    stack: str  # name of the stack to delete
    what: str  # description of the import, such as `unit 'demand'`
    importers: tuple[str, ...]  # names of the stacks that import it

    @property
    def text(self) -> str:
        """The problem and its fix, as one sentence."""
        verb = "imports" if len(self.importers) == 1 else "import"
        return (
            f"stack {self.stack} has {self.what}, which {' and '.join(self.importers)} still {verb}: destroy "
            f"{'it' if len(self.importers) == 1 else 'them'} first"
        )


def missing_imports(ssm: Any, templates: Mapping[str, Mapping[str, Any]]) -> tuple[list[MissingImport], list[str]]:
    """Return imports that are neither deployed nor defined by one of the stacks, and notes on stacks that cannot be checked."""
    defined = {name for template in templates.values() for name in _defined(template)}
    problems, notes = [], []
    for stack, template in templates.items():
        names = sorted(set(_read(template)) - defined)
        try:
            missing = [name for part in _parts(names) for name in ssm.get_parameters(Names=part)["InvalidParameters"]]
            problems += [
                MissingImport(stack=stack, what=what, fix=_fix(ssm, found)) for what, found in _grouped(missing).items()
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _DENIED:
                raise
            notes.append(f"stack {stack}: cannot check whether its imports are deployed: {error}")
    return problems, notes


def remaining_imports(cloudformation: Any, doomed: Sequence[str]) -> Iterator[RemainingImport]:
    """Yield the imports by other stacks from stacks to delete, in the order of deletion; those not deployed are skipped."""
    pages = cloudformation.get_paginator("describe_stacks").paginate()
    readers = {
        str(stack["StackName"]): {str(each["ParameterValue"]) for each in stack.get("Parameters", ())}
        for page in pages
        for stack in page["Stacks"]
        if stack["StackStatus"] not in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")
    }
    for stack in doomed:
        own_values = readers.pop(stack, None)
        if own_values is None:
            continue
        try:
            pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
            resources = [each for page in pages for each in page["StackResourceSummaries"]]
        except ClientError as error:
            if "does not exist" in str(error):
                continue
            raise
        own = [str(each.get("PhysicalResourceId")) for each in resources if each["ResourceType"] == _PARAMETER]
        for what, names in _grouped(own).items():
            importers = sorted(reader for reader, values in readers.items() if values.intersection(names))
            if importers:
                yield RemainingImport(stack=stack, what=what, importers=tuple(importers))


def _read(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of units' parameters that a template reads."""
    for body in template.get("Parameters", {}).values():
        name = str(body.get("Default", ""))
        if str(body.get("Type", "")).startswith(_READ) and _what(name) is not None:
            yield name


def _defined(template: Mapping[str, Any]) -> Iterator[str]:
    for resource in template.get("Resources", {}).values():
        name = resource.get("Properties", {}).get("Name") if resource.get("Type") == _PARAMETER else None
        if isinstance(name, str):
            yield name


def _what(name: str) -> str | None:
    """Return a description of the unit, store or registry that published a parameter; ``None`` for other parameters."""
    if found := _PUBLISHED.fullmatch(name):
        of_store = found["field"].startswith("features/")
        return f"the feature store of unit {found['unit']!r}" if of_store else f"unit {found['unit']!r}"
    if found := _STORE.fullmatch(name):
        return f"the feature store of unit {found['unit']!r}"
    if found := _REGISTRY.fullmatch(name):
        return f"registry {found['registry']!r} of unit {found['unit']!r}"
    return None


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        what = _what(name)
        if what is not None:
            found.setdefault(what, []).append(name)
    return found


def _fix(ssm: Any, missing: Sequence[str]) -> str:
    """Return the fix: another profile or defaults, a newer version of the owner, or deploying it first."""
    found = _PUBLISHED.fullmatch(missing[0])
    if found is None or found["field"].startswith("features/"):
        return "deploy the stack that defines it first"
    root = missing[0].removesuffix(f"/{found['profile']}/{found['field']}")
    profiles = _profiles(ssm, root)
    if found["profile"] in profiles:
        fields = ", ".join(name.rpartition("/")[2] for name in missing)
        return f"its owner does not publish {fields}; deploy the owner with the library version of this stack"
    if profiles:
        return (
            f"it is deployed with the profile and platform rules {' and '.join(map(repr, profiles))}, but this stack imports "
            f"{found['profile']!r}; import it with the same profile= and defaults="
        )
    return f'deploy the stack that defines BusinessUnit(..., name="{found["unit"]}") first'


def _profiles(ssm: Any, root: str) -> list[str]:
    """Return the profiles and rules under which a unit is published; an empty list without permission to list them."""
    try:
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=root, Recursive=True)
        names = [str(each["Name"]).removeprefix(f"{root}/") for page in pages for each in page["Parameters"]]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _DENIED:
            raise
        return []
    return sorted({name.partition("/")[0] for name in names})


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _MOST):
        yield names[start : start + _MOST]
