"""Which ingests a table knows: the newest by the summaries of its snapshots, those before by objects of their own.

An ingest expires old snapshots in its own commit. Before that commit it writes an object for each key that the expired summaries
hold. A look for a key reads a state of the table first, then its summaries, then the objects. If the state lacks the summary
of a key that was ingested, the commit that dropped it is that state's or an earlier one, and the object was written before it; so
the look that comes after finds it, as S3 reads what was written before. Keys are kept as hashes: people put ids of entities into
them.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ExpireSnapshots

from mlops_runtime.contracts.features import LEDGER
from mlops_runtime.features.table_freshness import EVENT_TIME_MAX

KEY_HASH = "mlops.idempotency-key-sha256"
CONTENT = "mlops.content-hash"
INGEST = "mlops.ingest-id"
INGESTED_AT = "mlops.ingested-at"
REMEMBERED = timedelta(days=90)

# snapshots that are kept of the newest; twice as many before the older half goes
KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ingest: the hash of its key, the hash of its content, its snapshot and when it was made (ISO 8601, UTC)."""

    key_hash: str
    content: str
    snapshot_id: int
    at: str


def hash_of(key: str) -> str:
    """Return the hash of an idempotency key, which the table keeps in its place."""
    return hashlib.sha256(key.encode()).hexdigest()


def id_end(key_hash: str) -> str:
    """Return the end of the ids of an ingest's rows."""
    return f"-{key_hash[:16]}"


def ingest_summary(
    table: Table, *, key_hash: str, content: str, ingest: str, newest_event: datetime, now: datetime
) -> dict[str, str]:
    """Return what an ingest writes into the summary of its snapshot.

    Args:
        table: The state that the ingest commits to.
        key_hash: Hash of the idempotency key.
        content: Content hash of the batch.
        ingest: Ingest id of its rows.
        newest_event: Newest event time of the batch; the table's stays the newest of all.
        now: The time.
    """
    before = newest(table)
    event = newest_event if before is None else max(before, newest_event)
    return {KEY_HASH: key_hash, CONTENT: content, INGEST: ingest, INGESTED_AT: _iso(now), EVENT_TIME_MAX: _iso(event)}


def newest(table: Table) -> datetime | None:
    """Return the newest event time that was ever ingested, or ``None`` before the first ingest."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        value = _of(snapshot).get(EVENT_TIME_MAX)
        if value is not None:
            return datetime.fromisoformat(value)
        # a compaction of Glue's has no event times
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.snapshot_by_id(parent)
    return None


def newest_summary(table: Table) -> dict[str, str]:
    """Return what a snapshot that brings no rows writes into its summary: the newest event time, if there is one."""
    event = newest(table)
    return {} if event is None else {EVENT_TIME_MAX: _iso(event)}


def find(table: Table, key_hash: str) -> Entry | None:
    """Return the ingest of a key, if the table remembers one: in the summaries of this state, then in the ledger."""
    for entry in entries(table):
        if entry.key_hash == key_hash:
            return entry
    try:
        with table.io.new_input(_place(table, key_hash)).open() as file:
            return Entry(**json.loads(file.read()))
    except FileNotFoundError:
        return None


def entries(table: Table) -> list[Entry]:
    """Return the newest ingests, of the snapshots that are there."""
    return _entries(table.metadata.snapshots)


def record(table: Table, going: Collection[int]) -> None:
    """Write an object for each key that snapshots hold, before a commit expires them; doing so again writes the same.

    Args:
        table: The table.
        going: Ids of the snapshots.
    """
    for entry in _entries(s for s in table.metadata.snapshots if s.snapshot_id in going):
        note(table, entry)


def note(table: Table, entry: Entry) -> None:
    """Write an object of the ledger; doing so again writes the same."""
    with table.io.new_output(_place(table, entry.key_hash)).create(overwrite=True) as file:
        file.write(json.dumps(asdict(entry), sort_keys=True).encode())


def expirable(table: Table) -> list[int]:
    """Return the snapshots that the next commit expires: when ``2 * KEPT`` stand without a reference, all but the newest ``KEPT``.

    What says the newest event stays.
    """
    referred = {reference.snapshot_id for reference in table.metadata.refs.values()}
    free = [s for s in table.metadata.snapshots if s.snapshot_id not in referred]
    if len(free) < 2 * KEPT:
        return []
    said = [s for s in table.metadata.snapshots if EVENT_TIME_MAX in _of(s)]
    kept = max(said, key=_sequence).snapshot_id if said else None
    return [s.snapshot_id for s in sorted(free, key=_sequence)[:-KEPT] if s.snapshot_id != kept]


@contextmanager
def committing(table: Table) -> Iterator[Transaction]:
    """Give the transaction of an ingest, which expires what is due in the same commit, after the ledger has its keys."""
    going = expirable(table)
    record(table, going)
    with table.transaction() as transaction:
        yield transaction
        if going:
            ExpireSnapshots(transaction).by_ids(going).commit()


def ledger_place(table: Table) -> str:
    """Return where the objects of a table lie: outside of its location, where what the table does not name is litter."""
    warehouse, database, name = table.location().rstrip("/").rsplit("/", 2)
    return f"{warehouse}/{LEDGER}/{database}/{name}/{table.metadata.table_uuid}"


def _place(table: Table, key_hash: str) -> str:
    return f"{ledger_place(table)}/{key_hash}.json"


def _entries(snapshots: Iterable[Snapshot]) -> list[Entry]:
    found: list[Entry] = []
    for snapshot in snapshots:
        values = _of(snapshot)
        if KEY_HASH in values:
            at = values.get(INGESTED_AT, _iso(datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)))
            found.append(
                Entry(
                    key_hash=values[KEY_HASH],
                    content=values.get(CONTENT, ""),
                    snapshot_id=snapshot.snapshot_id,
                    at=at,
                )
            )
    return found


def _of(snapshot: Snapshot | None) -> dict[str, str]:
    if snapshot is None or snapshot.summary is None:
        return {}
    return snapshot.summary.additional_properties


def _sequence(snapshot: Snapshot) -> int:
    return snapshot.sequence_number or 0


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
