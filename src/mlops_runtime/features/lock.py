"""``features.lock.json``: the Iceberg ids of every feature table, kept in git.

Iceberg finds a column by its id, and CloudFormation writes the ids that it is told: an id used twice brings old data back under a
new name, without an error. The file is append-only: each change of a table's columns adds a schema, and those before stay.
``extend`` gives ids to what is new; what readers of the table would not survive is refused with the line to change. Standard
library only.

See: https://iceberg.apache.org/spec/#schema-evolution
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.features.group import EVENT_TIME, RESERVED, Column, FeatureGroup, FeatureType
from mlops_runtime.features.lock_rules import (
    FIRST_PARTITION_ID,
    HOW_TO_LOCK,
    Lines,
    breaking_changes,
    damage,
    not_locked,
)

_OLDER_FORMAT = "mlops.feature-lock/1"  # without a history
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
    transform: Literal["month", "day"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSchema:
    """The columns that a table had from one change to the next, in its order."""

    id: int
    fields: tuple[LockedField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedTable:
    """Ids of one table: every schema that it ever had, the newest last. ``next_field_id`` never falls."""

    entities: tuple[str, ...]
    next_field_id: int
    partition_spec_id: int
    partition: tuple[LockedPartition, ...]
    schemas: tuple[LockedSchema, ...]

    @property
    def schema_id(self) -> int:
        """Id of the newest schema."""
        return self.schemas[-1].id

    @property
    def fields(self) -> tuple[LockedField, ...]:
        """Columns of the newest schema."""
        return self.schemas[-1].fields

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
    format: Literal["mlops.feature-lock/2"] = "mlops.feature-lock/2"

    @classmethod
    def read(cls, path: Path) -> "FeatureLock":
        """Read a lock file.

        Raises:
            FeatureLockError: If it is absent, of an older form, not valid, or gives an id twice.
        """
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise FeatureLockError([f"no lock file at {path}; make it: {HOW_TO_LOCK} {path}"]) from None
        if _is_older(text):
            raise FeatureLockError(
                [f"{path.name} has no history of schemas; write it again, which keeps its ids: {HOW_TO_LOCK} {path}"]
            )
        return cls._parsed(text, path.name)

    @classmethod
    def _parsed(cls, text: str, name: str) -> "FeatureLock":
        try:
            lock = from_json(cls, text)
        except ContractError as error:
            raise FeatureLockError([f"{name}: {error}; restore it from git"]) from error
        lines = lock._line_numbers()
        problems = [f"{name}: {p}" for table, ids in lock.tables.items() for p in damage(table, ids, lines[table])]
        if problems:
            raise FeatureLockError(problems)
        return lock

    def extend(self, groups: Iterable[FeatureGroup]) -> "FeatureLock":
        """Return the lock with ids for new tables and new columns.

        Raises:
            FeatureLockError: With every change that readers would not survive.
        """
        groups = tuple(groups)
        times = Counter(group.table_name for group in groups)
        problems = [
            f"{name} is declared {n} times; give one of them another name" for name, n in times.items() if n > 1
        ]
        tables = dict(self.tables)
        lines = self._line_numbers()
        for group in groups:
            locked = self.tables.get(group.table_name)
            if locked is None:
                tables[group.table_name] = _new_table(group)
                continue
            found = list(breaking_changes(group, locked, lines[group.table_name]))
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
        problems = [
            problem
            for group in groups
            for problem in not_locked(self.tables.get(group.table_name), extended.tables[group.table_name], group)
        ]
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
        return "".join(f"{text}\n" for _, text in self._lines())

    def _line_numbers(self) -> dict[str, Lines]:
        numbers: dict[str, Lines] = {name: {} for name in self.tables}
        for number, (place, _) in enumerate(self._lines(), 1):
            if place:
                numbers[place[0]][place[1:]] = number
        return numbers

    def _lines(self) -> Iterable[tuple[tuple[Any, ...], str]]:
        """Give each line with what it says: a table and its part, or nothing."""
        yield (), "{"
        yield (), f'  "format": {json.dumps(self.format)},'
        yield (), '  "tables": {'
        for n, (name, table) in enumerate(sorted(self.tables.items()), 1):
            yield (name,), f"    {json.dumps(name)}: {{"
            yield (name, "entities"), f'      "entities": {json.dumps(table.entities)},'
            yield (name, "next_field_id"), f'      "next_field_id": {table.next_field_id},'
            yield (name, "partition_spec_id"), f'      "partition_spec_id": {table.partition_spec_id},'
            yield (), '      "partition": ['
            for i, partition in enumerate(table.partition):
                yield (name, "partition", i), f"        {_line(partition)}{_comma(i + 1, table.partition)}"
            yield (), "      ],"
            yield (), '      "schemas": ['
            for s, schema in enumerate(table.schemas):
                yield (name, "schema", s), f'        {{"id": {schema.id}, "fields": ['
                for i, column in enumerate(schema.fields):
                    yield (name, "field", s, i), f"          {_line(column)}{_comma(i + 1, schema.fields)}"
                yield (), f"        ]}}{_comma(s + 1, table.schemas)}"
            yield (), "      ]"
            yield (), f"    }}{_comma(n, self.tables)}"
        yield (), "  }"
        yield (), "}"


def write_lock(groups: Sequence[FeatureGroup], path: Path) -> FeatureLock:
    """Extend the lock file at ``path`` (made if absent) by what the groups add, and return it.

    A file of the older form, without a history, gets one that begins with what it holds; its ids stay.

    Raises:
        FeatureLockError: With every change that readers would not survive; the file is left as it was.
    """
    text = path.read_text() if path.exists() else FeatureLock().render()
    before = FeatureLock._parsed(_with_history(text) if _is_older(text) else text, path.name)
    after = before.extend(groups)
    if after.render() != text or not path.exists():
        path.write_text(after.render())
    return after


def _is_older(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("format") == _OLDER_FORMAT


def _with_history(text: str) -> str:
    value = json.loads(text)
    value["format"] = FeatureLock().format
    tables = value["tables"].values() if isinstance(value.get("tables"), dict) else ()
    for table in (table for table in tables if isinstance(table, dict)):
        table["partition_spec_id"] = 0
        table["schemas"] = [{"id": 0, "fields": table.pop("fields", [])}]
    return json.dumps(value)


def _comma(number: int, of: Sequence[object] | Mapping[str, object]) -> str:
    return "," if number < len(of) else ""


def _line(value: LockedField | LockedPartition) -> str:
    return json.dumps({name: getattr(value, name) for name in value.__slots__})


def _locked(column: Column, number: int) -> LockedField:
    return LockedField(id=number, name=column.name, type=column.type, required=column.required)


def _new_table(group: FeatureGroup) -> LockedTable:
    fields = tuple(_locked(column, number) for number, column in enumerate(group.columns, 1))
    source = next(f.id for f in fields if f.name == EVENT_TIME)
    partition = LockedPartition(
        id=FIRST_PARTITION_ID, source_id=source, name=f"{EVENT_TIME}_{group.partition}", transform=group.partition
    )
    return LockedTable(
        entities=group.entity_names,
        next_field_id=len(fields) + 1,
        partition_spec_id=0,
        partition=(partition,),
        schemas=(LockedSchema(id=0, fields=fields),),
    )


def _extended(group: FeatureGroup, locked: LockedTable) -> LockedTable:
    declared = {c.name: c for c in group.columns}
    known = {f.name for f in locked.fields}
    kept = [_locked(declared[f.name], f.id) for f in locked.fields]
    fresh = [c for c in group.columns if c.name not in known]
    fields = (*kept, *(_locked(c, number) for number, c in enumerate(fresh, locked.next_field_id)))
    if fields == locked.fields:
        return locked
    schema = LockedSchema(id=locked.schema_id + 1, fields=fields)
    return replace(locked, schemas=(*locked.schemas, schema), next_field_id=locked.next_field_id + len(fresh))
