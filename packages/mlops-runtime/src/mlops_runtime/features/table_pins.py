"""Tables at the state of a training set: by snapshot while it exists, otherwise by sequence number.

Tables are append-only, and an ingest id begins with the sequence number of its commit, which compaction preserves. So the rows of a
snapshot are those of ingests up to its sequence number, in any later state. Only an erasure breaks this, and it leaves a tombstone.
A tag retains a snapshot for other readers; only the newest few are kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import LessThan
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan, Table
from pyiceberg.table.update.snapshot import ManageSnapshots
from pyiceberg.types import NestedField

from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.iceberg_tables import row_condition, scanned, schema_at
from mlops_runtime.features.snapshot_tags import TAG_AGE, replaced_tags
from mlops_runtime.features.source import whole
from mlops_runtime.features.table_commits import committed
from mlops_runtime.features.table_description import FeatureTableError, TableMeaning
from mlops_runtime.features.table_types import read_schema

NO_SNAPSHOT = -1  # of a table without rows: https://iceberg.apache.org/spec/#table-metadata-fields
_BELOW: Any = LessThan  # the constructor takes a column's name and a value, which pydantic's signature lacks


def tag_snapshot(table: Table, snapshot_id: int, tag: str) -> None:
    """Tag a snapshot unless it is tagged, in a commit that drops all but the newest ``KEPT_TAGS`` tags of this kind.

    A snapshot that has expired meanwhile is not tagged: its sequence number pins it.

    Raises:
        FeatureTableError: If the tag already names another snapshot; pyiceberg would move it silently.
    """

    def attempt(fresh: Table) -> None:
        reference = fresh.metadata.refs.get(tag)
        if reference is not None and reference.snapshot_id != snapshot_id:
            raise FeatureTableError(
                f"tag {tag} of {'.'.join(fresh.name())} names snapshot {reference.snapshot_id}, not {snapshot_id}"
            )
        if reference is not None or fresh.snapshot_by_id(snapshot_id) is None:
            return
        with fresh.transaction() as transaction:
            changes = ManageSnapshots(transaction)
            # only tags of training sets have an age; others stay
            aged = {
                name: ref.snapshot_id for name, ref in fresh.metadata.refs.items() if ref.max_ref_age_ms is not None
            }
            for name in replaced_tags(aged, sequences(fresh)):
                changes.remove_tag(name)
            changes.create_tag(snapshot_id, tag, max_ref_age_ms=TAG_AGE // timedelta(milliseconds=1)).commit()

    committed(table, attempt)


def sequences(table: Table) -> dict[int, int]:
    """Return the sequence number of each existing snapshot."""
    return {snapshot.snapshot_id: snapshot.sequence_number or 0 for snapshot in table.metadata.snapshots}


def pin(
    table: Table, snapshot_id: int, tag: str | None, columns: Iterable[str], names: Sequence[str] | None = None
) -> PinnedTable:
    """Return a table pinned at a snapshot.

    Args:
        snapshot_id: The snapshot, or ``NO_SNAPSHOT``.
        tag: Its tag; ``None`` for snapshots that need not be retained.
        columns: Columns to read.
        names: Names of the columns in the training set. Default: as in the table.

    Raises:
        FeatureTableError: If the table does not have the snapshot.
    """
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None and snapshot_id != NO_SNAPSHOT:
        raise FeatureTableError(f"table {'.'.join(table.name())} has no snapshot {snapshot_id}; read a newer one")
    columns = tuple(columns)
    meaning = TableMeaning.of(table.name()[-1], table.properties)
    schema = schema_at(table, snapshot_id)
    return PinnedTable(
        group=meaning.group,
        version=meaning.version,
        database=table.name()[-2],
        table=table.name()[-1],
        table_uuid=str(table.metadata.table_uuid),
        snapshot_id=snapshot_id,
        sequence=sequences(table).get(snapshot_id, 0),
        schema_id=schema.schema_id,
        tag="" if tag is None else tag,
        columns=columns,
        entities=meaning.entities,
        ttl_seconds=None if meaning.ttl is None else meaning.ttl.total_seconds(),
        ttl_bound=None if meaning.ttl is None else meaning.ttl_bound,
        names=None if names is None else tuple(names),
        field_ids=tuple(schema.find_field(name).field_id for name in columns),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRows:
    """A scan of a pinned table, and the types of its columns at the snapshot."""

    scan: DataScan
    schema: pa.Schema

    def read(self) -> pa.Table:
        """Read the rows into memory; errors as for ``whole``."""
        return whole(self.scan).cast(self.schema)


def pinned_rows(
    table: Table,
    pinned: PinnedTable,
    columns: Sequence[str],
    *,
    created_by: datetime | None = None,
    event_by: datetime | None = None,
    since: datetime | None = None,
) -> PinnedRows:
    """Return rows of a table as they were at a pinned snapshot; bounds as for ``scanned``.

    Raises:
        FeatureTableError: If the snapshot is missing and its rows cannot be read by sequence number.
    """
    bounds: dict[str, Any] = {"created_by": created_by, "event_by": event_by, "since": since}
    if table.snapshot_by_id(pinned.snapshot_id) is not None:
        scan = scanned(table, pinned.snapshot_id, columns, **bounds)
        return PinnedRows(scan=scan, schema=read_schema(scan.projection(), table.properties))
    problem = expiry_problem(table, pinned)
    if problem is not None:
        raise FeatureTableError(problem)
    then = table.schemas()[pinned.schema_id]
    # columns by id with their names of then; files written after a column was widened have the wider type
    schemas = [*(schema for _, schema in sorted(table.schemas().items())), table.schema()]
    now = {field.field_id: field for schema in schemas for field in schema.fields}
    read = Schema(*(_wider(field, now[field.field_id]) for field in then.fields), schema_id=max(table.schemas()) + 1)
    metadata = table.metadata.model_copy(
        update={"schemas": [*table.metadata.schemas, read], "current_schema_id": read.schema_id}
    )
    scan = DataScan(
        table_metadata=metadata,
        io=table.io,
        row_filter=row_condition(**bounds, where=_BELOW(INGEST_ID, f"{pinned.sequence + 1:019d}")),
        selected_fields=tuple(columns),
    )
    return PinnedRows(scan=scan, schema=read_schema(then.select(*columns), table.properties))


def expiry_problem(table: Table, pinned: PinnedTable) -> str | None:
    """Return why a table can no longer be read as of a pinned snapshot; ``None`` if it can."""
    if table.snapshot_by_id(pinned.snapshot_id) is not None:
        return None
    message = f"snapshot {pinned.snapshot_id} of table {pinned.table} (tag {pinned.tag}) has expired"
    if pinned.schema_id not in table.schemas():
        return f"{message}, and schema {pinned.schema_id} of its columns was removed"
    return None


def _wider(then: NestedField, now: NestedField) -> NestedField:
    return NestedField(then.field_id, then.name, now.field_type, required=then.required and now.required)
