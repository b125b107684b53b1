"""``features.lock.json``: the Iceberg field ids of every feature table, kept in git.

Iceberg finds a column by its id, and CloudFormation writes the ids that it is told: an id used twice brings old data back under a
new name, without an error. The file is append-only. ``extend`` gives ids to what is new; what readers of the table would not
survive is refused with the line to change. Standard library only.

See: https://iceberg.apache.org/spec/#schema-evolution
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.features.group import EVENT_TIME, RESERVED, Column, FeatureGroup, FeatureGroupError, FeatureType

FIRST_PARTITION_ID = 1000  # https://iceberg.apache.org/spec/#partition-evolution
_WIDENINGS = {("int", "long"), ("float", "double")}  # https://iceberg.apache.org/spec/#schema-evolution
_ICEBERG_TYPES = {"timestamp": "timestamptz"}


class FeatureLockError(ValueError):
    """Feature groups and lock file do not agree, or the file is damaged.

    Attributes:
        problems: Each problem with the line to change.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedField:
    """One column of a table with the id that it keeps for ever."""

    id: int
    name: str
    type: FeatureType
    required: bool

    @property
    def iceberg_type(self) -> str:
        """The type's name in an Iceberg schema and in ``AWS::Glue::Table``."""
        return _ICEBERG_TYPES.get(self.type, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPartition:
    """One partition field: ``transform`` of the column whose id is ``source_id``."""

    id: int
    source_id: int
    name: str
    transform: Literal["month"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedTable:
    """Ids of one table. ``next_field_id`` never falls."""

    entities: tuple[str, ...]
    next_field_id: int
    fields: tuple[LockedField, ...]
    partition: tuple[LockedPartition, ...]

    @property
    def identifier_field_ids(self) -> tuple[int, ...]:
        """Ids of the columns that identify a row: entities, event time, created time, ingest id."""
        names = {*self.entities, *RESERVED}
        return tuple(f.id for f in self.fields if f.name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLock:
    """The lock file's content: one entry a table, also for tables that are no longer declared.

    Example:
        >>> from mlops_runtime.features.group import Entity, Feature
        >>> group = FeatureGroup(
        ...     name="stock",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("on_hand", "long", "units on hand"),),
        ...     owner="demand",
        ...     description="stock",
        ... )
        >>> [(f.id, f.name, f.iceberg_type) for f in FeatureLock().extend([group]).table(group).fields][1:3]
        [(2, 'event_time', 'timestamptz'), (3, 'created_time', 'timestamptz')]
    """

    tables: Mapping[str, LockedTable] = field(default_factory=dict)
    format: Literal["mlops.feature-lock/1"] = "mlops.feature-lock/1"

    @classmethod
    def read(cls, path: Path) -> "FeatureLock":
        """Read a lock file.

        Raises:
            FeatureLockError: If it is absent, not valid, or uses an id twice.
        """
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise FeatureLockError(
                [f"no lock file at {path}; make it: python -m mlops_runtime.features.lock <module>:<groups> {path}"]
            ) from None
        try:
            lock = from_json(cls, text)
        except ContractError as error:
            raise FeatureLockError([f"{path.name}: {error}; restore it from git"]) from error
        problems = [f"{path.name}: {p}" for name, table in lock.tables.items() for p in _damage(name, table)]
        if problems:
            raise FeatureLockError(problems)
        return lock

    def extend(self, groups: Iterable[FeatureGroup]) -> "FeatureLock":
        """Return the lock with ids for new tables and new columns.

        Raises:
            FeatureLockError: With every change that readers would not survive.
        """
        problems: list[str] = []
        tables = dict(self.tables)
        for group in groups:
            locked = self.tables.get(group.table_name)
            if locked is None:
                tables[group.table_name] = _new_table(group)
                continue
            found = list(self._incompatible(group, locked))
            problems += found
            if not found:
                tables[group.table_name] = _extended(group, locked)
        if problems:
            raise FeatureLockError(problems)
        return replace(self, tables=dict(sorted(tables.items())))

    def check(self, groups: Iterable[FeatureGroup]) -> None:
        """Check that the lock covers exactly what the groups declare.

        Raises:
            FeatureLockError: With every difference, each with the line to change.
        """
        groups = tuple(groups)
        extended = self.extend(groups)
        problems = []
        for group in groups:
            new, old = extended.tables[group.table_name], self.tables.get(group.table_name)
            if old is None:
                problems.append(f"{group.table_name} has no ids in the lock file; {_HOW_TO_LOCK}")
            elif new != old:
                known = {f.name: f for f in old.fields}
                changed = [f.name for f in new.fields if known.get(f.name) != f]
                problems.append(f"{group.table_name}: {', '.join(changed)} not yet in the lock file; {_HOW_TO_LOCK}")
        if problems:
            raise FeatureLockError(problems)

    def table(self, group: FeatureGroup) -> LockedTable:
        """Return the ids of a group's table.

        Raises:
            FeatureLockError: If the lock does not cover the group.
        """
        self.check([group])
        return self.tables[group.table_name]

    def render(self) -> str:
        """Return the file's text: stable order, one line a column, so that a diff shows what changed."""
        lines = ["{", f'  "format": {json.dumps(self.format)},', '  "tables": {']
        for name, table in sorted(self.tables.items()):
            lines += [
                f"    {json.dumps(name)}: {{",
                f'      "entities": {json.dumps(table.entities)},',
                f'      "next_field_id": {table.next_field_id},',
                '      "fields": [',
                ",\n".join(f"        {_line(f)}" for f in table.fields),
                "      ],",
                '      "partition": [',
                ",\n".join(f"        {_line(p)}" for p in table.partition),
                "      ]",
                "    },",
            ]
        lines[-1] = lines[-1].removesuffix(",") if self.tables else lines[-1]
        return "\n".join([*lines, "  }", "}", ""])

    def _incompatible(self, group: FeatureGroup, locked: LockedTable) -> Iterable[str]:
        where = f"FeatureGroup({group.name!r}, version={group.version})"
        bump = f"or set version={group.version + 1}"
        if group.entity_names != locked.entities:
            yield (
                f"{where}: entities are {list(group.entity_names)}, the table was made with {list(locked.entities)}; "
                f"put them back, {bump}"
            )
        declared = {c.name: c for c in group.columns}
        known = {f.name for f in locked.fields}
        fresh = [c for c in group.columns if c.name not in known]
        for old in locked.fields:
            at = f"features.lock.json line {self._line_of(group.table_name, old)}"
            new = declared.get(old.name)
            if new is None:
                renamed = next((c.name for c in fresh if c.type == old.type), None)
                guess = f" ({renamed!r} looks like its new name)" if renamed else ""
                yield (
                    f"{where}: {old.name!r} (id {old.id}, {at}) is no longer declared{guess}; "
                    f"put Feature({old.name!r}, {old.type!r}, ...) back, {bump}"
                )
                continue
            if new.type != old.type and (old.type, new.type) not in _WIDENINGS:
                yield (
                    f"{where}: {old.name!r} ({at}) has type {old.type!r} and cannot become {new.type!r}, only int may become "
                    f"long and float double; set its type back to {old.type!r}, {bump}"
                )
            if new.required and not old.required:
                yield (
                    f"{where}: {old.name!r} ({at}) is nullable and may hold nulls; "
                    f"set nullable=True in Feature({old.name!r}), {bump}"
                )
        for column in fresh:
            if column.required and column.name not in group.entity_names:
                yield (
                    f"{where}: new column {column.name!r} has no value in the rows already there; "
                    f"set nullable=True in Feature({column.name!r}), {bump}"
                )

    def _line_of(self, table: str, column: LockedField) -> int:
        lines = self.render().splitlines()
        start = lines.index(f"    {json.dumps(table)}: {{")
        return next(n for n, text in enumerate(lines[start:], start + 1) if text.strip().rstrip(",") == _line(column))


_HOW_TO_LOCK = "extend it: python -m mlops_runtime.features.lock <module>:<groups> <lock file>"


def write_lock(groups: Sequence[FeatureGroup], path: Path) -> FeatureLock:
    """Extend the lock file at ``path`` (made if absent) by what the groups add, and return it.

    Raises:
        FeatureLockError: With every change that readers would not survive; the file is left as it was.
    """
    before = FeatureLock.read(path) if path.exists() else FeatureLock()
    after = before.extend(groups)
    if after != before:
        path.write_text(after.render())
    return after


def _line(value: LockedField | LockedPartition) -> str:
    return json.dumps({name: getattr(value, name) for name in value.__slots__})


def _damage(name: str, table: LockedTable) -> Iterable[str]:
    ids = [f.id for f in table.fields]
    names = [f.name for f in table.fields]
    partitions = [p.id for p in table.partition]
    for number in sorted({i for i in ids if ids.count(i) > 1}):
        yield f"{name}: id {number} is used {ids.count(number)} times; restore the file from git"
    for column in sorted({n for n in names if names.count(n) > 1}):
        yield f"{name}: column {column!r} appears {names.count(column)} times; restore the file from git"
    if table.next_field_id <= max(ids, default=0):
        yield f"{name}: next_field_id must be above {max(ids)}, got {table.next_field_id}; an id must never be given twice"
    if len(set(partitions)) != len(partitions) or any(p < FIRST_PARTITION_ID for p in partitions):
        yield f"{name}: partition ids must be distinct and at least {FIRST_PARTITION_ID}, got {partitions}"
    for p in table.partition:
        if p.source_id not in ids:
            yield f"{name}: partition {p.name!r} has source_id {p.source_id}, which is no column; restore the file from git"


def _locked(column: Column, number: int) -> LockedField:
    return LockedField(id=number, name=column.name, type=column.type, required=column.required)


def _new_table(group: FeatureGroup) -> LockedTable:
    fields = tuple(_locked(column, number) for number, column in enumerate(group.columns, 1))
    source = next(f.id for f in fields if f.name == EVENT_TIME)
    month = LockedPartition(id=FIRST_PARTITION_ID, source_id=source, name="event_time_month", transform="month")
    return LockedTable(entities=group.entity_names, next_field_id=len(fields) + 1, fields=fields, partition=(month,))


def _extended(group: FeatureGroup, locked: LockedTable) -> LockedTable:
    declared = {c.name: c for c in group.columns}
    known = {f.name for f in locked.fields}
    kept = [_locked(declared[f.name], f.id) for f in locked.fields]
    fresh = [c for c in group.columns if c.name not in known]
    added = [_locked(c, number) for number, c in enumerate(fresh, locked.next_field_id)]
    return replace(locked, fields=(*kept, *added), next_field_id=locked.next_field_id + len(added))


def main(arguments: Sequence[str] | None = None) -> int:
    """Extend a lock file: ``python -m mlops_runtime.features.lock <module>:<groups> <path>``."""
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.features.lock", description=main.__doc__)
    parser.add_argument("groups", help="<module>:<name> of a sequence of FeatureGroup")
    parser.add_argument("path", type=Path, help="the lock file")
    options = parser.parse_args(arguments)
    module, _, name = options.groups.partition(":")
    try:
        write_lock(getattr(importlib.import_module(module), name), options.path)
    except FeatureLockError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 1
    except (ImportError, AttributeError, FeatureGroupError) as error:
        sys.stderr.write(f"cannot read {options.groups!r}, expected <module>:<groups>: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
