"""Steps before and after MiniStack's handlers of a CloudFormation type."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
# create(logical id, properties, stack) and update(physical id, old properties, new properties, ...)
_POSITIONS = {"create": 1, "update": 2}


def check(resource_type: str, step: Callable[[Properties], None], verbs: Sequence[str] = tuple(_POSITIONS)) -> None:
    """Call a step with the new properties before a resource is created or updated; it may raise."""
    handler = provisioners._RESOURCE_HANDLERS[resource_type]
    for verb in verbs:
        handler[verb] = partial(_checked, handler[verb], step, _POSITIONS[verb])


def _checked(work: Callable[..., Any], step: Callable[[Properties], None], position: int, *given: Any) -> Any:
    step(given[position])
    return work(*given)


def complete(resource_type: str, step: Callable[[str, Properties, Properties], Mapping[str, Any] | None]) -> None:
    """Call a step with physical id, old and new properties after a resource is created or updated; it may add attributes."""
    handler = provisioners._RESOURCE_HANDLERS[resource_type]
    create, update = handler["create"], handler.get("update")

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        physical_id, attributes = create(logical_id, properties, stack)
        try:
            return physical_id, {**attributes, **(step(physical_id, {}, properties) or {})}
        except Exception:
            handler["delete"](physical_id, properties)  # a failed create has no physical id to roll back by
            raise

    def updated(_physical_id: str, old: Properties, new: Properties, *rest: Any) -> Any:
        physical_id, attributes = update(_physical_id, old, new, *rest)
        return physical_id, {**attributes, **(step(physical_id, old, new) or {})}

    handler["create"] = created
    if update is not None:
        handler["update"] = updated


def done(response: Any) -> None:
    """Let a resource fail with the message of its service."""
    # claim: resource-fails-with-the-services-reason
    if response[0] >= 400:
        body = response[2]
        raise ValueError(body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body))
