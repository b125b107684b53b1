"""Report of a deployment's plan, as lines for people and as JSON for programs."""

from collections.abc import Iterator, Sequence

from mlops_runtime.changes.existing_resources import Existing
from mlops_runtime.changes.plan import LOSING, Action, Effect, PropertyChange, Refusal, ResourceChange, StackChanges

FORMAT = "mlops.changes/1"
_SIGNS = {
    Action.CREATED: "+",
    Action.CHANGED: "~",
    Action.REPLACED: "!",
    Action.MAY_BE_REPLACED: "?",
    Action.DELETED: "-",
    Action.IMPOSSIBLE: "x",
}
_SHOWN_PROPERTIES = 6


def lines(stacks: Sequence[StackChanges]) -> Iterator[str]:
    """Yield the plan as lines for people."""
    for found in stacks:
        if not found.changes:
            yield f"{found.stack}: no changes"
            continue
        counts = [(action, sum(c.action is action for c in found.changes)) for action in Action]
        summary = ", ".join(f"{count} {action.value}" for action, count in counts if count)
        yield f"{found.stack}{' (new)' if found.is_new else ''}: {summary}"
        if found.is_new:  # every resource is created, so a list would add nothing
            continue
        for change in found.changes:
            yield f"  {_line(change)}"


def losses(stacks: Sequence[StackChanges]) -> Iterator[str]:
    """Yield the lines of resources that are deleted or replaced."""
    for found in stacks:
        for change in found.changes:
            if change.action in LOSING:
                yield f"{found.stack}: {_line(change)}"


def document(stacks: Sequence[StackChanges], refused: Sequence[Refusal]) -> dict[str, object]:
    """Return the plan as JSON values."""
    return {
        "format": FORMAT,
        "refused": [{"stack": r.stack, "logical_id": r.logical_id, "reason": r.text} for r in refused],
        "stacks": [
            {"stack": found.stack, "is_new": found.is_new, "changes": [_entry(change) for change in found.changes]}
            for found in stacks
        ],
    }


def existing_document(existing: Sequence[Existing]) -> list[dict[str, object]]:
    """Return the existing names that would be created, and those that could not be checked, as JSON values."""
    return [
        {
            "stack": one.resource.stack,
            "logical_id": one.resource.logical_id,
            "type": one.resource.type,
            "construct_path": one.resource.construct_path,
            "name": one.resource.name,
            "parent": one.resource.parent or None,
            "identifier": dict(one.identifier),
            "not_looked_at": one.reason,
        }
        for one in existing
    ]


def _entry(change: ResourceChange) -> dict[str, object]:
    return {
        "logical_id": change.logical_id,
        "type": change.type,
        "construct_path": change.construct_path,
        "action": change.action.value,
        "holds_data": change.holds_data,
        "is_kept": change.is_kept,
        "is_tags_only": change.is_tags_only,
        "moved_to": change.moved_to,
        "was": change.was,
        "properties": [{"path": c.path, "effect": c.effect.value, "cause": c.cause} for c in change.properties],
    }


def _line(change: ResourceChange) -> str:
    text = f"{_SIGNS[change.action]} {change.logical_id} {change.type} {change.action.value}"
    if change.was is not None:
        text += f": it is {change.was} now"
    if change.properties:
        # properties that cause the replacement come first
        ordered = sorted(change.properties, key=lambda c: c.effect not in (Effect.REPLACE, Effect.MAY_REPLACE))
        shown = [_property(c, change.action) for c in ordered[:_SHOWN_PROPERTIES]]
        more = len(ordered) - _SHOWN_PROPERTIES
        text += f": {', '.join(shown)}{f' and {more} more' if more > 0 else ''}"
    if change.is_tags_only:
        text += " (tags only)"
    if change.holds_data and change.action not in (Action.CREATED, Action.CHANGED):
        text += " [holds data" + ("; the old one is retained outside of the stack]" if change.is_kept else "]")
    if change.moved_to is not None:
        text += f" [equal to the new {change.moved_to}]"
    return text


def _property(change: PropertyChange, action: Action) -> str:
    text = change.path
    if change.effect is Effect.FUNCTION_DECIDES or (
        change.effect is not Effect.UPDATE and action is not Action.CHANGED
    ):
        text += f" ({change.effect.value})"
    return text if change.cause is None else f"{text} through {change.cause}"
