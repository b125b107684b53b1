"""Tags that retain the snapshots of a training set, written without reading rows and without pyiceberg.

A tag is a reference in a table's metadata file, and retention keeps tagged snapshots. Tagging is a commit: a new metadata file, and
an update of the catalog's pointer to it, which fails if another commit came first. A caller with that permission could also point a
table at other data, so only one function has it, not the jobs that run a model team's image.

See: https://iceberg.apache.org/spec/#snapshot-retention-policy and https://iceberg.apache.org/spec/#table-metadata-fields
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.engine_choice import EngineChoice, Planned, choose
from mlops_runtime.features.table_freshness import read_metadata, read_metadata_file

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

COMMIT_ATTEMPTS = 8
# an expired snapshot is still readable by sequence number: tags are a convenience, and each costs every commit
KEPT_TAGS = 8
# marks a tag as removable; by it, the retention of any Iceberg engine drops it too
TAG_AGE = timedelta(days=91)
_PREVIOUS = "write.metadata.previous-versions-max"
_VERSION = re.compile(r"_v\d+$")
# fields of GetTable's response that UpdateTable accepts (botocore: glue 2017-03-31 TableInput)
_INPUT = (
    "Name", "Description", "Owner", "LastAccessTime", "LastAnalyzedTime", "Retention", "StorageDescriptor", "PartitionKeys",
    "ViewOriginalText", "ViewExpandedText", "TableType", "Parameters", "TargetTable",
)  # fmt: skip


class SnapshotTagError(ValueError):
    """The snapshots could not be tagged."""


def training_set_tag(plan: TrainingSetPlan, as_of: datetime, read: Mapping[str, int]) -> str:
    """Return the tag of a training set, the same for the same plan, cutoff, and snapshot of each table."""
    return f"ts-{content_hash({'plan': plan, 'as_of': as_of.astimezone(UTC), 'read': dict(read)})[:16]}"


def tables_of(plan: TrainingSetPlan, tables: Sequence[str]) -> tuple[str, ...]:
    """Return the tables of a plan, whose groups are given by table name, or by group name alone.

    Example:
        >>> plan = TrainingSetPlan(
        ...     name="n", label_group="sales", timestamp="t", label="l", features={"stock_v2": ("x",)}, holdout_days=1
        ... )
        >>> tables_of(plan, ["sales_v1", "stock_v1", "stock_v2"])
        ('sales_v1', 'stock_v2')
    """
    groups = {plan.label_group, *(use.group for use in plan.uses)}
    return tuple(name for name in tables if name in groups or _VERSION.sub("", name) in groups)


def with_tag(
    metadata: Mapping[str, Any], location: str, snapshot: int, tag: str, *, now: datetime
) -> dict[str, object]:
    """Return a table's newest metadata with one more reference, and only the newest ``KEPT_TAGS`` references with an age.

    Raises:
        SnapshotTagError: If the table no longer has the snapshot, or the tag names another one.
    """
    known = {each["snapshot-id"]: each.get("sequence-number", 0) for each in metadata.get("snapshots") or ()}
    if snapshot not in known:
        raise SnapshotTagError(f"the table no longer has snapshot {snapshot}: it expired before it was tagged")
    refs = metadata.get("refs") or {}
    if refs.get(tag, {"snapshot-id": snapshot})["snapshot-id"] != snapshot:
        raise SnapshotTagError(f"tag {tag} names snapshot {refs[tag]['snapshot-id']}, not {snapshot}")
    reference = {"snapshot-id": snapshot, "type": "tag", "max-ref-age-ms": TAG_AGE // timedelta(milliseconds=1)}
    aged = {name: ref["snapshot-id"] for name, ref in refs.items() if ref.get("max-ref-age-ms") is not None}
    kept = {name: ref for name, ref in refs.items() if name not in replaced_tags(aged, known)}
    properties = metadata.get("properties") or {}
    log = [
        *(metadata.get("metadata-log") or ()),
        {"timestamp-ms": metadata["last-updated-ms"], "metadata-file": location},
    ]
    return {
        **metadata,
        "refs": {**kept, tag: reference},
        "last-updated-ms": max(int(now.timestamp() * 1000), metadata["last-updated-ms"]),
        "metadata-log": log[-max(1, int(properties.get(_PREVIOUS, 100))) :],
    }


def replaced_tags(tags: Mapping[str, int], order: Mapping[int, int], *, kept: int = KEPT_TAGS - 1) -> list[str]:
    """Return the tags to drop for a further one, given the snapshot of each tag and the sequence numbers of snapshots."""
    return sorted(tags, key=lambda name: (order.get(tags[name], 0), name))[:-kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The tag of a training set, and the engine for its size."""

    tag: str
    choice: EngineChoice


