"""A group as joined by one training set: with its own name, and on other columns of the entity rows. Standard library only."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_runtime.features.feature_group import FeatureGroup

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class GroupJoinError(ValueError):
    """The join of a group is invalid; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupJoin:
    """One join of a group; a training set may join the same group several times under different names.

    Args:
        group: The group, or its name, or the name of its table.
        name: Prefix of the columns, ``<name>__<feature>``. Default: the group's name, or its table's name if a set has several
            versions of the group.
        on: Column of the entity rows, by key column of the group. Default: columns of the same names.
        columns: Selected features. Default: all, if ``group`` is a ``FeatureGroup``.

    Raises:
        GroupJoinError: If an argument has another type, a key is not one of the group, or ``columns`` is missing.

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
        """Name of the group's table, or ``group`` if it is a name."""
        return self.group.table_name if isinstance(self.group, FeatureGroup) else self.group

    @property
    def wanted(self) -> tuple[str, ...]:
        """Selected features."""
        if self.columns is not None:
            return tuple(self.columns)
        return self.group.feature_names if isinstance(self.group, FeatureGroup) else ()


def _problems(join: GroupJoin) -> Iterator[str]:
    if not isinstance(join.group, FeatureGroup | str):
        yield f"group must be a FeatureGroup or the name of one, got {join.group!r}"
    if join.name is not None and (not isinstance(join.name, str) or not _NAME.fullmatch(join.name)):
        yield f"name must match {_NAME.pattern}, got {join.name!r}; omit it to use the group's"
    if not isinstance(join.on, Mapping) or not all(isinstance(text, str) for pair in join.on.items() for text in pair):
        yield f"on must be columns of the entity rows by key, such as {{'store_id': 'home_store'}}, got {join.on!r}"
    elif isinstance(join.group, FeatureGroup):
        yield from key_problems(join.group.name, join.on, join.group.entity_names)
    columns = join.columns
    if columns is None:
        if isinstance(join.group, str):
            yield f"columns must list the selected features of {join.group!r}; only a FeatureGroup has a default, all its features"
    elif isinstance(columns, str) or not isinstance(columns, Sequence) or not all(isinstance(c, str) for c in columns):
        yield f"columns must be a list of names, got {columns!r}"


def key_problems(group: str, on: Mapping[str, str], keys: Sequence[str]) -> Iterator[str]:
    """Yield the problems of a mapping of a group's keys.

    Args:
        group: Name of the group in messages.
        on: Column of the entity rows, by key.
        keys: The keys of the group.
    """
    others = [name for name in on if name not in keys]
    if others:
        yield f"on of {group} names {', '.join(map(repr, others))}, its keys are {', '.join(keys)}"
    columns = [on.get(name, name) for name in keys]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        yield f"on of {group} gives {', '.join(map(repr, twice))} to several keys; give each its own column"
