"""Requests of training sets, and their resolution to tables, snapshots and engine."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict, get_args

import pyarrow as pa
from pyiceberg.table import Table

from mlops_runtime.contracts.feature_service import FeatureServiceUse
from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.batch_checks import ArrowStream, in_zone, read_batch
from mlops_runtime.features.engine_choice import Engine, EngineChoice, choose, planned
from mlops_runtime.features.feature_group import FeatureGroup, is_time_zone
from mlops_runtime.features.feature_service import FeatureService
from mlops_runtime.features.group_join import GroupJoin, key_problems
from mlops_runtime.features.iceberg_tables import scanned, schema_at
from mlops_runtime.features.join_plans import Semantics
from mlops_runtime.features.row_hashing import logical_type
from mlops_runtime.features.source import scan_tasks
from mlops_runtime.features.table_description import TableMeaning
from mlops_runtime.features.table_pins import NO_SNAPSHOT, pin
from mlops_runtime.features.table_types import read_schema

MEMORY = 8 << 30  # default, in bytes
Features = FeatureService | Sequence[FeatureGroup | GroupJoin] | Mapping[str, Sequence[str]]
Load = Callable[[str], Table]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_VERSION = re.compile(r"_v\d+$")


class TrainingSetError(ValueError):
    """A training set cannot be built as requested; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a training set."""

    name: str  # name of the set: lower-case letters, digits, `-` and `_`
    rows: pa.Table  # entity rows, as returned by `read_entities`
    timestamp: str  # their time column
    # groups of which all features are joined, joins of groups, or columns by group or table name
    features: Sequence[FeatureGroup | GroupJoin] | Mapping[str, Sequence[str]]
    semantics: Semantics  # whether a value counts from the time it was known or from its event time
    as_of: datetime | None  # feature rows created later are not read; `None` without limit
    snapshots: Mapping[str, int]  # snapshots to read, by group or table name; the current one of other tables
    source: Mapping[str, str]  # code that makes the request, for the manifest
    engine: Engine | None = None  # the engine; `None` to choose by size
    memory: int = MEMORY  # bytes of memory available to DuckDB
    service: FeatureServiceUse | None = None


class RequestOptions(TypedDict, total=False):
    """Optional arguments of a request, as for ``FeatureStoreClient.training_set``."""

    name: str
    timestamp: str
    time_zone: str | None
    semantics: Semantics
    as_of: datetime | None
    snapshots: Mapping[str, int] | None
    engine: Engine | None
    memory: int | None


def requested(
    entities: ArrowStream,
    features: Features,
    *,
    name: str = "explained",
    timestamp: str = "event_timestamp",
    time_zone: str | None = None,
    semantics: Semantics = "known_at",
    as_of: datetime | None = None,
    snapshots: Mapping[str, int] | None = None,
    source: Mapping[str, str] | None = None,
    engine: Engine | None = None,
    memory: int | None = None,
) -> Request:
    """Return a request; arguments as for ``FeatureStoreClient.training_set``.

    Raises:
        TrainingSetError: If the name cannot be part of a key, or another argument is invalid.
    """
    service = features if isinstance(features, FeatureService) else None
    features = features.joins if isinstance(features, FeatureService) else features
    problems = (
        [] if isinstance(name, str) and _NAME.fullmatch(name) else [f"name must match {_NAME.pattern}, got {name!r}"]
    )
    if not isinstance(timestamp, str):
        problems.append(f"timestamp must be the name of a column, got {timestamp!r}")
    if time_zone is not None and not is_time_zone(time_zone):
        problems.append(f"time_zone must be an IANA name such as 'UTC' or 'America/New_York', got {time_zone!r}")
    if semantics not in get_args(Semantics):
        problems.append(f"semantics must be one of {', '.join(get_args(Semantics))}, got {semantics!r}")
    if as_of is not None and (not isinstance(as_of, datetime) or as_of.tzinfo is None):
        shown = as_of.isoformat() if isinstance(as_of, datetime) else repr(as_of)
        problems.append(f"as_of must have a time zone, got {shown}; give a datetime, for example in UTC")
    if memory is not None and (isinstance(memory, bool) or not isinstance(memory, int)):
        problems.append(f"memory must be a whole number of bytes, got {memory!r}")
    problems += _mapping_problems("snapshots", snapshots, int, "ids of snapshots by name of group")
    problems += _mapping_problems("source", source, str, "strings by name, such as {'commit': '4c1f'}")
    problems += _feature_problems(features)
    if problems:
        raise TrainingSetError("; ".join(problems))
    return Request(
        name=name,
        rows=read_entities(entities, timestamp, time_zone),
        timestamp=timestamp,
        features=features if isinstance(features, Mapping) else tuple(features),
        semantics=semantics,
        as_of=as_of,
        snapshots={} if snapshots is None else snapshots,
        source={} if source is None else source,
        engine=engine,
        memory=MEMORY if memory is None else memory,
        service=None if service is None else service.use,
    )


def _mapping_problems(name: str, given: object, kind: type, meaning: str) -> Iterator[str]:
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield f"{name} must be {meaning}, got {given!r}"
        return
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, kind) or isinstance(value, bool):
            yield f"{name} must be {meaning}, got {key!r}: {value!r}"


def _feature_problems(features: object) -> Iterator[str]:
    allowed = (
        "a FeatureService, feature groups or joins of them such as [SALES], or columns by name of group such as "
        "{'sales': ['units']}"
    )
    if isinstance(features, Mapping):
        for group, columns in features.items():
            if not isinstance(group, str):
                yield f"features must be {allowed}, got {type(group).__name__} as the name of a group"
            elif isinstance(columns, str):
                yield f"columns of {group!r} must be a list of names, got {columns!r}; give [{columns!r}]"
            elif not isinstance(columns, Sequence) or not all(isinstance(column, str) for column in columns):
                yield f"columns of {group!r} must be a list of names, got {columns!r}"
        return
    if isinstance(features, FeatureGroup | GroupJoin):
        yield f"features must be {allowed}, got a single group; put it into a list"
    elif isinstance(features, str) or not isinstance(features, Sequence):
        yield f"features must be {allowed}, got {features!r}"
    else:
        others = [feature for feature in features if not isinstance(feature, FeatureGroup | GroupJoin)]
        if others:
            yield f"features must be {allowed}, got {', '.join(map(repr, others))} in the list"
        tables = [feature.table_name for feature in features if isinstance(feature, FeatureGroup)]
        tables += [feature.table for feature in features if isinstance(feature, GroupJoin) and feature.name is None]
        twice = sorted({table for table in tables if tables.count(table) > 1})
        yield from (
            f"features has {tables.count(table)} groups of table {table}; give it once, or name each use with "
            "GroupJoin(group=..., name='...')"
            for table in twice
        )
        names = [feature.name for feature in features if isinstance(feature, GroupJoin) and feature.name is not None]
        again = sorted({name for name in names if names.count(name) > 1})
        yield from (f"features has {names.count(name)} joins named {name!r}; give each its own name" for name in again)


def read_entities(entities: ArrowStream, timestamp: str, time_zone: str | None = None) -> pa.Table:
    """Return entity rows with their time in UTC microseconds, and plain strings.

    Raises:
        TrainingSetError: If a column appears twice, or a time is missing, null, without a zone, ambiguous or nonexistent local time
            in the zone, or finer than a microsecond.
    """
    rows = read_batch(entities)
    names = rows.column_names
    problems = [
        f"column {n!r} appears {names.count(n)} times; give it once" for n in dict.fromkeys(names) if names.count(n) > 1
    ]
    if timestamp not in rows.column_names:
        problems.append(f"entity rows have no column {timestamp!r}, they have {', '.join(rows.column_names) or 'none'}")
    elif not problems and not rows.num_rows:  # the types of a frame without rows are arbitrary
        rows = rows.set_column(names.index(timestamp), timestamp, pa.array([], pa.timestamp("us", "UTC")))
    elif not problems and pa.types.is_timestamp(rows[timestamp].type) and rows[timestamp].type.tz is None and time_zone:
        try:
            rows = rows.set_column(names.index(timestamp), timestamp, in_zone(rows[timestamp], time_zone))
        except ValueError as error:
            problems.append(f"{timestamp!r} is {error}")
    elif not problems and (not pa.types.is_timestamp(rows[timestamp].type) or rows[timestamp].type.tz is None):
        fix = "; set time_zone=" if pa.types.is_timestamp(rows[timestamp].type) else ""
        problems.append(f"{timestamp!r} must be a timestamp with a time zone, got {rows[timestamp].type}{fix}")
    if not problems and rows[timestamp].null_count:
        problems.append(f"{rows[timestamp].null_count} entity rows have no {timestamp!r}; omit these rows")
    if problems:
        raise TrainingSetError("; ".join(problems))
    try:
        times = rows[timestamp].cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid as error:
        raise TrainingSetError(f"{timestamp!r} is finer than a microsecond: {error}; round it first") from error
    rows = rows.set_column(rows.column_names.index(timestamp), timestamp, times)
    # equal rows from different libraries give the same file, and so the same id
    return rows.cast(pa.schema([pa.field(field.name, logical_type(field.type)) for field in rows.schema]))


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedGroup:
    """One join of a table in a request: its snapshot and columns, its alias, and the columns of its keys.

    ``prefix`` is the prefix of its columns in the training set; ``on`` has the columns of the entity rows by key.
    """

    table: Table
    snapshot_id: int
    columns: tuple[str, ...]
    prefix: str
    alias: str | None
    on: Mapping[str, str]

    def pinned(self) -> PinnedTable:
        """Return the table pinned at its snapshot, without a tag, with the features' names in the set."""
        names = [f"{self.prefix}__{column}" for column in self.columns]
        found = pin(self.table, self.snapshot_id, None, self.columns, names)
        keys = tuple(self.on.get(name, name) for name in found.entities)
        return replace(found, alias=self.alias, keys=None if keys == found.entities else keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The resolved tables of a request, in its order."""

    groups: tuple[LocatedGroup, ...]

    @property
    def tables(self) -> dict[str, Table]:
        """Each table once, by its name."""
        return {each.table.name()[-1]: each.table for each in self.groups}

    @property
    def snapshots(self) -> dict[str, int]:
        """The snapshot of each table, by its name."""
        return {each.table.name()[-1]: each.snapshot_id for each in self.groups}

    def pinned(self) -> tuple[PinnedTable, ...]:
        """Return the tables pinned at their snapshots, without tags, with the features' names in the set."""
        return tuple(each.pinned() for each in self.groups)


def located(load: Load, tables: Sequence[str], request: Request) -> Located:
    """Resolve the tables and snapshots of a request.

    Raises:
        TrainingSetError: If groups, columns, keys or snapshots are missing.
    """
    uses, columns = _wanted(request.features), dict[str, tuple[str, ...]]()
    for use in uses:
        columns[use.table] = tuple(dict.fromkeys((*columns.get(use.table, ()), *use.wanted)))
    found = named_tables(request, tables)
    loaded = {group: load(found[group]) for group in columns}
    unused = [group for group in request.snapshots if found[group] not in {found[g] for g in columns}]
    problems = [f"snapshots names {group!r}, but no feature of it is requested" for group in unused]
    unnamed = [use.table for use in uses if use.name is None]
    for word, groups in (("features", unnamed), ("snapshots", [*request.snapshots])):
        tables_named = [found[group] for group in groups]
        twice = sorted({table for table in tables_named if tables_named.count(table) > 1})
        problems += [f"{word} names table {table} twice, by group and by table; name it once" for table in twice]
    names = {use.name for use in uses if use.name is not None} & {found[group] for group in unnamed}
    problems += [f"{name!r} names both a join and a table that is read; give the join another name" for name in names]
    meanings = {group: TableMeaning.of(found[group], table.properties) for group, table in loaded.items()}
    for use in uses:
        problems += key_problems(use.name or use.table, use.on, meanings[use.table].entities)
    problems += column_problems(columns, loaded)
    if problems:
        raise TrainingSetError(f"training set {request.name}: " + "; ".join(problems))
    by_table = {found[group]: snapshot for group, snapshot in request.snapshots.items()}
    given = {group: by_table[found[group]] for group in loaded if found[group] in by_table}
    snapshots = chosen_snapshots(request.name, columns, loaded, given)
    # unless named, two versions of a group have the names of their tables
    groups = [meanings[group].group for group in dict.fromkeys(unnamed)]
    prefixes = {
        group: found[group] if groups.count(meaning.group) > 1 else meaning.group for group, meaning in meanings.items()
    }
    return Located(
        groups=tuple(
            LocatedGroup(
                table=loaded[use.table],
                snapshot_id=snapshots[use.table],
                columns=use.wanted,
                prefix=prefixes[use.table] if use.name is None else use.name,
                alias=use.name,
                on=use.on,
            )
            for use in uses
        )
    )


def key_types(load: Load, tables: Sequence[str], features: Features) -> dict[str, pa.DataType]:
    """Return the types of the entity rows' key columns, for sources of rows without types.

    Raises:
        TrainingSetError: If the features are invalid, or a group has no table or several.
    """
    features = features.wanted if isinstance(features, FeatureService) else features
    problems = list(_feature_problems(features))
    if problems:
        raise TrainingSetError("; ".join(problems))
    uses, types = _wanted(features), {}
    found = resolved("", [use.table for use in uses], tables)
    for use in uses:
        table = load(found[use.table])
        schema = read_schema(table.schema(), table.properties)
        for key in TableMeaning.of(found[use.table], table.properties).entities:
            types[use.on.get(key, key)] = schema.field(key).type
    return types


def named_tables(request: Request, tables: Sequence[str]) -> dict[str, str]:
    """Return the table of each group in a request, without loading it.

    Raises:
        TrainingSetError: If a group has no table or several.
    """
    groups = dict.fromkeys((*(use.table for use in _wanted(request.features)), *request.snapshots))
    return resolved(request.name, [*groups], tables)


def engine_of(found: Located, request: Request) -> EngineChoice:
    """Return the engine for a request, by the amount of data to read according to Iceberg's metadata."""
    scans = []
    for each in found.groups:
        if each.snapshot_id != NO_SNAPSHOT:
            scan = scanned(each.table, each.snapshot_id, each.columns, created_by=request.as_of)
            scans.append(planned(each.table.name()[-1], scan_tasks(scan)))
    return choose(scans, request.rows.num_rows, memory=request.memory, forced=request.engine)


def resolved(name: str, groups: Sequence[str], tables: Sequence[str]) -> dict[str, str]:
    """Return the table of each group, given by table name, or by group name alone while it has one version.

    Raises:
        TrainingSetError: If a group has no table or several.
    """
    problems, found = [], {}
    for group in groups:
        versions = [table for table in tables if table == group or _VERSION.sub("", table) == group]
        if len(versions) == 1:
            found[group] = versions[0]
        elif versions:
            problems.append(f"group {group!r} has versions {', '.join(versions)}; name one of them")
        else:
            problems.append(f"there is no feature table of group {group!r}, there are {', '.join(tables) or 'none'}")
    if problems:
        raise TrainingSetError(f"training set {name}: " + "; ".join(problems))
    return found


def chosen_snapshots(
    name: str, wanted: Mapping[str, Sequence[str]], loaded: Mapping[str, Table], given: Mapping[str, int]
) -> dict[str, int]:
    """Return the snapshot of each table: the given one, else the current one, or ``NO_SNAPSHOT`` for a table without rows.

    Raises:
        TrainingSetError: If a table does not have the given snapshot, or the snapshot is older than a requested column.
    """
    problems, snapshots = [], {}
    for group, table in loaded.items():
        current = table.current_snapshot()
        if current is None and group not in given:
            snapshots[group] = NO_SNAPSHOT
        elif group in given and table.snapshot_by_id(given[group]) is None:
            problems.append(
                f"table {table.name()[-1]} has no snapshot {given[group]}: it has expired, or never existed"
            )
        else:
            snapshots[group] = given[group] if current is None or group in given else current.snapshot_id
            written = schema_at(table, snapshots[group]).column_names
            problems += [
                f"column {column!r} is newer than snapshot {snapshots[group]} of table {table.name()[-1]}; "
                "ingest a batch that has it first, or omit it"
                for column in wanted[group]
                if column not in written
            ]
    if problems:
        raise TrainingSetError(f"training set {name}: " + "; ".join(problems))
    return snapshots


def column_problems(wanted: Mapping[str, Sequence[str]], loaded: Mapping[str, Table]) -> list[str]:
    """Return a line for each column that its table lacks."""
    problems = []
    for group, columns in wanted.items():
        names = [field.name for field in loaded[group].schema().fields]
        problems += [f"{group} has no column {c!r}, it has {', '.join(names)}" for c in columns if c not in names]
    return problems


def _wanted(features: Sequence[FeatureGroup | GroupJoin] | Mapping[str, Sequence[str]]) -> list[GroupJoin]:
    if isinstance(features, Mapping):
        uses = [GroupJoin(group=group, columns=tuple(columns)) for group, columns in features.items()]
    else:
        uses = [each if isinstance(each, GroupJoin) else GroupJoin(group=each) for each in features]
    if not uses or not all(use.wanted for use in uses):
        requested_columns = {use.name or use.table: use.wanted for use in uses}
        raise TrainingSetError(f"features must name at least one column of each group, got {requested_columns}")
    return uses