def engine_of(plan: TrainingSetPlan, sizes: Mapping[str, Planned], *, memory: int) -> EngineChoice:
    """Return the engine for a plan's set by the size of each table's snapshot; each row of the label table counts as an entity row.

    Example:
        >>> plan = TrainingSetPlan(
        ...     name="n", label_group="sales", timestamp="t", label="l", features={"stock": ("x",)}, holdout_days=1
        ... )
        >>> rows = {"sales_v1": 10**6, "stock_v1": 10}
        >>> sizes = {table: Planned(table=table, bytes=10, rows=count) for table, count in rows.items()}
        >>> engine_of(plan, sizes, memory=8 << 30).engine, engine_of(plan, sizes, memory=100 << 20).engine
        ('duckdb', 'spark')
    """
    labels = [table for table in sizes if plan.label_group in (table, _VERSION.sub("", table))]
    read = tables_of(replace(plan, label_group=""), list(sizes))
    return choose([sizes[table] for table in read], sum(sizes[table].rows for table in labels), memory=memory)


class SnapshotTags:
    """Tags on tables of a Glue database.

    Args:
        glue: Client; the catalog.
        s3: Client; metadata files.
        memory: Bytes of memory available to DuckDB where training sets are built. Default: 8 GiB.
    """

    def __init__(self, *, glue: "GlueClient", s3: "S3Client", database: str, memory: int = 8 << 30) -> None:
        self._glue, self._s3, self._database, self._memory = glue, s3, database, memory

    def pin(self, plan: TrainingSetPlan, tables: Sequence[str], *, as_of: datetime, now: datetime) -> Tagged:
        """Tag the current snapshots of a plan's tables, which retains them, and choose the engine for the set.

        Raises:
            SnapshotTagError: If a table has no rows yet, or every attempt to commit conflicted with another writer.
        """
        found = {table: read_metadata(self._database, table, self._glue, self._s3) for table in tables}
        read = {table: metadata.get("current-snapshot-id") for table, metadata in found.items()}
        empty = [table for table, snapshot in read.items() if snapshot in (None, -1)]
        if empty or not read:
            raise SnapshotTagError(f"tables without rows cannot be read: {', '.join(empty) or 'no table is named'}")
        snapshots = {table: int(str(snapshot)) for table, snapshot in read.items()}
        tag = training_set_tag(plan, as_of, snapshots)
        for table, snapshot in snapshots.items():
            self._commit(table, snapshot, tag, now)
        sizes = {table: _size(table, metadata, snapshots[table]) for table, metadata in found.items()}
        return Tagged(tag=tag, choice=engine_of(plan, sizes, memory=self._memory))

    def _commit(self, table: str, snapshot: int, tag: str, now: datetime) -> None:
        for _ in range(COMMIT_ATTEMPTS):
            entry: Any = self._glue.get_table(DatabaseName=self._database, Name=table)["Table"]
            old = entry["Parameters"]["metadata_location"]
            metadata = read_metadata_file(old, self._s3)
            if tag in (metadata.get("refs") or {}):
                with_tag(metadata, old, snapshot, tag, now=now)
                return
            new = _next(old)
            bucket, _, key = new.removeprefix("s3://").partition("/")
            body = json.dumps(with_tag(metadata, old, snapshot, tag, now=now), separators=(",", ":")).encode()
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            given: Any = {name: entry[name] for name in _INPUT if entry.get(name) not in (None, "")}
            given["Parameters"] = entry["Parameters"] | {"metadata_location": new, "previous_metadata_location": old}
            try:
                # https://iceberg.apache.org/docs/latest/aws/#optimistic-locking
                self._glue.update_table(
                    DatabaseName=self._database, TableInput=given, SkipArchive=True, VersionId=entry["VersionId"]
                )
            except self._glue.exceptions.ConcurrentModificationException:
                continue
            return
        raise SnapshotTagError(f"{COMMIT_ATTEMPTS} commits to table {table} conflicted with other writers; try again")


def _size(table: str, metadata: Mapping[str, Any], snapshot: int) -> Planned:
    """Return the size of a snapshot by its summary; 0 if the summary lacks it."""
    summary = next(
        each.get("summary") or {} for each in metadata.get("snapshots") or () if each["snapshot-id"] == snapshot
    )
    # https://iceberg.apache.org/spec/#optional-snapshot-summary-fields
    return Planned(
        table=table, bytes=int(summary.get("total-files-size", 0)), rows=int(summary.get("total-records", 0))
    )


def _next(location: str) -> str:
    """Return the name of the next metadata file, in the format of Iceberg's own writers."""
    folder, _, name = location.rpartition("/")
    number = name.partition("-")[0]
    if not number.isdigit():
        raise SnapshotTagError(
            f"metadata file {location} has no number in its name; expected 00000-<uuid>.metadata.json"
        )
    return f"{folder}/{int(number) + 1:05d}-{uuid.uuid4()}.metadata.json"
