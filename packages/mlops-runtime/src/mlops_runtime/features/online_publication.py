"""Publication of ingested rows: everything above a table's mark, including rows that an interrupted publication left out.

The mark, an item beside those of entities, is the sequence number up to which all rows are published. An erasure ends a table's
generation, another item, after it rewrote the table and before it deletes the entity's items. A publication reads the generation
before the rows, and the store rejects the rows once that generation has ended. So erased rows are either deleted or rejected, even
if processes are killed.

This module does not import duckdb, so a function with only pyarrow and pyiceberg can run it.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import GreaterThanOrEqual
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.group_json import read_declaration
from mlops_runtime.features.iceberg_tables import scanned
from mlops_runtime.features.online_items import ErasedMeanwhileError, Generation, OnlineStoreError, ingests_after
from mlops_runtime.features.online_store import OnlineStore, Published
from mlops_runtime.features.source import MissingFileError, read_group, scan_tasks, whole
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.lambda_protocol import Message

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_GENERATIONS = 8  # attempts when erasures end the generation during a publication
INLINE_ROWS = 5_000  # maximum that an ingest publishes itself; the function publishes more on the ingest's event
# the constructor takes a column's name and a value, which the signature that pydantic generates lacks
_AT_LEAST: Any = GreaterThanOrEqual
_log = logging.getLogger("mlops.features")


class IngestEventError(ValueError):
    """A message does not name a table that this store publishes; it goes to the dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Result of a publication, and the sequence number up to which all rows of the table are published."""

    published: Published
    sequence: int


def publish_new(
    load: Callable[[], Table], group: FeatureGroup, online: OnlineStore, *, now: datetime, most: int | None = None
) -> Publication | None:
    """Publish the rows of a table above its mark, and move the mark.

    The mark stays below rows that are not visible yet: a later publication writes them.

    Args:
        load: Loads the current state of the table.
        online: The online store.
        now: The current time.
        most: Maximum number of rows to publish. Default: no limit.

    Returns:
        The result; ``None`` if there are more than ``most`` rows, in which case nothing is published.

    Raises:
        OnlineStoreError: If rows cannot be published, or a file of the table is missing; publishing again continues from there.
        ErasedMeanwhileError: If erasures occurred during every attempt.
    """
    missing_at: Snapshot | None = None
    for _ in range(_GENERATIONS):
        try:
            generation = online.generation(group.table_name)  # must be read before the rows
            table = load()
            return _publish(table, group, online, generation=generation, now=now, most=most)
        except ErasedMeanwhileError as error:
            ended: Exception = error
        except MissingFileError as error:
            ended, current = error, table.current_snapshot()
            if current == missing_at:  # an erasure would have committed a new state before it removed a file
                raise OnlineStoreError(
                    f"rows of {group.table_name} are in the table, but not all of them are online: {error}; then publish them "
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
    rows = read_group(table, group, where=_condition(mark))
    done = online.publish(group, rows, now=now, generation=generation)
    sequence = _visible_upto(rows, upto, now)
    online.mark_published(name, uuid, sequence, generation=generation)
    return Publication(published=done, sequence=sequence)


def _sequence(table: Table) -> int:
    snapshot = table.current_snapshot()
    return 0 if snapshot is None else snapshot.sequence_number or 0


def _condition(mark: int) -> Any:
    """Return the filter for rows of ingests after a sequence number, which prunes files."""
    return _AT_LEAST(INGEST_ID, ingests_after(mark))


def _count(table: Table, mark: int, most: int) -> int:
    """Return the number of rows above a mark, or an upper bound of it that does not exceed ``most``."""
    snapshot = table.current_snapshot()
    assert snapshot is not None  # noqa: S101 - a table with a sequence number has one
    scan = scanned(table, snapshot.snapshot_id, (INGEST_ID,), where=_condition(mark))
    bound = sum(task.file.record_count for task in scan_tasks(scan))
    return bound if bound <= most else whole(scan).num_rows


def _visible_upto(rows: pa.Table, upto: int, now: datetime) -> int:
    """Return the sequence number up to which every row is visible."""
    instant = pa.scalar(now, pa.timestamp("us", "UTC"))
    early = rows.filter(pc.or_(pc.greater(rows[EVENT_TIME], instant), pc.greater(rows[CREATED_TIME], instant)))
    if not early.num_rows:
        return upto
    return int(min(each.partition("-")[0] for each in pc.unique(early[INGEST_ID]).to_pylist())) - 1


class OnlinePublisher:
    """The function that publishes online rows: for each table that an event names, the rows above its mark."""

    def __init__(self, groups: Sequence[FeatureGroup], *, load: Callable[[str], Table], online: OnlineStore) -> None:
        self._groups = {group.table_name: group for group in groups}
        self._load, self._online = load, online

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], folder: Path, *, dynamodb: "DynamoDBClient"
    ) -> "OnlinePublisher":
        """Read the construct's settings: database, online table and declaration."""
        tables = Tables.glue(environment["DATABASE"], environment)
        return cls(
            read_declaration((folder / environment["DECLARATION"]).read_text()),
            load=tables.load,
            online=OnlineStore(dynamodb, table=environment["ONLINE_TABLE"]),
        )

    def handle(self, message: Message) -> Publication:
        """Publish the table that ``MLOps Features Ingested`` names; the message's time decides which of its new rows are visible.

        Raises:
            IngestEventError: If the event does not name a group that is online.
            OnlineStoreError: If rows cannot be published; the message is redelivered and publication continues.
        """
        try:
            table = str(json.loads(message.body)["detail"]["subject"])
        except (ValueError, KeyError, TypeError) as error:
            raise IngestEventError(f"the message does not name a table: {message.body[:200]!r}") from error
        group = self._groups.get(table)
        if group is None:
            raise IngestEventError(f"table must be one of {', '.join(sorted(self._groups))}, got {table!r}")
        done = publish_new(lambda: self._load(table), group, self._online, now=message.sent)
        assert done is not None  # noqa: S101 - no limit of rows is set here
        counts = {"table": table, "written": done.published.written, "kept": done.published.kept}
        _log.info(json.dumps({**counts, "not_visible": done.published.not_visible, "sequence": done.sequence}))
        return done
