"""A group as one training set uses it: under a name of its own, and by other columns of the entity rows. Standard library only."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_runtime.features.feature_group import FeatureGroup

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class GroupJoinError(ValueError):
    """A group cannot be joined as said; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupJoin:
    """One use of a group: the same group may be in a training set several times, each with its own name.

    Args:
        group: The group, or its name, or that of its table.
        name: What columns begin with, ``<name>__<feature>``. Default: the group's name, or that of its table where a set has
            several versions of the group.
        on: By key column of the group, the column of the entity rows that holds it. Default: those of the same names.
        columns: Features wanted. Default: all, of a group that is given itself.

    Raises:
        GroupJoinError: If one of these is of another type, a key is not one of the group, or columns are missing.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity, Feature
        >>> stores = FeatureGroup(
        ...     name="stores",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("size", "long", "square metres"),),
        ...     owner="demand",
        ...     description="stores",
        ... )
        >>> home = GroupJoin(group=stores, name="home", on={"store_id": "home_store"})
        >>> work = GroupJoin(group=stores, name="work", on={"store_id": "work_store"})
        >>> home.wanted, work.table
        (('size',), 'stores_v1')
    """

    group: FeatureGroup | str
    name: str | None = None
    on: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise GroupJoinError("; ".join(problems))

    @property
    def table(self) -> str:
        """The group as it is named: by its table where it is given itself."""
        return self.group.table_name if isinstance(self.group, FeatureGroup) else self.group

    @property
    def wanted(self) -> tuple[str, ...]:
        """Features wanted."""
        if self.columns is not None:
            return tuple(self.columns)
        return self.group.feature_names if isinstance(self.group, FeatureGroup) else ()


def _problems(join: GroupJoin) -> Iterator[str]:
    if not isinstance(join.group, FeatureGroup | str):
        yield f"group must be a FeatureGroup or the name of one, got {join.group!r}"
    if join.name is not None and (not isinstance(join.name, str) or not _NAME.fullmatch(join.name)):
        yield f"name must match {_NAME.pattern}, got {join.name!r}; leave it out for the group's"
    if not isinstance(join.on, Mapping) or not all(isinstance(text, str) for pair in join.on.items() for text in pair):
        yield f"on must be columns of the entity rows by key, such as {{'store_id': 'home_store'}}, got {join.on!r}"
    elif isinstance(join.group, FeatureGroup):
        yield from key_problems(join.group.name, join.on, join.group.entity_names)
    columns = join.columns
    if columns is None:
        if isinstance(join.group, str):
            yield f"columns must say which features of {join.group!r} are wanted; only of a FeatureGroup are all known"
    elif isinstance(columns, str) or not isinstance(columns, Sequence) or not all(isinstance(c, str) for c in columns):
        yield f"columns must be a list of names, got {columns!r}"


def key_problems(group: str, on: Mapping[str, str], keys: Sequence[str]) -> Iterator[str]:
    """Return what is wrong with a mapping of a group's keys.

    Args:
        group: What the group is called in messages.
        on: By key, the column of the entity rows.
        keys: The keys of the group.
    """
    others = [name for name in on if name not in keys]
    if others:
        yield f"on of {group} names {', '.join(map(repr, others))}, its keys are {', '.join(keys)}"
    columns = [on.get(name, name) for name in keys]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        yield f"on of {group} gives {', '.join(map(repr, twice))} to several keys; give each its own column"
