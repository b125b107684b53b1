"""The training-set manifest ``mlops.training-set/1``; its SHA-256 is the training set's id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """How a value was chosen for a row: known at the row's time, or by event time alone; nothing newer than the cutoff."""

    as_of: Literal["known_at", "event_time"]
    cutoff: str
    tie_break: tuple[str, ...] = ("created_time", "ingest_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTable:
    """An Iceberg table at the snapshot that was read, tagged so that retention keeps it, with key and time to live."""

    group: str
    version: int
    database: str
    table: str
    table_uuid: str
    snapshot_id: int
    schema_id: int
    metadata_location: str
    tag: str
    columns: tuple[str, ...]
    entities: tuple[str, ...] = ()
    ttl_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What built it."""

    engine: str
    engine_version: str
    planner: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """One Parquet file of the training set."""

    path: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The rows that came out. ``content_hash`` does not depend on order, file layout or library version."""

    uri: str
    rows: int
    content_hash: str
    files: tuple[OutputFile, ...]
    columns: Mapping[str, str]
    order_by: str = "row_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetManifest:
    """Everything that is needed to build the training set again and to prove that it is the same.

    ``split`` holds the times ``trained_until``, ``holdout_from`` and ``holdout_until``, which the evaluation reports.
    """

    name: str
    semantics: Semantics
    entities: PinnedTable
    features: tuple[PinnedTable, ...]
    build: Build
    output: Output
    split: Mapping[str, str] = field(default_factory=dict)
    format: Literal["mlops.training-set/1"] = "mlops.training-set/1"
