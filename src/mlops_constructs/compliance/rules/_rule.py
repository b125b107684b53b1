"""What a rule of ``MlopsChecks`` is, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlops_constructs.compliance.assembly import Assembly, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One resource that breaks a rule.

    ``location`` is a path in the resource. ``detail`` tells findings of one rule on one resource apart, such as the name of a
    state; it is in brackets in the id, as the wildcards of cdk-nag's rules do.
    """

    resource: Resource
    location: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Args:
        id: Its name behind ``Mlops-``.
        problem: What is wrong where it fires, as one sentence.
        fix: What to change, as one sentence.
        source: The page of AWS that says so.
        check: Yields what breaks it, in all templates of an app.
    """

    id: str
    problem: str
    fix: str
    source: str
    check: Callable[[Assembly], Iterator[Violation]]


def violation(resource: Resource, location: str, detail: str = "") -> Violation:
    """Return a violation; what a state makes carries the state's name before its detail."""
    parts = [part for part in (resource.state, detail) if part]
    where = f"{resource.state}.{location}" if resource.state else f"Properties.{location}"
    return Violation(resource=resource, location=where, detail=":".join(parts))
