"""Find business units that a stack would define although another stack owns them, before CloudFormation fails."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.unit_entries import ROOT, UNIT_ROOT

_PARAMETER = "AWS::SSM::Parameter"
_ENTRY = re.compile(r"/mlops/([^/]+)/unit")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedUnit:
    """A unit that a stack would define although another one owns it.

    Args:
        stack: Name of the stack.
        unit: Name of the unit.
        owner: Name of the stack that owns it.
    """

    stack: str
    unit: str
    owner: str

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
    from botocore.exceptions import ClientError

    try:
        found = cloudformation.describe_stack_resources(PhysicalResourceId=name)["StackResources"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "ValidationError"):
            return None
        raise
    return next((str(one["StackName"]) for one in found if _is_held(one, name)), None)


def _is_held(resource: Mapping[str, Any], name: str) -> bool:
    return resource.get("PhysicalResourceId") == name and resource.get("ResourceStatus") != "DELETE_COMPLETE"
