"""How long CloudFormation waited for custom resources, relative to their timeouts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

HOUR = 3600.0  # default without a ServiceTimeout
_FAMILY = ("Custom::", "AWS::CloudFormation::CustomResource")


class Event(Protocol):
    """An event of a resource, with its time."""

    @property
    def logical_id(self) -> str:
        """The resource's id in the template."""

    @property
    def status(self) -> str:
        """Status such as ``CREATE_COMPLETE``."""

    @property
    def at(self) -> float:
        """Epoch seconds of the cloud's clock."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a custom resource's function: request, duration, and timeout."""

    logical_id: str
    request: str
    seconds: float
    timeout: float

    @property
    def share(self) -> float:
        """Duration relative to the timeout: 1 and more is a timeout."""
        return self.seconds / self.timeout


def calls(events: Iterable[Event], resources: Mapping[str, Mapping[str, Any]]) -> list[Call]:
    """List the calls of custom resources among the events of an operation.

    Args:
        events: The events, oldest first.
        resources: The template's resources.
    """
    begun: dict[str, Event] = {}
    found = []
    for event in events:
        body = resources.get(event.logical_id, {})
        if not str(body.get("Type", "")).startswith(_FAMILY):
            continue
        request, _, state = event.status.partition("_")
        if state == "IN_PROGRESS":
            begun[event.logical_id] = event
        elif (first := begun.pop(event.logical_id, None)) is not None:
            timeout = float(body.get("Properties", {}).get("ServiceTimeout", HOUR))
            found.append(Call(event.logical_id, request, event.at - first.at, timeout))
    return found


def overdue(made: Iterable[Call]) -> list[str]:
    """Return the calls that took their whole ServiceTimeout."""
    return [
        f"{call.request} of {call.logical_id} took {call.seconds:.0f} s of the {call.timeout:.0f} s of its ServiceTimeout"
        for call in made
        if call.share >= 1
    ]
