"""The ledger of a table's ingests: the newest in the summaries of its snapshots, earlier ones in objects.

An ingest expires old snapshots in its own commit. Before that commit it writes an object for each key in the expired summaries. A
lookup of a key loads a table state first, then searches its summaries, then the objects. If the state lacks the summary of an
ingested key, then the commit that dropped the summary is that state's or an earlier one, and the object was written before it. The
later lookup finds the object, because S3 is read-after-write consistent. Keys are stored as hashes, because callers use ids of
entities as keys. An index lists the objects that must exist, see ``ledger_index``.

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

# number of newest snapshots to retain; the older half expires at twice as many
KEPT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ingest: hash of its key, content hash, snapshot and time (ISO 8601, UTC)."""

    key_hash: str
    content: str
    snapshot_id: int
    at: str


def hash_of(key: str) -> str:
    """Return the hash of an idempotency key, which the table stores instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


def id_end(key_hash: str) -> str:
    """Return the suffix of the ingest ids of a batch's rows."""
    return f"-{key_hash[:DIGITS]}"


def ingest_summary(
    table: Table, *, key_hash: str, content: str, ingest: str, newest_event: datetime, now: datetime
) -> dict[str, str]:
    """Return an ingest's properties for the summary of its snapshot, such as the newest event time of the whole table."""
    before = newest(table)
    event = newest_event if before is None else max(before, newest_event)
    return {KEY_HASH: key_hash, CONTENT: content, INGEST: ingest, INGESTED_AT: _iso(now), EVENT_TIME_MAX: _iso(event)}


def newest(table: Table) -> datetime | None:
    """Return the newest event time ever ingested, or ``None`` before the first ingest."""
    value = _property(table, EVENT_TIME_MAX)
    return None if value is None else datetime.fromisoformat(value)


def newest_summary(table: Table) -> dict[str, str]:
    """Return the summary properties of a snapshot without new rows: newest event time, and the index of the ledger."""
    event = newest(table)
    return ({} if event is None else {EVENT_TIME_MAX: _iso(event)}) | _index_named(table)


def find(table: Table, key_hash: str, now: datetime) -> Entry | None:
    """Return the ingest of a key, if recorded in the summaries of this state or in the ledger, which may forget it after 90 days.

    Raises:
        LostLedgerError: If the key was ingested and its object, or the index, is missing or damaged.
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
    # an object must exist once the index lists its key
    day = _index(table, now.date()).day_of(key_hash)
    if day is None or day < now.date() - REMEMBERED:
        return None
    raise LostLedgerError(
        f"this batch was ingested into {table.name()[-1]} on {day}, its rows have ids that end with {id_end(key_hash)!r}; but its "
        f"ledger object {what}: {place}. Nothing was written. Restore the object from a backup or a "
        "version of the bucket; to write the rows once more, give another idempotency_key",
        place,
    )


def entries(table: Table) -> list[Entry]:
    """Return the newest ingests, from the summaries of existing snapshots."""
    return _entries(table.metadata.snapshots)


def record(table: Table, going: Collection[int], now: datetime) -> dict[str, str]:
    """Write a ledger object for each key of the given snapshots, and the index, before a commit expires them. Idempotent.

    Return properties for the summary of that commit: the name of the index.

    Raises:
        LostLedgerError: If the previous index is missing.
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
    """Return the problem of the index's file, if there is one."""
    try:
        _index(table, today)
    except LostLedgerError as error:
        return error
    return None


def note(table: Table, entry: Entry) -> None:
    """Write an object of the ledger; idempotent."""
    put(table, _place(table, entry.key_hash), json.dumps(asdict(entry), sort_keys=True).encode())


def expirable(table: Table) -> list[int]:
    """Return the snapshots that the next commit expires: of ``2 * KEPT`` or more unreferenced ones, all but the newest ``KEPT``.

    The snapshot that stores the newest event time is retained.
    """
    referred = {reference.snapshot_id for reference in table.metadata.refs.values()}
    free = [s for s in table.metadata.snapshots if s.snapshot_id not in referred]
    if len(free) < 2 * KEPT:
        return []
    snapshot = _newest_with(table, EVENT_TIME_MAX)
    kept = None if snapshot is None else snapshot.snapshot_id
    return [s.snapshot_id for s in sorted(free, key=_sequence)[:-KEPT] if s.snapshot_id != kept]


@contextmanager
def committing(
    table: Table, summary: Mapping[str, str], going: Collection[int], now: datetime
) -> Iterator[UpdateSnapshot]:
    """Yield the snapshot update of a commit that also expires snapshots, after the ledger has their keys."""
    index = record(table, going, now)
    with table.transaction() as transaction:
        yield transaction.update_snapshot(snapshot_properties={**summary, **index})
        if going:
            ExpireSnapshots(transaction).by_ids(list(going)).commit()


def ledger_place(table: Table) -> str:
    """Return the location of a table's ledger, outside of the table's location, where unreferenced files would be removed."""
    warehouse, database, name = table.location().rstrip("/").rsplit("/", 2)
    return f"{warehouse}/{LEDGER}/{database}/{name}/{table.metadata.table_uuid}"


def _index_named(table: Table) -> dict[str, str]:
    name = _property(table, INDEX)
    return {} if name is None else {INDEX: name}


def _index(table: Table, today: date) -> LedgerIndex:
    name = _property(table, INDEX)
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
                    key_hash=values[KEY_HASH], content=values.get(CONTENT, ""), snapshot_id=snapshot.snapshot_id, at=at
                )
            )
    return found


def _of(snapshot: Snapshot | None) -> dict[str, str]:
    if snapshot is None or snapshot.summary is None:
        return {}
    return snapshot.summary.additional_properties


def _newest_with(table: Table, name: str) -> Snapshot | None:
    """Return the newest snapshot whose summary has a property; snapshots of Glue's compaction lack them."""
    return max((s for s in table.metadata.snapshots if name in _of(s)), key=_sequence, default=None)


def _property(table: Table, name: str) -> str | None:
    return _of(_newest_with(table, name)).get(name)


def _sequence(snapshot: Snapshot) -> int:
    return snapshot.sequence_number or 0


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
