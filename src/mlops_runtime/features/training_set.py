"""A training set: entity rows with the features that counted at their time, pinned to snapshots and described by a manifest."""

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table

from mlops_runtime.contracts import content_hash as document_hash
from mlops_runtime.contracts.features import (
    Build,
    EntityRows,
    Output,
    OutputFile,
    PinnedTable,
    Semantics,
    TrainingSetManifest,
)
from mlops_runtime.features.batch import ArrowStream, read_batch
from mlops_runtime.features.group import RESERVED, FeatureGroup
from mlops_runtime.features.hashing import content_hash
from mlops_runtime.features.iceberg import pin, scanned, tag_snapshot
from mlops_runtime.features.planner import PLANNER, ROW_ID, GroupRows, point_in_time
from mlops_runtime.features.plans import Semantics as Meaning
from mlops_runtime.features.source import IcebergRows

FILE = "part-0.parquet"
Features = Sequence[FeatureGroup] | Mapping[str, Sequence[str]]
Load = Callable[[str], Table]
_VERSION = re.compile(r"_v\d+$")


class TrainingSetError(ValueError):
    """A training set cannot be built as asked; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Rows by split, the Parquet bytes of each, and the manifest that describes them.

    A set that is not split has one split without a name. ``entities`` are the bytes of the entity rows, where somebody gave them.
    """

    splits: Mapping[str, pa.Table]
    files: Mapping[str, bytes]
    manifest: TrainingSetManifest
    entities: bytes | None = None

    @property
    def id(self) -> str:
        """The SHA-256 of the manifest."""
        return document_hash(self.manifest)

    @property
    def rows(self) -> pa.Table:
        """All rows, split after split."""
        return pa.concat_tables(self.splits.values())

    @property
    def train(self) -> pa.Table:
        """Rows to train on, of a set that is split by time."""
        return self.splits["train"]

    @property
    def holdout(self) -> pa.Table:
        """Rows held out, of a set that is split by time."""
        return self.splits["holdout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a training set is asked to be.

    Args:
        name: Its name: lower-case letters, digits, ``-`` and ``_``.
        rows: Entity rows as ``read_entities`` returns them.
        timestamp: Their time column.
        features: Groups whose features are all wanted, or columns by group or table name.
        semantics: Whether a value counts from when it was known or from its event time.
        as_of: Rows of feature tables that were created later are not read. ``None``: all are.
        snapshots: Snapshots to read, by group or table name; of tables that are not named the current one.
        source: Which code asks, for the manifest.
    """

    name: str
    rows: pa.Table
    timestamp: str
    features: Features
    semantics: Meaning
    as_of: datetime | None
    snapshots: Mapping[str, int]
    source: Mapping[str, str]


def read_entities(entities: ArrowStream, timestamp: str) -> pa.Table:
    """Return entity rows with their time in UTC microseconds.

    Raises:
        TrainingSetError: If there are none, or their time is absent, has no zone, or is finer than a microsecond.
    """
    rows = read_batch(entities)
    problems = [] if rows.num_rows else ["there are no entity rows"]
    if timestamp not in rows.column_names:
        problems.append(f"entity rows have no column {timestamp!r}, they have {', '.join(rows.column_names) or 'none'}")
    elif not pa.types.is_timestamp(rows[timestamp].type) or rows[timestamp].type.tz is None:
        problems.append(f"{timestamp!r} must be a timestamp with a time zone, got {rows[timestamp].type}")
    if problems:
        raise TrainingSetError("; ".join(problems))
    try:
        times = rows[timestamp].cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid as error:
        raise TrainingSetError(f"{timestamp!r} is finer than a microsecond: {error}; round it first") from error
    return rows.set_column(rows.column_names.index(timestamp), timestamp, times)


def build(load: Load, tables: Sequence[str], request: Request) -> TrainingSet:
    """Tag the snapshots, then build from them.

    Args:
        load: Loads a table by name.
        tables: Names of the tables that there are.
        request: What is asked.

    Raises:
        TrainingSetError: If groups, columns or snapshots are not there.
    """
    columns = _wanted(request.features)
    found = resolved(request.name, (*columns, *(g for g in request.snapshots if g not in columns)), tables)
    loaded = {group: load(found[group]) for group in columns}
    unused = [group for group in request.snapshots if found[group] not in {found[g] for g in columns}]
    problems = [f"snapshots names {group!r}, of which no feature is asked for" for group in unused]
    problems += column_problems(columns, loaded)
    if problems:
        raise TrainingSetError(f"training set {request.name}: " + "; ".join(problems))
    by_table = {found[group]: snapshot for group, snapshot in request.snapshots.items()}
    given = {group: by_table[found[group]] for group in loaded if found[group] in by_table}
    snapshots = chosen_snapshots(request.name, loaded, given)
    content = parquet_bytes(request.rows)
    entity_rows = EntityRows(
        timestamp=request.timestamp,
        rows=request.rows.num_rows,
        content_hash=content_hash(request.rows),
        sha256=hashlib.sha256(content).hexdigest(),
        columns=tuple(request.rows.column_names),
    )
    asked = {
        "name": request.name,
        "entities": entity_rows,
        "semantics": request.semantics,
        "as_of": None if request.as_of is None else iso(request.as_of),
        "columns": columns,
        "read": {found[group]: snapshot for group, snapshot in snapshots.items()},
    }
    tag = f"ts-{document_hash(asked)[:16]}"
    for group, table in loaded.items():
        tag_snapshot(table, snapshots[group], tag)
    pinned = []
    for group, wanted in columns.items():
        found_pin = pin(loaded[group], snapshots[group], tag, wanted)
        pinned.append(replace(found_pin, names=tuple(f"{found_pin.group}__{column}" for column in wanted)))
    manifest = TrainingSetManifest(
        name=request.name,
        semantics=Semantics(as_of=request.semantics, cutoff=None if request.as_of is None else iso(request.as_of)),
        entities=None,
        features=tuple(pinned),
        build=built_by(request.source),
        output=Output(rows=0, content_hash="", files=(), columns={}),
        entity_rows=entity_rows,
    )
    return replace(
        assemble({p.table: loaded[g] for g, p in zip(columns, pinned, strict=True)}, manifest, request.rows),
        entities=content,
    )


def assemble(tables: Mapping[str, Table], manifest: TrainingSetManifest, rows: pa.Table) -> TrainingSet:
    """Build what a manifest describes, from its entity rows; return it with the output that came out.

    Args:
        tables: By name, at least those of the manifest.
        manifest: What to build; its output is not read.
        rows: The entity rows.
    """
    if manifest.entity_rows is None:
        raise TrainingSetError(f"training set {manifest.name} has no entity rows of its own")
    cutoff = manifest.semantics.cutoff
    as_of = None if cutoff is None else datetime.fromisoformat(cutoff)
    timestamp = manifest.entity_rows.timestamp
    inputs = [
        group_rows(tables[group.table], group, oldest=pc.min(rows[timestamp]).as_py(), created_by=as_of)
        for group in manifest.features
    ]
    result = point_in_time(rows, timestamp, inputs, semantics=manifest.semantics.as_of)
    return described(manifest, {"": result}, result)


def described(manifest: TrainingSetManifest, splits: Mapping[str, pa.Table], result: pa.Table) -> TrainingSet:
    """Return a training set with its files, and the manifest with the output that they are.

    Args:
        manifest: What was built.
        splits: Rows by split.
        result: All rows, whose content is hashed.
    """
    paths = {split: f"{split}/{FILE}" if split else FILE for split in splits}
    files = {paths[split]: parquet_bytes(table) for split, table in splits.items()}
    output = Output(
        rows=result.num_rows,
        content_hash=content_hash(result, (ROW_ID,)),
        files=tuple(
            OutputFile(
                path=paths[split],
                sha256=hashlib.sha256(files[paths[split]]).hexdigest(),
                bytes=len(files[paths[split]]),
                rows=table.num_rows,
            )
            for split, table in splits.items()
        ),
        columns={field.name: str(field.type) for field in next(iter(splits.values())).schema},
        order_by=ROW_ID,
    )
    return TrainingSet(splits=splits, files=files, manifest=replace(manifest, output=output))


def group_rows(table: Table, group: PinnedTable, *, oldest: datetime, created_by: datetime | None) -> GroupRows:
    """Return the rows of a pinned table that can count for entity rows from ``oldest`` on."""
    ttl = None if group.ttl_seconds is None else timedelta(seconds=group.ttl_seconds)
    columns = tuple(dict.fromkeys((*group.entities, *RESERVED, *group.columns)))
    since = None if ttl is None else oldest - ttl
    return GroupRows(
        name=group.group,
        entities=group.entities,
        columns=group.columns,
        ttl=ttl,
        rows=IcebergRows(scanned(table, group.snapshot_id, columns, created_by=created_by, since=since)),
        ttl_inclusive=group.ttl_bound != "exclusive",
        names=dict(zip(group.columns, group.names, strict=True)) if group.names else None,
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the one file of a table: the same rows give the same bytes with the same version of Arrow."""
    sink = io.BytesIO()
    plain = table.replace_schema_metadata(None).combine_chunks()
    pq.write_table(plain, sink, compression="zstd", row_group_size=1 << 20, version="2.6")
    return sink.getvalue()


def resolved(name: str, groups: Sequence[str], tables: Sequence[str]) -> dict[str, str]:
    """Return the table of each group, which is named by its table, or by its name alone while it has one version.

    Raises:
        TrainingSetError: If a group has no table or several.
    """
    problems, found = [], {}
    for group in groups:
        versions = [table for table in tables if table == group or _VERSION.sub("", table) == group]
        if len(versions) == 1:
            found[group] = versions[0]
        elif versions:
            problems.append(f"group {group!r} has versions {', '.join(versions)}; name the one you want")
        else:
            problems.append(f"there is no feature table of group {group!r}, there are {', '.join(tables) or 'none'}")
    if problems:
        raise TrainingSetError(f"training set {name}: " + "; ".join(problems))
    return found


def chosen_snapshots(name: str, loaded: Mapping[str, Table], given: Mapping[str, int]) -> dict[str, int]:
    """Return the snapshot of each table: the one given, else the current one.

    Raises:
        TrainingSetError: If a table holds no rows yet, or not the snapshot that is given.
    """
    problems, snapshots = [], {}
    for group, table in loaded.items():
        current = table.current_snapshot()
        if current is None:
            problems.append(f"table {table.name()[-1]} holds no rows yet")
        elif group in given and table.snapshot_by_id(given[group]) is None:
            problems.append(f"table {table.name()[-1]} has no snapshot {given[group]}: it was expired, or never was")
        else:
            snapshots[group] = given.get(group, current.snapshot_id)
    if problems:
        raise TrainingSetError(f"training set {name}: " + "; ".join(problems))
    return snapshots


def column_problems(wanted: Mapping[str, Sequence[str]], loaded: Mapping[str, Table]) -> list[str]:
    """Return a line for each column that its table does not have."""
    problems = []
    for group, columns in wanted.items():
        names = [field.name for field in loaded[group].schema().fields]
        problems += [f"{group} has no column {c!r}, it has {', '.join(names)}" for c in columns if c not in names]
    return problems


def built_by(source: Mapping[str, str]) -> Build:
    """Return what builds here."""
    return Build(
        engine="duckdb",
        engine_version=duckdb.__version__,
        planner=PLANNER,
        client=version("mlops-constructs"),
        source=source or None,
    )


def iso(time: datetime) -> str:
    """Return a time as manifests write it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _wanted(features: Features) -> dict[str, tuple[str, ...]]:
    if isinstance(features, Mapping):
        wanted = {group: tuple(columns) for group, columns in features.items()}
    else:
        wanted = {group.table_name: group.feature_names for group in features}
    empty = [group for group, columns in wanted.items() if not columns]
    if not wanted or empty:
        raise TrainingSetError(f"features must name at least one column of each group, got {dict(wanted)}")
    return wanted
