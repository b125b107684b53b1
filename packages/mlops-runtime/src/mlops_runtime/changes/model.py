"""The shapes of a plan: what happens to each resource of a stack, and by which properties."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a deployment does to a resource."""

    CREATED = "created"
    CHANGED = "changed"
    REPLACED = "replaced"
    MAY_BE_REPLACED = "may be replaced"
    DELETED = "deleted"
    IMPOSSIBLE = "impossible"


class Effect(StrEnum):
    """What the change of one property does to its resource."""

    UPDATE = "update"
    REPLACE = "replace"
    MAY_REPLACE = "may replace"
    FUNCTION_DECIDES = "its function decides"


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyChange:
    """One property that changes.

    Args:
        path: Where it is, such as ``Environment.Variables.UNIT``; an attribute is in parentheses, such as ``(DeletionPolicy)``.
        effect: What that does to the resource.
        cause: Logical id of the resource whose own change gives another value. Default: the template changes it.
    """

    path: str
    effect: Effect
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """What happens to one resource.

    Args:
        logical_id: Its logical id.
        type: Its type in the new template, or in the deployed one if it is deleted.
        action: What happens.
        construct_path: Path of the construct, as CDK writes it into the template. Default: it is not known.
        properties: What changes. Default: all of it, as it is created or deleted.
        holds_data: Whether something is lost with it that a template cannot bring back. Default: nothing is.
        is_kept: Whether the old resource stays in the account, outside of the stack, when it is replaced or deleted.
            Default: it goes.
        moved_to: Logical id of an equal resource that is created in its place. Default: there is none.
        was: Its type in the deployed template, where it is another one. Default: the same.
    """

    logical_id: str
    type: str
    action: Action
    construct_path: str | None = None
    properties: tuple[PropertyChange, ...] = ()
    holds_data: bool = False
    is_kept: bool = False
    moved_to: str | None = None
    was: str | None = None

    @property
    def is_tags_only(self) -> bool:
        """Whether nothing but tags changes."""
        return bool(self.properties) and all(
            change.path.partition(".")[0].partition("[")[0] in {"Tags", "TagList", "HostedZoneTags"}
            for change in self.properties
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackChanges:
    """What happens to one stack.

    Args:
        stack: Its name.
        is_new: Whether there is no such stack yet.
        changes: Each resource that something happens to, in the template's order, what is deleted last.
    """

    stack: str
    is_new: bool
    changes: tuple[ResourceChange, ...]
