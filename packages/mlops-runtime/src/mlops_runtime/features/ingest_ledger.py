"""Which ingests a table knows: the newest by the summaries of its snapshots, those before by objects of their own.

An ingest expires old snapshots in its own commit. Before that commit it writes an object for each key that the expired summaries
hold. A look for a key reads a state of the table first, then its summaries, then the objects. If the state lacks the summary
of a key that was ingested, the commit that dropped it is that state's or an earlier one, and the object was written before it; so
the look that comes after finds it, as S3 reads what was written before. Keys are kept as hashes: people put ids of entities into
them. An index says which objects there must be, see ``ledger_index``.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ExpireSnapshots, UpdateSnapshot

from mlops_runtime.contracts.features import LEDGER
from mlops_runtime.features.ledger_index import DIGITS, REMEMBERED, LedgerIndex, LostLedgerError, read_index
from mlops_runtime.features.table_files import put
from mlops_runtime.features.table_freshness import EVENT_TIME_MAX

KEY_HASH = "mlops.idempotency-key-sha256"
CONTENT = "mlops.content-hash"
INGEST = "mlops.ingest-id"
INGESTED_AT = "mlops.ingested-at"
INDEX = "mlops.ledger-index"

# snapshots that are kept of the newest; twice as many before the older half goes
KEPT = 4


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
    return f"-{key_hash[:DIGITS]}"


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
    value = _said(table, EVENT_TIME_MAX)
    return None if value is None else datetime.fromisoformat(value)


def newest_summary(table: Table) -> dict[str, str]:
    """Return what a snapshot that brings no rows writes into its summary: the newest event time, and the index of the ledger."""
    event = newest(table)
    return ({} if event is None else {EVENT_TIME_MAX: _iso(event)}) | _index_named(table)


def find(table: Table, key_hash: str, now: datetime) -> Entry | None:
    """Return the ingest of a key, if the table remembers one: in the summaries of this state, then in the ledger.

    Args:
        table: The table, at a state.
        key_hash: Hash of the idempotency key.
        now: The time; keys that were ingested 90 days before may be forgotten.

    Raises:
        LostLedgerError: If the key was ingested and its object is missing or damaged, or the index that would say so.
    """
    for entry in entries(table):
        if entry.key_hash == key_hash:
            return entry
    place = _place(table, key_hash)
    try:
        with table.io.new_input(place).open() as file:
            return Entry(**json.loads(file.read()))
    except FileNotFoundError:
        what = "is missing"
    except (ValueError, TypeError) as error:
        what = f"is damaged ({error})"
    # an object counts once the index names it
    day = _index(table, now.date()).day_of(key_hash)
    if day is None or day < now.date() - REMEMBERED:
        return None
    raise LostLedgerError(
        f"this batch was ingested into {table.name()[-1]} on {day}, its rows have ids that end with {id_end(key_hash)!r}; but the "
        f"object of the ledger that remembers it {what}: {place}. Nothing was written. Restore the object from a backup or a "
        "version of the bucket; if the rows shall be written once more, give another idempotency_key",
        place,
    )


def entries(table: Table) -> list[Entry]:
    """Return the newest ingests, of the snapshots that are there."""
    return _entries(table.metadata.snapshots)


def record(table: Table, going: Collection[int], now: datetime) -> dict[str, str]:
    """Write an object for each key that snapshots hold, and the index, before a commit expires them.

    Doing so again writes the same.

    Args:
        table: The table.
        going: Ids of the snapshots.
        now: The time.

    Returns:
        What the summary of that commit says: the name of the index.

    Raises:
        LostLedgerError: If the index of before is missing.
    """
    there = _entries(s for s in table.metadata.snapshots if s.snapshot_id in going)
    if not there:
        return _index_named(table)
    index = _index(table, now.date()).plus({entry.key_hash: entry.at for entry in there})
    for entry in there:
        note(table, entry)
    index.write(table, f"{ledger_place(table)}/{index.name}")
    return {INDEX: index.name}


def lost_index(table: Table, today: date) -> LostLedgerError | None:
    """Return what is wrong with the file of the index, if something is."""
    try:
        _index(table, today)
    except LostLedgerError as error:
        return error
    return None


def note(table: Table, entry: Entry) -> None:
    """Write an object of the ledger; doing so again writes the same."""
    put(table, _place(table, entry.key_hash), json.dumps(asdict(entry), sort_keys=True).encode())


def expirable(table: Table) -> list[int]:
    """Return the snapshots that the next commit expires: when ``2 * KEPT`` stand without a reference, all but the newest ``KEPT``.

    What says the newest event stays.
    """
    referred = {reference.snapshot_id for reference in table.metadata.refs.values()}
    free = [s for s in table.metadata.snapshots if s.snapshot_id not in referred]
    if len(free) < 2 * KEPT:
        return []
    saying = _saying(table, EVENT_TIME_MAX)
    kept = None if saying is None else saying.snapshot_id
    return [s.snapshot_id for s in sorted(free, key=_sequence)[:-KEPT] if s.snapshot_id != kept]


@contextmanager
def committing(
    table: Table, summary: Mapping[str, str], going: Collection[int], now: datetime
) -> Iterator[UpdateSnapshot]:
    """Give the snapshot of a commit, which also expires others, after the ledger has their keys.

    Args:
        table: The table.
        summary: What the snapshot's summary says.
        going: Ids of the snapshots that go.
        now: The time.
    """
    index = record(table, going, now)
    with table.transaction() as transaction:
        yield transaction.update_snapshot(snapshot_properties={**summary, **index})
        if going:
            ExpireSnapshots(transaction).by_ids(list(going)).commit()


def ledger_place(table: Table) -> str:
    """Return where the objects of a table lie: outside of its location, where what the table does not name is litter."""
    warehouse, database, name = table.location().rstrip("/").rsplit("/", 2)
    return f"{warehouse}/{LEDGER}/{database}/{name}/{table.metadata.table_uuid}"


def _index_named(table: Table) -> dict[str, str]:
    name = _said(table, INDEX)
    return {} if name is None else {INDEX: name}


def _index(table: Table, today: date) -> LedgerIndex:
    name = _said(table, INDEX)
    return LedgerIndex() if name is None else read_index(table, f"{ledger_place(table)}/{name}", today)


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


def _saying(table: Table, name: str) -> Snapshot | None:
    """Return the newest snapshot whose summary says something; one of a compaction of Glue's says nothing of ours."""
    return max((s for s in table.metadata.snapshots if name in _of(s)), key=_sequence, default=None)


def _said(table: Table, name: str) -> str | None:
    return _of(_saying(table, name)).get(name)


def _sequence(snapshot: Snapshot) -> int:
    return snapshot.sequence_number or 0


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
