"""Feature tables in Iceberg: schemas from group and lock file, checks, and scans of a snapshot."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, cast

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform, MonthTransform, Transform
from pyiceberg.types import ListType, NestedField

from mlops_runtime.contracts.feature_service import FeatureServiceSpec, ServedColumn, ServedGroup
from mlops_runtime.features.column_type import FeatureType
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, VECTOR, FeatureGroup
from mlops_runtime.features.feature_service import FeatureServiceError, group_changes
from mlops_runtime.features.lock_file import FeatureLock, LockedField, LockedPartition, LockedSchema, LockedTable
from mlops_runtime.features.table_description import FeatureTableError, TableDescription, TableMeaning
from mlops_runtime.features.table_types import arrow_schema, declared_types, iceberg_type, is_of_type

# the constructors take a column's name and a value, which the signatures that pydantic generates lack
_EQUAL: Any = EqualTo
_AT_MOST: Any = LessThanOrEqual
_AT_LEAST: Any = GreaterThanOrEqual

FORMAT_VERSION = "2"  # Athena does not support v3 tables

# properties that are documentation only
_WORDS = {"mlops.description", "mlops.owner", "mlops.tags"}
_TRANSFORMS: dict[str, Transform[Any, Any]] = {"month": MonthTransform(), "day": DayTransform()}


def iceberg_schema(group: FeatureGroup, locked: LockedTable) -> Schema:
    """Return the Iceberg schema of a group with the ids of its lock file."""
    descriptions = {column.name: column.description for column in group.columns}
    return Schema(
        *(
            NestedField(f.id, f.name, iceberg_type(f.type, f.element_id), required=f.required, doc=descriptions[f.name])
            for f in locked.fields
        ),
        identifier_field_ids=list(locked.identifier_field_ids),
    )


def lock_of(table: Table, group: FeatureGroup) -> FeatureLock:
    """Return the lock file that a table corresponds to, without nullable columns that the group does not declare."""
    known, types = {column.name for column in group.columns}, feature_types(table)
    spec = table.specs()[min(table.specs())]  # users may have changed the partitioning since
    fields = tuple(
        LockedField(
            id=field.field_id,
            name=field.name,
            type=types[field.name],
            required=field.required,
            element_id=field.field_type.element_id if isinstance(field.field_type, ListType) else None,
        )
        for field in table.schema().fields
        if field.required or field.name in known
    )
    partition = tuple(
        LockedPartition(
            id=part.field_id,
            source_id=part.source_id,
            name=part.name,
            transform=cast("Literal['month', 'day']", str(part.transform)),
        )
        for part in spec.fields
    )
    locked = LockedTable(
        entities=TableMeaning.of(group.table_name, table.properties).entities,
        next_field_id=table.metadata.last_column_id + 1,
        partition_spec_id=spec.spec_id,
        partition=partition,
        schemas=(LockedSchema(id=table.schema().schema_id, fields=fields),),
    )
    return FeatureLock(tables={group.table_name: locked})


def iceberg_partition(locked: LockedTable) -> PartitionSpec:
    """Return the partition spec of a group: month or day of the event time."""
    return PartitionSpec(
        *(PartitionField(p.source_id, p.id, _TRANSFORMS[p.transform], p.name) for p in locked.partition)
    )


def iceberg_sort_order(group: FeatureGroup, locked: LockedTable) -> SortOrder:
    """Return the sort order of a file's rows, entity and event time, which lets readers of few entities skip most of a file."""
    ids = {field.name: field.id for field in locked.fields}
    return SortOrder(
        *(
            SortField(ids[name], IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_LAST)
            for name in sort_columns(group)
        )
    )


def sort_columns(group: FeatureGroup) -> tuple[str, ...]:
    """Return the columns by which the rows of a file are sorted."""
    return (*group.entity_names, EVENT_TIME)


def described(table: Table) -> TableDescription:
    """Return a table's description of itself."""
    return TableDescription.of(table.name()[-1], json.loads(table.metadata.model_dump_json()))


def feature_types(table: Table) -> dict[str, FeatureType]:
    """Return the types of a table's columns, in the notation of groups."""
    return declared_types(table.schema(), table.properties)


