"""The catalogue of a feature store: groups with their history, and the training sets and models that use them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.features import ingest_ledger
from mlops_runtime.features.feature_group import RESERVED, Feature, FeatureGroup
from mlops_runtime.features.iceberg_tables import feature_types
from mlops_runtime.features.lock_file import FeatureLock, LockedTable
from mlops_runtime.features.table_description import FeatureTableError, TableMeaning
from mlops_runtime.features.table_freshness import table_age
from mlops_runtime.features.table_pins import sequences
from mlops_runtime.features.table_types import declared_types
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests, pins
from mlops_runtime.registry.package_registry import TrainedPackage

_Fields = Mapping[str, tuple[str, bool]]  # type of each column, and whether it is required
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def constraint_text(feature: Feature) -> str:
    """Return a feature's constraints as readable text.

    Example:
        >>> constraint_text(Feature("share", "double", "share", minimum=0, maximum=1)), constraint_text(Feature("n", "long", "n"))
        ('0 to 1', '')
    """
    low, high = (None if bound is None else _value(bound) for bound in (feature.minimum, feature.maximum))
    parts = []
    if low is not None and high is not None:
        parts.append(f"{low} to {high}")
    elif low is not None:
        parts.append(f"at least {low}")
    elif high is not None:
        parts.append(f"at most {high}")
    if feature.allowed is not None:
        parts.append(f"one of {', '.join(map(_value, feature.allowed))}")
    if feature.pattern is not None:
        parts.append(f"matches {feature.pattern}")
    return "; ".join(parts)


def ttl_text(ttl: timedelta | None, bound: str) -> str:
    """Return a time to live as readable text.

    Example:
        >>> ttl_text(timedelta(days=10), "exclusive"), ttl_text(timedelta(0), "inclusive"), ttl_text(None, "inclusive")
        ('10 days, the last instant excluded', 'at its event time alone', 'without limit')
        >>> ttl_text(timedelta(seconds=1, milliseconds=250), "inclusive")
        '1 second 250 milliseconds'
    """
    if ttl is None:
        return "without limit"
    if not ttl:
        return "at its event time alone"
    return duration_text(ttl) + (", the last instant excluded" if bound == "exclusive" else "")


def duration_text(span: timedelta, *, most: int | None = None) -> str:
    """Return a duration in its largest units.

    Args:
        span: The duration; its sign is ignored.
        most: Maximum number of consecutive units; the rest is truncated. Default: all.

    Example:
        >>> duration_text(timedelta(days=1, hours=12)), duration_text(timedelta(days=9, seconds=5), most=2)
        ('1 day 12 hours', '9 days')
    """
    rest, parts = int(abs(span).total_seconds()), []
    for name, length in _UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        elif parts and most is not None:
            break  # "9 days" rather than "9 days 5 seconds": units after a gap are omitted
    if most is None and (part := abs(span).microseconds):
        parts.append(f"{part / 1000:g} milliseconds")
    return " ".join(parts[:most]) or "0 seconds"


def _value(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFacts:
    """A column. ``field_id`` is Iceberg's, ``None`` without a table; ``constraints`` is readable text."""

    name: str
    type: str
    is_required: bool
    is_key: bool
    description: str
    field_id: int | None = None
    constraints: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    """A schema of a table and its changes; ``is_deployed``: whether the table has its columns."""

    id: int
    changes: str
    is_deployed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFacts:
    """A snapshot: its operation, rows added and in total if its summary has them, and the tags that retain it."""

    id: int
    at: datetime
    operation: str
    added: int | None
    total: int | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestFacts:
    """The newest ingest. ``rows`` is ``None`` if its snapshot has expired; ``content`` is the batch's content hash."""

    at: datetime
    snapshot_id: int
    rows: int | None
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """A feature group: its declaration and the content of its table."""

    table: str
    group: str
    version: int  # version of the group
    owner: str  # team that is responsible for it
    description: str  # description; empty if neither a declaration nor the table has one
    ttl: str  # time to live, as readable text
    partition: str  # partition fields
    columns: tuple[ColumnFacts, ...]  # columns in order
    schemas: tuple[SchemaFacts, ...]  # history of the schema, oldest first
    snapshots: tuple[SnapshotFacts, ...] = ()  # snapshots, newest first
    rows: int = 0  # number of rows of the current snapshot
    newest_event: datetime | None = None  # the newest event time
    age: timedelta | None = None  # age of the newest event; negative if it is in the future
    freshness: timedelta | None = None  # declared maximum age, if any
    ingest: IngestFacts | None = None  # the newest ingest
    note: str = ""  # why there is no age, or no table
    tags: tuple[str, ...] = ()  # keywords for searches

    @property
    def is_late(self) -> bool:
        """Whether the newest event is older than the declared freshness."""
        return self.freshness is not None and self.age is not None and self.age > self.freshness


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFacts:
    """A table that a training set read."""

    table: str
    snapshot_id: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFacts:
    """A training set by its manifest; ``cutoff`` is its ``as_of``. An erased set cannot be rebuilt."""

    id: str
    name: str
    rows: int
    semantics: str
    cutoff: str | None
    reads: tuple[ReadFacts, ...]
    is_erased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A feature store at a point in time."""

    name: str  # name of the store
    at: datetime  # the time
    groups: tuple[GroupFacts, ...]  # feature groups by table name
    sets: tuple[SetFacts, ...]  # training sets by name and id
    models: tuple[TrainedPackage, ...] = ()  # model packages that reference their training set
    others: tuple[str, ...] = ()  # tables of the database that are not feature tables
    problems: tuple[str, ...] = ()  # unreadable tables and manifests, with the reason

    def users(self, table: str) -> tuple[SetFacts, ...]:
        """Return the training sets that read a table."""
        return tuple(found for found in self.sets if table in {read.table for read in found.reads})


def catalogue(
    tables: Iterable[Table],
    manifests: Manifests,
    *,
    name: str,
    now: datetime,
    declared: Sequence[FeatureGroup] = (),
    lock: FeatureLock | None = None,
    models: Sequence[TrainedPackage] = (),
) -> Catalogue:
    """Collect the facts of a feature store.

    Args:
        tables: Tables of its database.
        name: Name of the store.
        now: The time.
        declared: Declared groups, for descriptions, constraints and freshness, including groups without a table. Default: only the
            tables' own metadata.
        lock: Lock file, for the history of schemas. Default: the schemas in the tables' metadata.
        models: Model packages, one or more per training set. Default: none.

    Example:
        >>> import tempfile
        >>> found = catalogue([], Manifests(tempfile.mkdtemp()), name="demand", now=datetime(2017, 8, 7, tzinfo=UTC))
        >>> found.groups, found.sets
        ((), ())
    """
    by_table = {group.table_name: group for group in declared}
    locked = {} if lock is None else lock.tables
    groups, others = [], []
    for table in tables:
        table_name = table.name()[-1]
        try:
            meaning = TableMeaning.of(table_name, table.properties)
        except FeatureTableError:
            others.append(table_name)
            continue
        declaration = by_table.pop(table_name, None)
        groups.append(group_facts(table, meaning, declaration, locked.get(table_name), now))
    groups += [_without_table(group, locked.get(group.table_name)) for group in by_table.values()]
    sets, problems = _sets(manifests)
    return Catalogue(
        name=name,
        at=now,
        groups=tuple(sorted(groups, key=lambda group: group.table)),
        sets=sets,
        models=tuple(models),
        others=tuple(sorted(others)),
        problems=problems,
    )


def group_facts(
    table: Table, meaning: TableMeaning, declared: FeatureGroup | None, locked: LockedTable | None, now: datetime
) -> GroupFacts:
    """Return the facts of one table, with those of its declaration and lock file if they are known."""
    name = table.name()[-1]
    features = {} if declared is None else {feature.name: feature for feature in declared.features}
    types = feature_types(table)
    columns = tuple(
        ColumnFacts(
            name=field.name,
            type=types[field.name],
            is_required=field.required,
            is_key=field.name in meaning.entities,
            description=field.doc or "",
            field_id=field.field_id,
            constraints=constraint_text(features[field.name]) if field.name in features else "",
        )
        for field in table.schema().fields
    )
    schemas = _schemas_of(table) if locked is None else _schemas_of_lock(locked)
    current = table.current_snapshot()
    age = table_age(name, json.loads(table.metadata.model_dump_json()), now)
    tags: dict[int, list[str]] = {}
    for tag, reference in sorted(table.metadata.refs.items()):
        if tag != "main":
            tags.setdefault(reference.snapshot_id, []).append(tag)
    return GroupFacts(
        table=name,
        group=meaning.group,
        version=meaning.version,
        owner=table.properties.get("mlops.owner", ""),
        description=table.properties.get("mlops.description", "") if declared is None else declared.description,
        tags=tuple(tag for tag in table.properties.get("mlops.tags", "").split(",") if tag),
        ttl=ttl_text(meaning.ttl, meaning.ttl_bound),
        partition=", ".join(
            f"{field.transform}({table.schema().find_column_name(field.source_id)})" for field in table.spec().fields
        ),
        columns=columns,
        schemas=_history(schemas, {column.name for column in columns}),
        snapshots=tuple(
            SnapshotFacts(
                id=snapshot.snapshot_id,
                at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
                operation="" if snapshot.summary is None else snapshot.summary.operation.value,
                added=_count(snapshot, "added-records"),
                total=_count(snapshot, "total-records"),
                tags=tuple(tags.get(snapshot.snapshot_id, ())),
            )
            for snapshot in sorted(table.metadata.snapshots, key=lambda s: s.sequence_number or 0, reverse=True)
        ),
        rows=(_count(current, "total-records") or 0) if current is not None else 0,
        newest_event=None if age.event_time_max is None else datetime.fromisoformat(age.event_time_max),
        age=None if age.age_seconds is None else timedelta(seconds=age.age_seconds),
        freshness=None if declared is None else declared.freshness,
        ingest=_newest_ingest(table),
        note=age.reason,
    )


def _without_table(group: FeatureGroup, locked: LockedTable | None) -> GroupFacts:
    constraints = {feature.name: constraint_text(feature) for feature in group.features}
    ids = {} if locked is None else {field.name: field.id for field in locked.fields}
    columns = tuple(
        ColumnFacts(
            name=column.name,
            type=column.type,
            is_required=column.required,
            is_key=column.name in group.entity_names,
            description=column.description,
            field_id=ids.get(column.name),
            constraints=constraints.get(column.name, ""),
        )
        for column in group.columns
    )
    return GroupFacts(
        table=group.table_name,
        group=group.name,
        version=group.version,
        owner=group.owner,
        description=group.description,
        tags=group.tags,
        ttl=ttl_text(group.ttl, group.ttl_bound),
        partition=f"{group.partition}(event_time)",
        columns=columns,
        schemas=_history({} if locked is None else _schemas_of_lock(locked), set()),
        freshness=group.freshness,
        note="there is no table yet; deploy the feature store",
    )


def _schemas_of(table: Table) -> dict[int, _Fields]:
    schemas: dict[int, _Fields] = {}
    for number, schema in sorted(table.schemas().items()):
        kinds = declared_types(schema, table.properties)
        schemas[number] = {field.name: (kinds[field.name], field.required) for field in schema.fields}
    return schemas


def _schemas_of_lock(locked: LockedTable) -> dict[int, _Fields]:
    return {schema.id: {f.name: (f.type, f.required) for f in schema.fields} for schema in locked.schemas}


def _history(schemas: Mapping[int, _Fields], there: set[str]) -> tuple[SchemaFacts, ...]:
    history: list[SchemaFacts] = []
    before: _Fields = {}
    for number, after in schemas.items():
        changes = [f"{name} {kind} added" for name, (kind, _) in after.items() if name not in before]
        changes += [f"{name} removed" for name in before if name not in after]
        for name in (name for name in after if name in before):
            (old, was_required), (new, is_required) = before[name], after[name]
            changes += [f"{name} widened from {old} to {new}"] if old != new else []
            changes += [f"{name} may be null"] if was_required and not is_required else []
        text = "; ".join(changes) or "no change that readers see"
        if not history:
            text = f"first of {len(after)} columns"
        history.append(SchemaFacts(id=number, changes=text, is_deployed=set(after) <= there))
        before = after
    return tuple(history)


def _newest_ingest(table: Table) -> IngestFacts | None:
    order = sequences(table)
    newest = max(
        ingest_ledger.entries(table), key=lambda entry: (entry.at, order.get(entry.snapshot_id, 0)), default=None
    )
    if newest is None:
        return None
    snapshot = table.snapshot_by_id(newest.snapshot_id)
    return IngestFacts(
        at=datetime.fromisoformat(newest.at),
        snapshot_id=newest.snapshot_id,
        rows=None if snapshot is None else _count(snapshot, "added-records"),
        content=newest.content,
    )


def _count(snapshot: Snapshot, key: str) -> int | None:
    value = None if snapshot.summary is None else snapshot.summary.additional_properties.get(key)
    return None if value is None else int(value)


def _sets(manifests: Manifests) -> tuple[tuple[SetFacts, ...], tuple[str, ...]]:
    sets, problems, erased = [], [], manifests.buried()
    for manifest_id in manifests.ids():
        try:
            manifest = manifests.read(manifest_id)
        except (ManifestError, ContractError) as error:
            problems.append(str(error))
            continue
        sets.append(_set(manifest_id, manifest, is_erased=manifest_id in erased))
    return tuple(sorted(sets, key=lambda found: (found.name, found.cutoff or "", found.id))), tuple(problems)


def _set(manifest_id: str, manifest: TrainingSetManifest, *, is_erased: bool) -> SetFacts:
    return SetFacts(
        id=manifest_id,
        name=manifest.name,
        rows=manifest.output.rows,
        semantics=manifest.semantics.as_of,
        cutoff=manifest.semantics.cutoff,
        reads=tuple(
            ReadFacts(
                table=each.table,
                snapshot_id=each.snapshot_id,
                columns=tuple(name for name in each.columns if name not in (*each.entities, *RESERVED)),
            )
            for each in pins(manifest)
        ),
        is_erased=is_erased,
    )
