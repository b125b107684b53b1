"""Publication of what ingests added: everything above a table's mark, also what an earlier publication left when it ended.

The mark, an item beside those of entities, is the sequence number up to which all rows are out. An erasure ends the generation of a
table, another item, after it rewrote the table and before it forgets the entity's items. A publication reads the generation first,
then the rows, and the store itself refuses them once it has ended: what is written is forgotten or refused, also when processes are
killed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import GreaterThanOrEqual
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.iceberg_tables import scanned, schema_at
from mlops_runtime.features.online_items import ErasedMeanwhileError, Generation, OnlineStoreError, ingests_after
from mlops_runtime.features.online_store import OnlineStore, Published
from mlops_runtime.features.source import MissingFileError, read_rows, scan_tasks, whole
from mlops_runtime.features.table_types import arrow_schema

_GENERATIONS = 8  # that may end while rows are published
INLINE_ROWS = 5_000  # that an ingest publishes itself; more are left to the function on its event
# its constructor takes a column's name and a value; what pydantic generates for type checkers does not say so
_AT_LEAST: Any = GreaterThanOrEqual


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a publication did, and the sequence number up to which all rows of the table are out now."""

    published: Published
    sequence: int


def publish_new(
    load: Callable[[], Table], group: FeatureGroup, online: OnlineStore, *, now: datetime, most: int | None = None
) -> Publication | None:
    """Publish the rows of a table above its mark, and move the mark.

    Rows that are not visible yet hold the mark back: a later publication brings them.

    Args:
        load: Loads the table as it is now.
        group: Its group.
        online: Where rows are published.
        now: The time.
        most: How many rows may be published here. Default: any number.

    Returns:
        What was done; ``None`` if there are more rows than ``most``, and then none is published.

    Raises:
        OnlineStoreError: If rows cannot be published, also as a file of the table is missing; publishing again goes on from there.
        ErasedMeanwhileError: If erasures came again and again.
    """
    missing_at: Snapshot | None = None
    for _ in range(_GENERATIONS):
        try:
            generation = online.generation(group.table_name)  # before the rows are read, which it is the generation of
            table = load()
            return _publish(table, group, online, generation=generation, now=now, most=most)
        except ErasedMeanwhileError as error:
            ended: Exception = error
        except MissingFileError as error:
            ended, current = error, table.current_snapshot()
            if current == missing_at:  # an erasure makes another state before it removes a file
                raise OnlineStoreError(
                    f"rows of {group.table_name} are in the table, and not all of them are online: {error}; then publish them "
                    "again, by the next ingest or publish_online"
                ) from error
            missing_at = current
        except FileNotFoundError as error:
            ended = error
    raise ErasedMeanwhileError(
        f"{group.table_name} was rewritten {_GENERATIONS} times while its rows were published, the last time: {ended}"
    ) from ended


def _publish(
    table: Table, group: FeatureGroup, online: OnlineStore, *, generation: Generation, now: datetime, most: int | None
) -> Publication | None:
    name, uuid = table.name()[-1], str(table.metadata.table_uuid)
    mark, upto = online.published(name, uuid), _sequence(table)
    if upto <= mark:
        return Publication(published=Published(written=0, kept=0), sequence=mark)
    if most is not None and _count(table, mark, most) > most:
        return None
    rows = _above(table, group, mark)
    done = online.publish(group, rows, now=now, generation=generation)
    sequence = _visible_upto(rows, upto, now)
    online.mark_published(name, uuid, sequence, generation=generation)
    return Publication(published=done, sequence=sequence)


def _sequence(table: Table) -> int:
    snapshot = table.current_snapshot()
    return 0 if snapshot is None else snapshot.sequence_number or 0


def _condition(mark: int) -> Any:
    """Return the condition of rows of ingests after a sequence number, by which files are pruned."""
    return _AT_LEAST(INGEST_ID, ingests_after(mark))


def _count(table: Table, mark: int, most: int) -> int:
    """Return how many rows there are above a mark; files say so where they are few."""
    snapshot = table.current_snapshot()
    assert snapshot is not None  # noqa: S101 - a table with a sequence number has one
    scan = scanned(table, snapshot.snapshot_id, (INGEST_ID,), where=_condition(mark))
    bound = sum(task.file.record_count for task in scan_tasks(scan))
    return bound if bound <= most else whole(scan).num_rows


def _above(table: Table, group: FeatureGroup, mark: int) -> pa.Table:
    """Return the rows above a mark; features newer than the newest snapshot are null."""
    snapshot, schema = table.current_snapshot(), arrow_schema(group)
    assert snapshot is not None  # noqa: S101 - a table with a sequence number has one
    written = schema_at(table, snapshot.snapshot_id).column_names
    there = [name for name in schema.names if name in written]
    rows = read_rows(table, snapshot.snapshot_id, there, where=_condition(mark))
    for name in (name for name in schema.names if name not in written):
        rows = rows.append_column(schema.field(name), pa.nulls(rows.num_rows, schema.field(name).type))
    return rows.select(schema.names)


def _visible_upto(rows: pa.Table, upto: int, now: datetime) -> int:
    """Return the sequence number up to which every row is visible."""
    instant = pa.scalar(now, pa.timestamp("us", "UTC"))
    early = rows.filter(pc.or_(pc.greater(rows[EVENT_TIME], instant), pc.greater(rows[CREATED_TIME], instant)))
    if not early.num_rows:
        return upto
    return int(min(each.partition("-")[0] for each in pc.unique(early[INGEST_ID]).to_pylist())) - 1
