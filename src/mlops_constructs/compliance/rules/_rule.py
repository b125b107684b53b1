"""Rules and violations of ``MlopsChecks``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlops_constructs.compliance.assembly import Assembly, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One resource that violates a rule.

    ``location`` is a path in the resource. ``detail`` distinguishes findings of one rule on one resource, such as by the name of a
    state; it is in brackets in the id, like the wildcards of cdk-nag's rules.
    """

    resource: Resource
    location: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Args:
        id: Name of the rule, without the prefix ``Mlops-``.
        problem: Description of the violation, as one sentence.
        fix: Required change, as one sentence.
        source: Page of the AWS documentation.
        check: Yields the violations in all templates of an app.
    """

    id: str
    problem: str
    fix: str
    source: str
    check: Callable[[Assembly], Iterator[Violation]]


def violation(resource: Resource, location: str, detail: str = "") -> Violation:
    """Return a violation; its detail starts with the name of the state that creates the resource, if there is one."""
    parts = [part for part in (resource.state, detail) if part]
    where = f"{resource.state}.{location}" if resource.state else f"Properties.{location}"
    return Violation(resource=resource, location=where, detail=":".join(parts))
