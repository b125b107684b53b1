"""What a lock file may not say, and what readers of a locked table would not survive; each with the line to change.

Standard library only.

See: https://iceberg.apache.org/spec/#schema-evolution
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlops_runtime.features.group import Column, FeatureGroup

if TYPE_CHECKING:
    from mlops_runtime.features.lock import LockedField, LockedTable

FIRST_PARTITION_ID = 1000  # https://iceberg.apache.org/spec/#partition-evolution
HOW_TO_LOCK = "mlops features lock <module>:<groups>"

Lines = dict[tuple[Any, ...], int]
"""Line of the file by part of a table: ``("partition", n)``, ``("schema", n)``, ``("field", schema, n)``."""

_WIDENINGS = {("int", "long"), ("float", "double")}
_RESTORE = "restore the file from git"


def damage(name: str, table: "LockedTable", lines: Lines) -> Iterable[str]:
    """Name everything in a table's entry by which an id would be given twice."""
    if not table.schemas:
        yield f"{name} (line {lines[()]}) has no schema; {_RESTORE}"
        return
    yield from _damaged_schemas(name, table, lines)
    yield from _damaged_history(name, table, lines)
    highest = max((f.id for schema in table.schemas for f in schema.fields), default=0)
    if table.next_field_id <= highest:
        yield (
            f"{name}: next_field_id (line {lines['next_field_id',]}) must be above {highest}, got {table.next_field_id}; "
            "an id must never be given twice"
        )
    partitions = [p.id for p in table.partition]
    if len(set(partitions)) != len(partitions) or any(p < FIRST_PARTITION_ID for p in partitions):
        yield f"{name}: partition ids must be distinct and at least {FIRST_PARTITION_ID}, got {partitions}; {_RESTORE}"
    ids = {f.id for f in table.fields}
    for n, p in enumerate(table.partition):
        if p.source_id not in ids:
            yield (
                f"{name}: partition {p.name!r} (line {lines['partition', n]}) has source_id {p.source_id}, which is no column; "
                f"{_RESTORE}"
            )


def _damaged_schemas(name: str, table: "LockedTable", lines: Lines) -> Iterable[str]:
    numbers = [schema.id for schema in table.schemas]
    if numbers != sorted(set(numbers)) or numbers[0] < 0:
        yield f"{name}: schema ids must rise, got {numbers}; {_RESTORE}"
    for s, schema in enumerate(table.schemas):
        where = f"{name}: schema {schema.id} (line {lines['schema', s]})"
        ids = [f.id for f in schema.fields]
        names = [f.name for f in schema.fields]
        for number in sorted({i for i in ids if ids.count(i) > 1}):
            yield f"{where}: id {number} is used {ids.count(number)} times; {_RESTORE}"
        for column in sorted({n for n in names if names.count(n) > 1}):
            yield f"{where}: column {column!r} appears {names.count(column)} times; {_RESTORE}"


def _damaged_history(name: str, table: "LockedTable", lines: Lines) -> Iterable[str]:
    given: dict[int, tuple[LockedField, int]] = {}
    for s, schema in enumerate(table.schemas):
        highest = max(given, default=0)
        for n, new in enumerate(schema.fields):
            line = lines["field", s, n]
            old, first = given.get(new.id, (None, 0))
            if old is None:
                if s and new.id < highest:
                    yield (
                        f"{name}: {new.name!r} (line {line}) has id {new.id}, which is below {highest} and may be retired; "
                        f"give it id {table.next_field_id} and raise next_field_id"
                    )
            elif new.name != old.name or not _widens(old.type, new.type) or (new.required and not old.required):
                yield (
                    f"{name}: id {new.id} is {_words(new)} in line {line} and was {_words(old)} in line {first}, "
                    f"whose data it would bring back; {_RESTORE}"
                )
        now = {f.id for f in schema.fields}
        for number, (old, first) in given.items():
            if number not in now:
                yield (
                    f"{name}: schema {schema.id} (line {lines['schema', s]}) has lost id {number}, {old.name!r} of line {first}; "
                    f"{_RESTORE}"
                )
        given |= {f.id: (f, lines["field", s, n]) for n, f in enumerate(schema.fields)}


def breaking_changes(group: FeatureGroup, locked: "LockedTable", lines: Lines) -> Iterable[str]:
    """Name every change of a group that readers of its table would not survive."""
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
            yield f"{where}: {_gone(old, at, fresh)} back, {bump}"
            continue
        if not _widens(old.type, new.type):
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


def not_locked(old: "LockedTable | None", new: "LockedTable", group: FeatureGroup) -> Iterable[str]:
    """Say what a group declares and its table's entry does not have yet."""
    if old is None:
        yield f"{group.table_name} has no ids in the lock file; give it some: {HOW_TO_LOCK}"
    elif new != old:
        known: Mapping[str, LockedField] = {f.name: f for f in old.fields}
        changed = [f.name for f in new.fields if known.get(f.name) != f]
        yield (
            f"{group.table_name}: the declared schema is newer than the lock file, which lacks {', '.join(changed)} as declared; "
            f"extend it: {HOW_TO_LOCK}"
        )


def _gone(old: "LockedField", at: str, fresh: list[Column]) -> str:
    renamed = next((c.name for c in fresh if c.type == old.type), None)
    guess = f" ({renamed!r} looks like its new name)" if renamed else ""
    return (
        f"{old.name!r} (id {old.id}, {at}) is no longer declared{guess}; put Feature({old.name!r}, {old.type!r}, ...)"
    )


def _widens(old: str, new: str) -> bool:
    return old == new or (old, new) in _WIDENINGS


def _words(column: "LockedField") -> str:
    return f"{column.name!r} ({column.type}, {'required' if column.required else 'nullable'})"
