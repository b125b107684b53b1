"""References to undeclared names: CloudFormation rejects the template before it creates anything.

MiniStack ignores them in the order of resources, and passes the name itself to the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ministack.services.cloudformation import changesets, engine, handlers

from mlops_local import compat

_CHECKED = "(template, conditions, params=None)"

compat.expect(
    "ministack.services.cloudformation.engine",
    _intrinsic_references="(value)",
    validate_template_support=_CHECKED,
)
compat.expect("ministack.services.cloudformation.handlers", validate_template_support=_CHECKED)
compat.expect("ministack.services.cloudformation.changesets", validate_template_support=_CHECKED)


def install() -> None:
    """Check references wherever MiniStack validates a template: creation, update, change set and ValidateTemplate."""
    checked = _also_check(engine.validate_template_support)
    handlers.validate_template_support = checked
    changesets.validate_template_support = checked


def check_references(template: Mapping[str, Any]) -> None:
    """Reject references to names that a template does not declare.

    Raises:
        ValueError: With CloudFormation's message, listing every missing name.

    Example:
        >>> check_references({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "DependsOn": "Key"}}})
        Traceback (most recent call last):
        ...
        ValueError: Template format error: Unresolved resource dependencies [Key] in the Resources block of the template
    """
    # claim: cloudformation-refuses-what-is-not-declared
    resources = template.get("Resources") or {}
    declared = {*resources, *(template.get("Parameters") or {})}
    named = {
        "Resources": {name for resource in resources.values() for name in _named(resource)},
        "Outputs": {name for name, _ in engine._intrinsic_references(template.get("Outputs") or {})},
    }
    for block, names in named.items():
        missing = sorted(name for name in names - declared if not name.startswith("AWS::"))
        if missing:
            problem = f"Unresolved resource dependencies [{', '.join(missing)}] in the {block} block of the template"
            raise ValueError(f"Template format error: {problem}")


def _named(resource: Mapping[str, Any]) -> Iterator[str]:
    depends_on = resource.get("DependsOn", [])
    yield from [depends_on] if isinstance(depends_on, str) else depends_on
    for name, _ in engine._intrinsic_references(resource.get("Properties", {})):
        yield name


def _also_check(validate: Callable[..., None]) -> Callable[..., None]:
    def validate_all(
        template: dict[str, Any], conditions: dict[str, Any], params: dict[str, Any] | None = None
    ) -> None:
        validate(template, conditions, params=params)
        check_references(template)

    return validate_all
