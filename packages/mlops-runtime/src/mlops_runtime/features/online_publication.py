"""Publication of what ingests added: everything above a table's mark, also what an earlier publication left when it ended.

The mark, an item beside those of entities, is the sequence number up to which all rows are out. Rows that an erasure takes
meanwhile are withdrawn: its commit is either seen here after the rows were put, or it comes later, and then its own forgetting of
the online items does too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import GreaterThanOrEqual
from pyiceberg.table import Table

from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.iceberg_tables import read_rows, scanned, schema_at
from mlops_runtime.features.online_store import OnlineStore, Published
from mlops_runtime.features.table_types import arrow_schema

_ROW = "#row"
INLINE_ROWS = 5_000  # that an ingest publishes itself; more are left to the function on its event
# its constructor takes a column's name and a value; what pydantic generates for type checkers does not say so
_AT_LEAST: Any = GreaterThanOrEqual


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a publication did, and the sequence number up to which all rows of the table are out now."""

    published: Published
    sequence: int
    withdrawn: int = 0


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
        What was done; ``None`` if there are more rows than ``most``, of which then none is published.

    Raises:
        OnlineStoreError: If rows cannot be published; publishing again goes on from there.
    """
    table = load()
    name, uuid = table.name()[-1], str(table.metadata.table_uuid)
    mark, upto = online.published(name, uuid), _sequence(table)
    if upto <= mark:
        return Publication(published=Published(written=0, kept=0), sequence=mark)
    if most is not None and _count(table, mark, most) > most:
        return None
    rows = _above(table, group, mark)
    done = online.publish(group, rows, now=now)
    withdrawn = 0
    seen = upto
    while (later := _sequence(fresh := load())) > seen:
        # of an erasure, rows are gone; an ingest and a compaction take none away
        there = _above(fresh, group, mark)
        gone = _absent(group, rows, there)
        if gone.num_rows:
            withdrawn += online.withdraw(group, gone)
            online.publish(group, there, now=now)
            rows, upto = there, later
        seen = later
    sequence = _visible_upto(rows, upto, now)
    online.mark_published(name, uuid, sequence)
    return Publication(published=done, sequence=sequence, withdrawn=withdrawn)


def _sequence(table: Table) -> int:
    snapshot = table.current_snapshot()
    return 0 if snapshot is None else snapshot.sequence_number or 0


def _condition(mark: int) -> Any:
    """Return the condition of rows of ingests after a sequence number, by which files are pruned."""
    return _AT_LEAST(INGEST_ID, f"{mark + 1:019d}")


def _count(table: Table, mark: int, most: int) -> int:
    """Return how many rows there are above a mark; files say so where they are few."""
    snapshot = table.current_snapshot()
    assert snapshot is not None  # noqa: S101 - a table with a sequence number has one
    scan = scanned(table, snapshot.snapshot_id, (INGEST_ID,), where=_condition(mark))
    bound = sum(task.file.record_count for task in scan.plan_files())
    return bound if bound <= most else scan.to_arrow().num_rows


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


def _absent(group: FeatureGroup, rows: pa.Table, there: pa.Table) -> pa.Table:
    """Return the rows that are not there any more."""
    key = [*group.entity_names, EVENT_TIME, CREATED_TIME, INGEST_ID]
    numbered = rows.select(key).append_column(_ROW, pa.arange(0, rows.num_rows, 1))
    return rows.take(numbered.join(there.select(key), key, join_type="left anti")[_ROW])


def _visible_upto(rows: pa.Table, upto: int, now: datetime) -> int:
    """Return the sequence number up to which every row is visible."""
    instant = pa.scalar(now, pa.timestamp("us", "UTC"))
    early = rows.filter(pc.or_(pc.greater(rows[EVENT_TIME], instant), pc.greater(rows[CREATED_TIME], instant)))
    if not early.num_rows:
        return upto
    return int(min(each.partition("-")[0] for each in pc.unique(early[INGEST_ID]).to_pylist())) - 1
