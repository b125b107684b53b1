"""``features.lock.json``: the Iceberg field ids of every feature table, kept in git.

Iceberg identifies a column by its id, and CloudFormation writes the ids of the template: a reused id returns old data under a new
name, without an error. The file is append-only: each change of a table's columns adds a schema, and earlier ones stay. ``extend``
assigns ids to new columns and rejects changes that break readers, with the line to change. Standard library only.

See: https://iceberg.apache.org/spec/#schema-evolution
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.features.column_type import ColumnType, ColumnTypeError, FeatureType
from mlops_runtime.features.feature_group import EVENT_TIME, RESERVED, Column, FeatureGroup

_FIRST_PARTITION_ID = 1000  # https://iceberg.apache.org/spec/#partition-evolution
_HOW_TO_LOCK = "mlops features lock <module>:<groups>"

_Lines = dict[tuple[Any, ...], int]
"""Line of the file by part of a table: ``("partition", n)``, ``("schema", n)``, ``("field", schema, n)``."""

_WIDENINGS = {("int", "long"), ("float", "double")}
_RESTORE = "restore the file from git"
_ICEBERG_TYPES = {"timestamp": "timestamptz"}


class FeatureLockError(ValueError):
    """Feature groups do not match the lock file, or the file is damaged.

    Attributes:
        problems: Each problem with the line to change.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedField:
    """A column of a table with its permanent id; the elements of a list or vector have their own id."""

    id: int
    name: str
    type: FeatureType
    required: bool
    element_id: int | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids of the column."""
        return (self.id,) if self.element_id is None else (self.id, self.element_id)

    @property
    def iceberg_type(self) -> str:
        """The type in an Iceberg schema and in ``AWS::Glue::Table``: its name, or JSON for a list.

        See: https://iceberg.apache.org/spec/#appendix-c-json-serialization
        """
        # claim: glue-lists-as-json-text
        element = ColumnType.of(self.type).element
        if not element:
            return _ICEBERG_TYPES.get(self.type, self.type)
        held = _ICEBERG_TYPES.get(element, element)
        listed = {"type": "list", "element-id": self.element_id, "element": held, "element-required": False}
        return json.dumps(listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPartition:
    """One partition field: ``transform`` of the column whose id is ``source_id``."""

    id: int
    source_id: int
    name: str
    transform: Literal["month", "day"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSchema:
    """The columns of a table between two changes, in order."""

    id: int
    fields: tuple[LockedField, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedTable:
    """Ids of one table: every schema, the newest last. ``next_field_id`` never decreases."""

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
    """The content of the lock file: one entry per table, including tables that are no longer declared.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity, Feature
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
            FeatureLockError: If the file is missing, unreadable, invalid, or uses an id twice.
        """
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise FeatureLockError([f"no lock file at {path}; create it: {_HOW_TO_LOCK} {path}"]) from None
        except (OSError, UnicodeError) as error:
            raise FeatureLockError([f"the lock file {path} cannot be read: {error}; restore it from git"]) from error
        return cls._parsed(text, path.name)

    @classmethod
    def _parsed(cls, text: str, name: str) -> "FeatureLock":
        try:
            lock = from_json(cls, text)
        except ContractError as error:
            raise FeatureLockError([f"{name}: {error}; restore it from git"]) from error
        lines = lock._line_numbers()
        problems = [f"{name}: {p}" for table, ids in lock.tables.items() for p in _damage(table, ids, lines[table])]
        if problems:
            raise FeatureLockError(problems)
        return lock

    def extend(self, groups: Iterable[FeatureGroup]) -> "FeatureLock":
        """Return the lock with ids for new tables and new columns.

        Raises:
            FeatureLockError: With every change that breaks readers.
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
            found = list(_breaking_changes(group, locked, lines[group.table_name]))
            problems += found
            if not found:
                tables[group.table_name] = _extended(group, locked)
        if problems:
            raise FeatureLockError(problems)
        return replace(self, tables=dict(sorted(tables.items())))

    def check(self, groups: Iterable[FeatureGroup]) -> None:
        """Check that the lock contains exactly the declared groups.

        Raises:
            FeatureLockError: With every difference and the line to change.
        """
        groups = tuple(groups)
        extended = self.extend(groups)
        problems = [
            problem
            for group in groups
            for problem in _not_locked(self.tables.get(group.table_name), extended.tables[group.table_name], group)
        ]
        if problems:
            raise FeatureLockError(problems)

    def table(self, group: FeatureGroup) -> LockedTable:
        """Return the ids of a group's table.

        Raises:
            FeatureLockError: If the lock does not match the group.
        """
        self.check([group])
        return self.tables[group.table_name]

    def render(self) -> str:
        """Return the file's content in a stable order, one line per column, for readable diffs."""
        return "".join(f"{text}\n" for _, text in self._lines())

    def _line_numbers(self) -> dict[str, _Lines]:
        numbers: dict[str, _Lines] = {name: {} for name in self.tables}
        for number, (place, _) in enumerate(self._lines(), 1):
            if place:
                numbers[place[0]][place[1:]] = number
        return numbers

    def _lines(self) -> Iterable[tuple[tuple[Any, ...], str]]:
        """Yield each line with its table and part, or an empty tuple."""
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
    """Extend the lock file at ``path`` by the groups' new tables and columns, create it if missing, and return it.

    Raises:
        FeatureLockError: With every change that breaks readers, or if the file is not text; it is left unchanged.
    """
    try:
        text = path.read_text() if path.exists() else FeatureLock().render()
    except UnicodeError as error:
        raise FeatureLockError([f"the lock file {path} cannot be read: {error}; restore it from git"]) from error
    before = FeatureLock._parsed(text, path.name)
    after = before.extend(groups)
    if after.render() != text or not path.exists():
        from mlops_runtime.features.locked_files import write_whole  # noqa: PLC0415 - file locks, which synthesis does not need

        path.parent.stat()  # a missing folder is probably a typo and is not created
        write_whole(path, after.render().encode())
    return after