def check_table(
    group: FeatureGroup, table: Table | TableMetadata, *, fix: str = "deploy the feature store first"
) -> None:
    """Check that a table, or its future metadata, can store the rows of a group.

    Raises:
        FeatureTableError: With each column that is missing or has another type, and each property that differs.
    """
    problems = []
    found = {field.name: field for field in table.schema().fields}
    for column in group.columns:
        field = found.get(column.name)
        if field is None:
            problems.append(f"column {column.name!r} is missing")
        elif not is_of_type(field.field_type, column.type):
            problems.append(f"column {column.name!r} is {field.field_type}, declared is {column.type}")
        elif field.required and not column.required:
            problems.append(f"column {column.name!r} is required, declared is nullable")
    others = sorted(set(found) - {column.name for column in group.columns})
    problems += [f"column {name!r} is required but not declared" for name in others if found[name].required]
    undeclared = {f"{VECTOR}{name}" for name in others}
    meaning = {
        k: v for k, v in table.properties.items() if k.startswith("mlops.") and k not in undeclared
    } | group.properties
    for key in sorted(set(meaning) - _WORDS):
        if table.properties.get(key) != group.properties.get(key):
            problems.append(
                f"property {key} is {table.properties.get(key)!r}, declared is {group.properties.get(key)!r}"
            )
    if problems:
        raise FeatureTableError(f"table {group.table_name} does not fit its group: {'; '.join(problems)}; {fix}")


def check_service(spec: FeatureServiceSpec, load: Callable[[str], Table]) -> None:
    """Check that the tables of a feature service match its stored groups.

    Raises:
        FeatureServiceError: If a group changed; with every change.
    """
    problems = []
    for stored in spec.groups:
        table = load(stored.table)
        meaning, types = TableMeaning.of(stored.table, table.properties), feature_types(table)
        now = ServedGroup(
            group=meaning.group,
            version=meaning.version,
            table=stored.table,
            entities=tuple(ServedColumn(name=name, type=types[name]) for name in meaning.entities),
            features=tuple(ServedColumn(name=f.name, type=types[f.name]) for f in stored.features if f.name in types),
            ttl_seconds=None if meaning.ttl is None else meaning.ttl.total_seconds(),
            ttl_bound=None if meaning.ttl is None else meaning.ttl_bound,
        )
        problems += [f"group {stored.group!r}: {change}" for change in group_changes(stored, now)]
    if problems:
        raise FeatureServiceError(
            f"feature service {spec.name!r} version {spec.version} does not match its tables: {'; '.join(problems)}; declare "
            "the next version of the service with the current groups"
        )


def schema_at(table: Table, snapshot_id: int) -> Schema:
    """Return the schema that a snapshot was written with, without columns that were added later."""
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None or snapshot.schema_id is None:
        return table.schema()
    return table.schemas()[snapshot.schema_id]


def scanned(
    table: Table,
    snapshot_id: int,
    columns: Iterable[str],
    *,
    created_by: datetime | None = None,
    event_by: datetime | None = None,
    since: datetime | None = None,
    where: BooleanExpression | None = None,
) -> DataScan:
    """Return the scan of columns of a snapshot.

    Args:
        created_by: Latest created time; ``as_of`` means this. Default: no limit.
        event_by: Latest event time. Default: no limit.
        since: Earliest event time. Default: no limit.
        where: A further condition. Default: none.
    """
    condition = row_condition(created_by=created_by, event_by=event_by, since=since, where=where)
    return table.scan(row_filter=condition, selected_fields=tuple(columns), snapshot_id=snapshot_id)


def row_condition(
    *,
    created_by: datetime | None = None,
    event_by: datetime | None = None,
    since: datetime | None = None,
    where: BooleanExpression | None = None,
) -> BooleanExpression:
    """Return the row filter for the bounds of ``scanned``."""
    conditions: list[BooleanExpression] = [] if where is None else [where]
    if created_by is not None:
        conditions.append(_AT_MOST(CREATED_TIME, _iso(created_by)))
    if event_by is not None:
        conditions.append(_AT_MOST(EVENT_TIME, _iso(event_by)))
    if since is not None:
        conditions.append(_AT_LEAST(EVENT_TIME, _iso(since)))
    return And(AlwaysTrue(), AlwaysTrue(), *conditions)


def written_columns(table: Table, group: FeatureGroup, snapshot_id: int) -> list[str]:
    """Return the columns of a group that are in a snapshot's schema."""
    written = schema_at(table, snapshot_id).column_names
    return [name for name in arrow_schema(group).names if name in written]


def with_columns(rows: pa.Table, group: FeatureGroup) -> pa.Table:
    """Return rows of a group with its missing features added as nulls."""
    schema = arrow_schema(group)
    for name in (name for name in group.feature_names if name not in rows.column_names):
        rows = rows.append_column(schema.field(name), pa.nulls(rows.num_rows, schema.field(name).type))
    return rows


def same_entity(values: Mapping[str, object]) -> BooleanExpression:
    """Return the condition for rows of one entity: all keys equal."""
    return And(AlwaysTrue(), AlwaysTrue(), *(_EQUAL(name, literal(v)) for name, v in values.items()))


def literal(value: object) -> object:
    """Return a value as pyiceberg's conditions require it: times in ISO 8601."""
    return _iso(value) if isinstance(value, datetime) else value


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
