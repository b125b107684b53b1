"""The training-set manifest ``mlops.training-set/1``, what erasures leave, and where batches are delivered and answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlops_runtime.contracts.feature_service import FeatureServiceUse

# of the hash that ends the names in SageMaker's lineage graph
LINEAGE_DIGITS = 12
_MAXIMUM_LINEAGE_NAME = 120

# a batch is incoming/<table>/<idempotency key>.parquet, the report of a rejected one rejected/<table>/<idempotency key>.json
INCOMING = "incoming/"
REJECTED = "rejected/"
SUFFIX = ".parquet"

# an idempotency key whose snapshot was expired is ledger/<database>/<table>/<uuid of the table>/<hash of the key>.json in the data
# bucket; it is written when the snapshot goes, and lives a week longer than keys are remembered
LEDGER = "ledger"
LEDGER_DAYS = 97
# what a build stages is staged/<id>/ in the bucket of training sets, of one that was killed so many days
STAGED_DAYS = 3
# what an erasure is asked for is erasing/<id>.json in the bucket of training sets, until it is complete
ERASING = "erasing"


def lineage_name(text: str, ending: str) -> str:
    """Return a name in SageMaker's lineage graph: the words of a text, within SageMaker's limits, and an ending.

    Args:
        text: What the name tells people.
        ending: What no other name has, of ``LINEAGE_DIGITS`` characters.

    Example:
        >>> lineage_name("build-weekly demand", "0123456789ab")
        'build-weekly-demand-0123456789ab'
    """
    words = re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")[: _MAXIMUM_LINEAGE_NAME - 1 - LINEAGE_DIGITS].strip("-")
    return f"{words}-{ending}" if words else ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """How a value was chosen for a row: known at the row's time, or by event time alone.

    ``cutoff``: no row created later was read; ``None``: none is left out.
    """

    as_of: Literal["known_at", "event_time"]
    cutoff: str | None
    tie_break: tuple[str, ...] = ("created_time", "ingest_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTable:
    """An Iceberg table at the snapshot that was read, with key and time to live.

    ``sequence`` is the snapshot's sequence number: rows of ingests up to it are those that were read, also when the snapshot and
    ``tag``, which keeps it for a while, are gone. ``None``: the snapshot alone says so.
    ``ttl_bound`` says whether the last instant of the time to live counts; ``None``: it does. ``names`` are those that the columns
    have in the training set, in order; ``None``: their own. ``field_ids`` are the columns' in Iceberg. ``metadata_location`` is no
    longer written: it ends in a random part. ``alias`` is what this use of the table is called, where not by the table; ``keys``
    are the columns of the entity rows that hold the ``entities``, in their order; ``None``: those of the same names.
    """

    group: str
    version: int
    database: str
    table: str
    table_uuid: str
    snapshot_id: int
    schema_id: int
    tag: str
    columns: tuple[str, ...]
    entities: tuple[str, ...] = ()
    ttl_seconds: float | None = None
    metadata_location: str | None = None
    ttl_bound: Literal["inclusive", "exclusive"] | None = None
    names: tuple[str, ...] | None = None
    field_ids: tuple[int, ...] | None = None
    sequence: int | None = None
    alias: str | None = None
    keys: tuple[str, ...] | None = None

    @property
    def use(self) -> str:
        """What this use of the table is called in its training set."""
        return self.table if self.alias is None else self.alias

    @property
    def key_columns(self) -> dict[str, str]:
        """By key column of the table, the column of the entity rows that holds it."""
        return dict(zip(self.entities, self.entities if self.keys is None else self.keys, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRows:
    """Entity rows that a caller supplied, kept as ``entities/<SHA-256 of the file>.parquet``; ``timestamp`` names their time."""

    timestamp: str
    rows: int
    content_hash: str
    sha256: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What built it. ``source`` says from which code: ``repository``, ``commit`` and so on, as the caller gives it."""

    engine: str
    engine_version: str
    planner: str
    client: str
    source: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """One Parquet file of the training set."""

    path: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The rows that came out. ``content_hash`` does not depend on order, file layout or library version.

    Paths of files are relative; ``uri`` is no longer written: two copies of a training set have one id. ``matched`` says how many
    rows found a row of each feature table, by alias where it has one; manifests that were written before it have none.
    """

    rows: int
    content_hash: str
    files: tuple[OutputFile, ...]
    columns: Mapping[str, str]
    uri: str | None = None
    order_by: str = "row_id"
    matched: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetManifest:
    """Everything that is needed to build the training set again and to prove that it is the same.

    Entity rows come from a table of labels, ``entities``, or from a caller's frame, ``entity_rows``.

    ``split`` holds the times ``trained_until``, ``holdout_from`` and ``holdout_until``, which the evaluation reports.
    ``feature_service`` is the service whose features were asked for; ``None``: groups or columns were named one by one.
    """

    name: str
    semantics: Semantics
    entities: PinnedTable | None
    features: tuple[PinnedTable, ...]
    build: Build
    output: Output
    split: Mapping[str, str] = field(default_factory=dict)
    entity_rows: EntityRows | None = None
    feature_service: FeatureServiceUse | None = None
    format: Literal["mlops.training-set/1"] = "mlops.training-set/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedTable:
    """What an erasure takes from one table: the snapshots that held its rows, and the files that only these needed.

    ``first`` is the sequence number of the first ingest of such rows, ``until`` that of the first state without them, of ``at``.
    """

    table: str
    table_uuid: str
    snapshots: tuple[int, ...]
    tags: tuple[str, ...]
    files: tuple[str, ...]
    first: int | None = None
    until: int | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure; it never names the entity.

    ``used_by`` are the training sets that held its rows; ``online`` says how many rows of the online store its last step removed,
    by table; ``pending`` names what may still write some, so that it is not complete.
    """

    id: str
    at: str
    reason: str
    entities: tuple[str, ...]
    tables: tuple[ErasedTable, ...]
    used_by: tuple[str, ...]
    pending: tuple[str, ...] = ()
    online: Mapping[str, int] = field(default_factory=dict)
    format: Literal["mlops.erasure/1"] = "mlops.erasure/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRequest:
    """What is to be erased, by key column and with the type of its value; it is removed itself when the erasure is complete."""

    id: str
    at: str
    reason: str
    entity: Mapping[str, str]
    tables: tuple[str, ...]
    format: Literal["mlops.erasure-request/1"] = "mlops.erasure-request/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProcess:
    """What builds a training set, so that others can learn that it has ended.

    Attributes:
        kind: ``lock``: it holds the lock of its intent's file. ``processing-job`` and ``job-run``: SageMaker and Glue report it.
            ``other``: nothing says; its user does.
        name: Name of the job, else machine and process, for people.
        run: Id of the job's run, of a ``job-run``.
    """

    kind: Literal["lock", "processing-job", "job-run", "other"]
    name: str
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIntent:
    """A training set that is about to be built; written before any state of a table is read.

    Attributes:
        id: Id of this build, which no other has.
        at: When it began.
        tables: Names of the tables that it reads.
        takes_rows: Whether it is given entity rows, in which any entity can be.
        places: Below which its files go.
        process: What builds it.
    """

    id: str
    at: str
    tables: tuple[str, ...]
    takes_rows: bool
    places: tuple[str, ...]
    process: BuildProcess
    format: Literal["mlops.build/1"] = "mlops.build/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedColumns:
    """Columns that builds join on instead of key columns, by those; an erasure looks there too, in files that no manifest names."""

    columns: Mapping[str, str]
    format: Literal["mlops.joined-columns/1"] = "mlops.joined-columns/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Whether a build may keep its files: not, once an ``erasure`` wrote this first; the build itself writes it without one."""

    erasure: str | None
    format: Literal["mlops.fence/1"] = "mlops.fence/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """Why the training set ``manifest_id`` cannot be built again: an erasure took rows of its snapshots, and its own files."""

    manifest_id: str
    erasure: str
    at: str
    reason: str
    tables: tuple[str, ...]
    format: Literal["mlops.tombstone/1"] = "mlops.tombstone/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedBatch:
    """Why a delivered batch was not ingested: every problem at once. The object stays where it is; ``etag`` says which one it was.

    ``rejected_at`` is when its delivery reached the queue.
    """

    table: str
    key: str
    uri: str
    etag: str
    bytes: int
    rejected_at: str
    problems: tuple[str, ...]
    format: Literal["mlops.rejected-batch/1"] = "mlops.rejected-batch/1"