def _comma(number: int, of: Sequence[object] | Mapping[str, object]) -> str:
    return "," if number < len(of) else ""


def _line(value: LockedField | LockedPartition) -> str:
    fields = ((name, getattr(value, name)) for name in value.__slots__)
    return json.dumps({name: part for name, part in fields if part is not None})


def _locked(columns: Sequence[Column], first: int) -> tuple[tuple[LockedField, ...], int]:
    """Assign ids to columns, then to list elements; return the next id too."""
    after = first + len(columns)
    fields = []
    for number, column in enumerate(columns, first):
        element_id = after if ColumnType.of(column.type).element else None
        after += element_id is not None
        fields.append(
            LockedField(id=number, name=column.name, type=column.type, required=column.required, element_id=element_id)
        )
    return tuple(fields), after


def _new_table(group: FeatureGroup) -> LockedTable:
    fields, after = _locked(group.columns, 1)
    source = next(f.id for f in fields if f.name == EVENT_TIME)
    partition = LockedPartition(
        id=_FIRST_PARTITION_ID, source_id=source, name=f"{EVENT_TIME}_{group.partition}", transform=group.partition
    )
    return LockedTable(
        entities=group.entity_names,
        next_field_id=after,
        partition_spec_id=0,
        partition=(partition,),
        schemas=(LockedSchema(id=0, fields=fields),),
    )


def _extended(group: FeatureGroup, locked: LockedTable) -> LockedTable:
    declared = {c.name: c for c in group.columns}
    known = {f.name for f in locked.fields}
    kept = [replace(f, type=declared[f.name].type, required=declared[f.name].required) for f in locked.fields]
    fresh, after = _locked([c for c in group.columns if c.name not in known], locked.next_field_id)
    fields = (*kept, *fresh)
    if fields == locked.fields:
        return locked
    schema = LockedSchema(id=locked.schema_id + 1, fields=fields)
    return replace(locked, schemas=(*locked.schemas, schema), next_field_id=after)


def _damage(name: str, table: LockedTable, lines: _Lines) -> Iterable[str]:
    """Yield everything in a table's entry that would use an id twice."""
    if not table.schemas:
        yield f"{name} (line {lines[()]}) has no schema; {_RESTORE}"
        return
    yield from _damaged_schemas(name, table, lines)
    yield from _damaged_history(name, table, lines)
    highest = max((i for schema in table.schemas for f in schema.fields for i in f.ids), default=0)
    if table.next_field_id <= highest:
        yield (
            f"{name}: next_field_id (line {lines['next_field_id',]}) must be above {highest}, got {table.next_field_id}; "
            "an id must never be used twice"
        )
    partitions = [p.id for p in table.partition]
    if len(set(partitions)) != len(partitions) or any(p < _FIRST_PARTITION_ID for p in partitions):
        yield f"{name}: partition ids must be distinct and at least {_FIRST_PARTITION_ID}, got {partitions}; {_RESTORE}"
    ids = {f.id for f in table.fields}
    for n, p in enumerate(table.partition):
        if p.source_id not in ids:
            yield (
                f"{name}: partition {p.name!r} (line {lines['partition', n]}) has source_id {p.source_id}, which is not a column; "
                f"{_RESTORE}"
            )


def _damaged_schemas(name: str, table: LockedTable, lines: _Lines) -> Iterable[str]:
    numbers = [schema.id for schema in table.schemas]
    if numbers != sorted(set(numbers)) or numbers[0] < 0:
        yield f"{name}: schema ids must rise, got {numbers}; {_RESTORE}"
    for s, schema in enumerate(table.schemas):
        where = f"{name}: schema {schema.id} (line {lines['schema', s]})"
        ids = [i for f in schema.fields for i in f.ids]
        names = [f.name for f in schema.fields]
        for n, column in enumerate(schema.fields):
            yield from (
                f"{name}: {column.name!r} (line {lines['field', s, n]}) {problem}; {_RESTORE}"
                for problem in _type_problems(column)
            )
        for number in sorted({i for i in ids if ids.count(i) > 1}):
            yield f"{where}: id {number} is used {ids.count(number)} times; {_RESTORE}"
        for twice in sorted({n for n in names if names.count(n) > 1}):
            yield f"{where}: column {twice!r} appears {names.count(twice)} times; {_RESTORE}"


