"""Feature tables as Iceberg: schema from group and lock file, commits that are tried again, tags, pins."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.transforms import MonthTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, FeatureGroup
from mlops_runtime.features.lock import LockedTable

T = TypeVar("T")

COMMIT_ATTEMPTS = 8
FORMAT_VERSION = "2"  # Athena reads no v3 tables

_TYPES: dict[str, PrimitiveType] = {
    "boolean": BooleanType(),
    "int": IntegerType(),
    "long": LongType(),
    "float": FloatType(),
    "double": DoubleType(),
    "string": StringType(),
    "date": DateType(),
    "timestamp": TimestamptzType(),
}

_ARROW_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


class FeatureTableError(ValueError):
    """A feature table is not what its group says, or cannot be read as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMeaning:
    """What the properties of a feature table say: group, version, key, time to live."""

    group: str
    version: int
    entities: tuple[str, ...]
    ttl: timedelta | None

    @classmethod
    def of(cls, name: str, properties: Mapping[str, str]) -> "TableMeaning":
        """Read it from a table's properties.

        Raises:
            FeatureTableError: If the table does not say what it is.
        """
        needed = ("mlops.group", "mlops.version", "mlops.entities")
        absent = [key for key in needed if key not in properties]
        if absent:
            raise FeatureTableError(f"table {name} has no property {', '.join(absent)}; it is not a feature table")
        ttl = properties.get("mlops.ttl-seconds")
        return cls(
            group=properties["mlops.group"],
            version=int(properties["mlops.version"]),
            entities=tuple(properties["mlops.entities"].split(",")),
            ttl=None if ttl is None else timedelta(seconds=int(ttl)),
        )


def iceberg_schema(group: FeatureGroup, locked: LockedTable) -> Schema:
    """Return the Iceberg schema of a group with the ids of its lock file."""
    descriptions = {column.name: column.description for column in group.columns}
    return Schema(
        *(
            NestedField(f.id, f.name, _TYPES[f.type], required=f.required, doc=descriptions[f.name])
            for f in locked.fields
        ),
        identifier_field_ids=list(locked.identifier_field_ids),
    )


def iceberg_partition(locked: LockedTable) -> PartitionSpec:
    """Return the partition spec of a group: the month of the event time."""
    return PartitionSpec(*(PartitionField(p.source_id, p.id, MonthTransform(), p.name) for p in locked.partition))


def arrow_schema(group: FeatureGroup) -> pa.Schema:
    """Return the Arrow schema of a group's rows, in the order of its columns."""
    return pa.schema([pa.field(c.name, _ARROW_TYPES[c.type], nullable=not c.required) for c in group.columns])


def check_table(group: FeatureGroup, table: Table) -> None:
    """Check that a table can take the rows of a group.

    Raises:
        FeatureTableError: With each column that is absent or has another type, and each property that differs.
    """
    problems = []
    found = {field.name: field for field in table.schema().fields}
    for column in group.columns:
        field = found.get(column.name)
        if field is None:
            problems.append(f"column {column.name!r} is absent")
        elif field.field_type != _TYPES[column.type]:
            problems.append(f"column {column.name!r} is {field.field_type}, declared is {column.type}")
    others = sorted(set(found) - {column.name for column in group.columns})
    problems += [f"column {name!r} is required but not declared" for name in others if found[name].required]
    for key, value in group.properties.items():
        if key != "mlops.owner" and table.properties.get(key) != value:
            problems.append(f"property {key} is {table.properties.get(key)!r}, declared is {value!r}")
    if problems:
        raise FeatureTableError(
            f"table {group.table_name} does not fit its group: {'; '.join(problems)}; deploy the feature store first"
        )


def committed(table: Table, attempt: Callable[[Table], T]) -> T:
    """Run ``attempt`` on the newest state of a table until its commit is not overtaken by another writer's.

    pyiceberg's own retries put the same change on top of a state that nobody looked at, so a check made before the first try
    says nothing about the last. Here they are off, and ``attempt`` sees the state that it commits to.

    Raises:
        CommitFailedException: If each of ``COMMIT_ATTEMPTS`` tries was overtaken.
    """
    for tries_left in reversed(range(COMMIT_ATTEMPTS)):
        table.refresh()
        # only this object changes: the catalog applies updates to the metadata that it holds itself
        table.metadata = table.metadata.model_copy(
            update={"properties": {**table.metadata.properties, "commit.retry.num-retries": "0"}}
        )
        try:
            return attempt(table)
        except CommitFailedException:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def snapshot_with(table: Table, key: str, value: str) -> Snapshot | None:
    """Return the snapshot whose summary holds ``key`` with ``value``, if the table still has it."""
    for snapshot in table.metadata.snapshots:
        summary = snapshot.summary
        if summary is not None and summary.additional_properties.get(key) == value:
            return snapshot
    return None


def tag_snapshot(table: Table, snapshot_id: int, tag: str) -> None:
    """Give a snapshot a tag, once; retention keeps tagged snapshots.

    Raises:
        FeatureTableError: If the tag already names another snapshot; pyiceberg would move it without a word.
    """

    def attempt(fresh: Table) -> None:
        reference = fresh.metadata.refs.get(tag)
        if reference is None:
            fresh.manage_snapshots().create_tag(snapshot_id, tag).commit()
        elif reference.snapshot_id != snapshot_id:
            raise FeatureTableError(
                f"tag {tag} of {'.'.join(fresh.name())} names snapshot {reference.snapshot_id}, not {snapshot_id}"
            )

    committed(table, attempt)


def pin(table: Table, tag: str, columns: Iterable[str]) -> PinnedTable:
    """Describe a table at the snapshot that ``tag`` names.

    Raises:
        FeatureTableError: If the table has no such tag.
    """
    reference = table.metadata.refs.get(tag)
    snapshot = None if reference is None else table.snapshot_by_id(reference.snapshot_id)
    if snapshot is None:
        raise FeatureTableError(f"table {'.'.join(table.name())} has no snapshot with tag {tag}")
    meaning = TableMeaning.of(table.name()[-1], table.properties)
    return PinnedTable(
        group=meaning.group,
        version=meaning.version,
        database=table.name()[-2],
        table=table.name()[-1],
        table_uuid=str(table.metadata.table_uuid),
        snapshot_id=snapshot.snapshot_id,
        schema_id=table.metadata.current_schema_id if snapshot.schema_id is None else snapshot.schema_id,
        metadata_location=table.metadata_location,
        tag=tag,
        columns=tuple(columns),
        entities=meaning.entities,
        ttl_seconds=None if meaning.ttl is None else int(meaning.ttl.total_seconds()),
    )


def read_rows(
    table: Table, snapshot_id: int, columns: Iterable[str], *, known_by: datetime, since: datetime | None = None
) -> pa.Table:
    """Read columns of a snapshot: rows known by a time, and not older than another where one is given."""
    condition = f"{CREATED_TIME} <= '{_iso(known_by)}' and {EVENT_TIME} <= '{_iso(known_by)}'"
    if since is not None:
        condition += f" and {EVENT_TIME} >= '{_iso(since)}'"
    rows = table.scan(row_filter=condition, selected_fields=tuple(columns), snapshot_id=snapshot_id).to_arrow()
    plain = [
        pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type, f.nullable) for f in rows.schema
    ]
    return rows.cast(pa.schema(plain))


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
