"""What a table remembers of its ingests: idempotency keys, contents and the newest event, in the summaries of its snapshots.

A key is looked for in the state that is committed to. Snapshots that an erasure expires hand their keys to the snapshot that
replaces them, so that each is remembered for ``REMEMBERED`` at least, whatever becomes of the snapshots.

See: https://iceberg.apache.org/spec/#snapshots (optional fields of the summary)
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

KEY = "mlops.idempotency-key"
CONTENT = "mlops.content-hash"
INGEST = "mlops.ingest-id"
INGESTED_AT = "mlops.ingested-at"
EVENT_TIME_MAX = "mlops.event-time-max"
_CARRIED = "mlops.ledger"
REMEMBERED = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ingest: its key, the hash of its content, its snapshot and when it was made (ISO 8601, UTC)."""

    key: str
    content: str
    snapshot_id: int
    at: str


def summary(
    table: Table, *, key: str, content: str, ingest: str, newest_event: datetime, now: datetime
) -> dict[str, str]:
    """Return what an ingest writes into the summary of its snapshot.

    Args:
        table: The state that the ingest commits to.
        key: Idempotency key.
        content: Content hash of the batch.
        ingest: Ingest id of its rows.
        newest_event: Newest event time of the batch; the table's stays the newest of all.
        now: The time.
    """
    before = newest(table)
    event = newest_event if before is None else max(before, newest_event)
    return {KEY: key, CONTENT: content, INGEST: ingest, INGESTED_AT: _iso(now), EVENT_TIME_MAX: _iso(event)}


def newest(table: Table) -> datetime | None:
    """Return the newest event time that was ever ingested, or ``None`` before the first ingest."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        value = _of(snapshot).get(EVENT_TIME_MAX)
        if value is not None:
            return datetime.fromisoformat(value)
        # whoever compacts a table says nothing of events
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.snapshot_by_id(parent)
    return None


def find(table: Table, key: str) -> Entry | None:
    """Return the ingest of a key, if the table remembers one."""
    return next((entry for entry in entries(table) if entry.key == key), None)


def entries(table: Table) -> list[Entry]:
    """Return the ingests that the table remembers."""
    return _entries(table.metadata.snapshots)


def carried(table: Table, expiring: Collection[int], now: datetime) -> dict[str, str]:
    """Return what the snapshot that stands for expired ones writes into its summary: their keys, and the newest event.

    Args:
        table: The table.
        expiring: Ids of the snapshots that go.
        now: Keys older than ``REMEMBERED`` at this time are forgotten.
    """
    gone = [snapshot for snapshot in table.metadata.snapshots if snapshot.snapshot_id in expiring]
    kept = [entry for entry in _entries(gone) if datetime.fromisoformat(entry.at) >= now - REMEMBERED]
    values = {_CARRIED: json.dumps([asdict(entry) for entry in kept])}
    event = newest(table)
    return values if event is None else {**values, EVENT_TIME_MAX: _iso(event)}


def _entries(snapshots: Collection[Snapshot]) -> list[Entry]:
    found: list[Entry] = []
    for snapshot in snapshots:
        values = _of(snapshot)
        if KEY in values:
            at = values.get(INGESTED_AT, _iso(datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)))
            found.append(
                Entry(key=values[KEY], content=values.get(CONTENT, ""), snapshot_id=snapshot.snapshot_id, at=at)
            )
        found += [Entry(**entry) for entry in json.loads(values.get(_CARRIED, "[]"))]
    return found


def _of(snapshot: Snapshot | None) -> dict[str, str]:
    if snapshot is None or snapshot.summary is None:
        return {}
    return snapshot.summary.additional_properties


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
