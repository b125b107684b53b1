"""The training-set manifest ``mlops.training-set/1``, records of erasures, and keys of delivered and rejected batches."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlops_runtime.contracts.feature_service import FeatureServiceUse

# digits of the hash at the end of names in SageMaker's lineage graph
LINEAGE_DIGITS = 12
_MAXIMUM_LINEAGE_NAME = 120

# batches are incoming/<table>/<idempotency key>.parquet; reports of rejections are rejected/<table>/<idempotency key>.json
INCOMING = "incoming/"
REJECTED = "rejected/"
SUFFIX = ".parquet"

# An idempotency key whose snapshot has expired is ledger/<database>/<table>/<uuid of the table>/<hash of the key>.json in
# the data bucket. It is written when the snapshot expires and deleted a week after keys stop being remembered.
LEDGER = "ledger"
LEDGER_DAYS = 97
# builds stage files in staged/<id>/ of the training-sets bucket; those of killed builds are removed after this many days
STAGED_DAYS = 3
# the request of an erasure is erasing/<id>.json in the training-sets bucket until the erasure is complete
ERASING = "erasing"


def lineage_name(text: str, ending: str) -> str:
    """Return a name for SageMaker's lineage graph: the words of ``text`` within SageMaker's limits, and a unique ending.

    Args:
        text: Readable part of the name.
        ending: Unique suffix of ``LINEAGE_DIGITS`` characters.

    Example:
        >>> lineage_name("build-weekly demand", "0123456789ab")
        'build-weekly-demand-0123456789ab'
    """
    words = re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")[: _MAXIMUM_LINEAGE_NAME - 1 - LINEAGE_DIGITS].strip("-")
    return f"{words}-{ending}" if words else ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """How feature values are selected for an entity row: by the values known at its time, or by event time alone.

    ``cutoff``: rows created after it are ignored; ``None``: no cutoff.
    """

    as_of: Literal["known_at", "event_time"]
    cutoff: str | None
    tie_break: tuple[str, ...] = ("created_time", "ingest_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTable:
    """An Iceberg table at the snapshot that was read, with key and time to live.

    ``sequence`` is the snapshot's sequence number. It identifies the rows that were read (all ingests up to it) even after the
    snapshot and its ``tag``, which retains it for a while, no longer exist; 0 for an empty table, and for rows without a table.
    ``ttl_bound`` is whether the last instant of the time to live counts; ``None`` means ``inclusive``. ``names`` are the names
    of the columns in the training set, in order; ``None``: unchanged. ``field_ids`` are the columns' Iceberg field ids.
    ``alias`` replaces the table's name in this use. ``keys`` are the columns of the entity rows that contain the ``entities``,
    in their order; ``None``: columns of the same names.
    """

    group: str
    version: int
    database: str
    table: str
    table_uuid: str
    snapshot_id: int
    sequence: int
    schema_id: int
    tag: str
    columns: tuple[str, ...]
    entities: tuple[str, ...] = ()
    ttl_seconds: float | None = None
    ttl_bound: Literal["inclusive", "exclusive"] | None = None
    names: tuple[str, ...] | None = None
    field_ids: tuple[int, ...] | None = None
    alias: str | None = None
    keys: tuple[str, ...] | None = None

    @property
    def use(self) -> str:
        """Name of this use of the table in its training set: the alias, else the table."""
        return self.table if self.alias is None else self.alias

    @property
    def key_columns(self) -> dict[str, str]:
        """Map each key column of the table to the column of the entity rows that contains it."""
        return dict(zip(self.entities, self.entities if self.keys is None else self.keys, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRows:
    """Entity rows of the caller, stored as ``entities/<SHA-256 of the file>.parquet``; ``timestamp`` is their time column."""

    timestamp: str
    rows: int
    content_hash: str
    sha256: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Program that built the set. ``source`` identifies its code (``repository``, ``commit`` and so on), as given by the caller."""

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
    """The resulting rows. ``content_hash`` does not depend on row order, file layout or library version.

    Paths of files are relative, so that two copies of a training set have the same id. ``matched`` counts, for each feature
    table by alias or name, the rows with a match; absent if the rows do not come from a feature store.
    """

    rows: int
    content_hash: str
    files: tuple[OutputFile, ...]
    columns: Mapping[str, str]
    order_by: str = "row_id"
    matched: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetManifest:
    """Everything needed to rebuild the training set and to verify that the result is identical.

    Entity rows come from a table of labels, ``entities``, or from a caller's frame, ``entity_rows``.

    ``split`` has the times ``trained_until``, ``holdout_from`` and ``holdout_until``, which the evaluation reports.
    ``feature_service`` is the service whose features were requested; ``None``: groups or columns were requested individually.
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
    """What an erasure removes from one table: the snapshots with the erased rows, and the files that only those reference.

    ``first`` is the sequence number of the first ingest with such rows, ``until`` that of the first state without them, at ``at``.
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

    ``used_by`` are the training sets that contained its rows. ``online`` counts the rows of the online store that its last step
    removed, by table. ``pending`` names writers that may still write such rows, which keep the erasure incomplete.
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
    """The erased key, by column and with the type of its value; deleted when the erasure is complete."""

    id: str
    at: str
    reason: str
    entity: Mapping[str, str]
    tables: tuple[str, ...]
    format: Literal["mlops.erasure-request/1"] = "mlops.erasure-request/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProcess:
    """The process that builds a training set, so that others can find out when it has ended.

    Attributes:
        kind: ``lock``: it holds the lock of its intent's file. ``processing-job`` and ``job-run``: SageMaker and Glue report its
            state. ``other``: only its user knows.
        name: Name of the job, else machine and process; for display.
        run: Run id, for a ``job-run``.
    """

    kind: Literal["lock", "processing-job", "job-run", "other"]
    name: str
    run: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIntent:
    """A training set that is about to be built; written before the state of any table is read.

    Attributes:
        id: Unique id of this build.
        at: Start time.
        tables: Names of the tables that it reads.
        takes_rows: Whether it receives entity rows, which may contain any entity.
        places: Prefixes of its files.
        process: The process that builds it.
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
    """Columns that builds join on, by the key column each replaces; erasures search them in unreferenced files too."""

    columns: Mapping[str, str]
    format: Literal["mlops.joined-columns/1"] = "mlops.joined-columns/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Decides whether a build may keep its files: the first writer wins, an ``erasure`` to forbid it, or the build, without one."""

    erasure: str | None
    format: Literal["mlops.fence/1"] = "mlops.fence/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """Why the training set ``manifest_id`` cannot be rebuilt: an erasure removed rows of its snapshots, and its own files."""

    manifest_id: str
    erasure: str
    at: str
    reason: str
    tables: tuple[str, ...]
    format: Literal["mlops.tombstone/1"] = "mlops.tombstone/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedBatch:
    """Why a delivered batch was not ingested, with every problem. The object is not moved; ``etag`` identifies its version.

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