def _type_problems(column: LockedField) -> Iterable[str]:
    try:
        element = ColumnType.of(column.type).element
    except ColumnTypeError as error:
        yield f"has {error}"
        return
    if bool(element) != (column.element_id is not None):
        yield f"is {column.type} and has {'no' if element else 'an'} element_id"


def _damaged_history(name: str, table: LockedTable, lines: _Lines) -> Iterable[str]:
    given: dict[int, tuple[LockedField, int]] = {}
    for s, schema in enumerate(table.schemas):
        highest = max((i for old, _ in given.values() for i in old.ids), default=0)
        for n, new in enumerate(schema.fields):
            line = lines["field", s, n]
            old, first = given.get(new.id, (None, 0))
            if old is None:
                if s and new.id < highest:
                    yield (
                        f"{name}: {new.name!r} (line {line}) has id {new.id}, which is below {highest} and may be retired; "
                        f"give it id {table.next_field_id} and raise next_field_id"
                    )
            elif (new.name, new.element_id) != (old.name, old.element_id) or not _follows(old, new):
                yield (
                    f"{name}: id {new.id} is {_words(new)} in line {line} and was {_words(old)} in line {first}, "
                    f"which would return old data; {_RESTORE}"
                )
        now = {f.id for f in schema.fields}
        for number, (old, first) in given.items():
            if number not in now:
                yield (
                    f"{name}: schema {schema.id} (line {lines['schema', s]}) lacks id {number}, {old.name!r} of line {first}; "
                    f"{_RESTORE}"
                )
        given |= {f.id: (f, lines["field", s, n]) for n, f in enumerate(schema.fields)}


def _breaking_changes(group: FeatureGroup, locked: LockedTable, lines: _Lines) -> Iterable[str]:
    """Yield every change of a group that breaks readers of its table."""
    where = f"FeatureGroup({group.name!r}, version={group.version})"
    bump = f"or set version={group.version + 1}"
    if group.entity_names != locked.entities:
        yield (
            f"{where}: entities are {list(group.entity_names)}, the table was made with {list(locked.entities)} "
            f"(features.lock.json line {lines['entities',]}); put them back, {bump}"
        )
    for n, partition in enumerate(locked.partition):
        if partition.transform != group.partition:
            yield (
                f"{where}: partition is {group.partition!r}, the table was made with {partition.transform!r} "
                f"(features.lock.json line {lines['partition', n]}); set partition={partition.transform!r}, {bump}"
            )
    declared = {c.name: c for c in group.columns}
    known = {f.name for f in locked.fields}
    fresh = [c for c in group.columns if c.name not in known]
    newest = len(locked.schemas) - 1
    for n, old in enumerate(locked.fields):
        at = f"features.lock.json line {lines['field', newest, n]}"
        new = declared.get(old.name)
        if new is None:
            yield f"{where}: {_removed(old, at, fresh)} back, {bump}"
            continue
        if not _widens(old.type, new.type):
            yield (
                f"{where}: {old.name!r} ({at}) has type {old.type!r} and cannot become {new.type!r}, only int may become "
                f"long and float double; set its type back to {old.type!r}, {bump}"
            )
        if new.required and not old.required:
            yield (
                f"{where}: {old.name!r} ({at}) is nullable and may have nulls; "
                f"set nullable=True in Feature({old.name!r}), {bump}"
            )
    for column in fresh:
        if column.required and column.name not in group.entity_names:
            yield (
                f"{where}: new column {column.name!r} has no value in existing rows; "
                f"set nullable=True in Feature({column.name!r}), {bump}"
            )


def _not_locked(old: LockedTable | None, new: LockedTable, group: FeatureGroup) -> Iterable[str]:
    """Yield what a group declares and its table's entry lacks."""
    if old is None:
        yield f"{group.table_name} has no ids in the lock file; assign them: {_HOW_TO_LOCK}"
    elif new != old:
        known: Mapping[str, LockedField] = {f.name: f for f in old.fields}
        changed = [f.name for f in new.fields if known.get(f.name) != f]
        yield (
            f"{group.table_name}: the declared schema is newer than the lock file, which lacks {', '.join(changed)} as declared; "
            f"extend it: {_HOW_TO_LOCK}"
        )


def _removed(old: LockedField, at: str, fresh: list[Column]) -> str:
    renamed = next((c.name for c in fresh if c.type == old.type), None)
    guess = f" ({renamed!r} looks like its new name)" if renamed else ""
    return (
        f"{old.name!r} (id {old.id}, {at}) is no longer declared{guess}; put Feature({old.name!r}, {old.type!r}, ...)"
    )


def _widens(old: str, new: str) -> bool:
    return old == new or (old, new) in _WIDENINGS


def _follows(old: LockedField, new: LockedField) -> bool:
    return _widens(old.type, new.type) and (old.required or not new.required)


def _words(column: LockedField) -> str:
    return f"{column.name!r} ({column.type}, {'required' if column.required else 'nullable'})"
