"""Training sets: entity rows with the features that counted at their time, pinned to snapshots and described by a manifest."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version

import pyarrow as pa
import pyarrow.compute as pc
from botocore.exceptions import ClientError
from pyiceberg.table import Table

from mlops_runtime.contracts import content_hash as document_hash
from mlops_runtime.contracts.features import Build, EntityRows, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.features.build_intent import OpenBuild
from mlops_runtime.features.feature_group import RESERVED
from mlops_runtime.features.point_in_time import PLANNER, GroupRows, check, joined, unmatched_groups
from mlops_runtime.features.row_hashing import BLOCK, content_hash
from mlops_runtime.features.source import IcebergRows
from mlops_runtime.features.table_pins import pinned_rows, tag_snapshot
from mlops_runtime.features.table_types import with_typed_keys
from mlops_runtime.features.training_set_files import (
    ROW_ID,
    Block,
    block_count,
    file_name,
    of_split,
    output,
    parquet_bytes,
    written_block,
)
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import Load, Located, Request, TrainingSetError, engine_of, located

FILE = file_name(0, 1)
# Athena's maximum of a hundred partitions, of four blocks each
ATHENA_ROWS = 400_000_000
_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Rows by split, the bytes of each Parquet file, and the manifest that describes them.

    An unsplit set has one unnamed split. ``entities`` are the bytes of the entity rows, if they were supplied. ``warnings`` name
    groups without any matching row, with the cause. ``repr`` shows only the manifest and warnings, so that logs contain no row
    values; the manifest has the path, size and hash of each file.
    """

    splits: Mapping[str, pa.Table] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    manifest: TrainingSetManifest
    entities: bytes | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def matched(self) -> Mapping[str, int]:
        """Number of rows that matched a row of each feature table, by its alias if it has one, else by group."""
        return self.manifest.output.matched or {}

    @property
    def id(self) -> str:
        """The SHA-256 of the manifest."""
        return document_hash(self.manifest)

    @property
    def rows(self) -> pa.Table:
        """All rows, one split after the other."""
        return pa.concat_tables(self.splits.values())

    @property
    def train(self) -> pa.Table:
        """Training rows of a set that is split by time."""
        return self.splits["train"]

    @property
    def holdout(self) -> pa.Table:
        """Holdout rows of a set that is split by time."""
        return self.splits["holdout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Input of a build: tables by name, the manifest without its output, sorted entity rows, and the content of their file.

    ``content`` is ``None`` if the rows are labels of a table.
    """

    tables: Mapping[str, Table]
    manifest: TrainingSetManifest
    rows: pa.Table = field(repr=False)
    content: bytes | None = field(default=None, repr=False)


def build(
    load: Load,
    tables: Sequence[str],
    request: Request,
    *,
    on_spark: Callable[[Prepared], TrainingSet] | None = None,
    on_athena: Callable[[Prepared], TrainingSet] | None = None,
    block: int = BLOCK,
) -> TrainingSet:
    """Tag the snapshots, then build the set, here or with Spark or Athena, if the caller can build with these.

    Raises:
        TrainingSetError: If groups, columns or snapshots are missing, or the set requires an engine that is not available.
    """
    found = located(load, tables, request)
    chosen = engine_of(found, request)
    if chosen.engine == "duckdb":
        ready = prepared(found, request)
        return replace(assemble(ready.tables, ready.manifest, ready.rows, block=block), entities=ready.content)
    if chosen.engine == "athena":
        if on_athena is None:
            raise TrainingSetError(
                f"training set {request.name}: this client has no Athena: pass athena= and glue= to FeatureStoreClient.glue, "
                "run the statement of explain(...).sql there, or omit engine"
            )
        if request.rows.num_rows > ATHENA_ROWS:
            raise TrainingSetError(
                f"training set {request.name} has {request.rows.num_rows:,} entity rows, and Athena can write at most "
                f"{ATHENA_ROWS:,} in parts that one machine can sort; build it with engine='spark'"
            )
        return on_athena(prepared(found, request))
    if on_spark is None:
        raise TrainingSetError(
            f"training set {request.name} requires spark: {chosen.reason}; this client has no job that builds it: pass spark_job= "
            "and glue= to FeatureStoreClient.glue, or force engine='duckdb' on a machine that has the memory"
        )
    return on_spark(prepared(found, request))


def prepared(found: Located, request: Request) -> Prepared:
    """Check that the request can be joined, and tag the snapshots.

    Raises:
        PlanError: If keys are of another type, or columns clash.
    """
    by_name, untagged = found.tables, found.pinned()
    # reject requests that cannot be joined before tagging anything
    inputs = pinned_groups(by_name, untagged, request.rows, request.timestamp, request.as_of)
    check(request.rows, request.timestamp, inputs, request.semantics)
    kinds = {
        column: group.source.schema.field(key).type
        for group in reversed(inputs)
        for key, column in group.key_columns.items()
    }
    rows = with_typed_keys(request.rows, kinds)
    if ROW_ID in rows.column_names:
        rows = rows.sort_by(ROW_ID)  # the order of the result and its blocks
    content = parquet_bytes(rows)
    entity_rows = EntityRows(
        timestamp=request.timestamp,
        rows=rows.num_rows,
        content_hash=content_hash(rows),
        sha256=hashlib.sha256(content).hexdigest(),
        columns=tuple(rows.column_names),
    )
    requested = {
        "name": request.name,
        "entities": entity_rows,
        "semantics": request.semantics,
        "as_of": None if request.as_of is None else iso(request.as_of),
        "columns": {pinned.use: pinned.columns for pinned in untagged},
        "read": found.snapshots,
    }
    uses = {pinned.use: [pinned.table, pinned.key_columns] for pinned in untagged if pinned.alias or pinned.keys}
    if uses:
        requested["uses"] = uses
    tag = f"ts-{document_hash(requested)[:16]}"
    for name, table in by_name.items():
        tag_snapshot(table, found.snapshots[name], tag)
    manifest = TrainingSetManifest(
        name=request.name,
        semantics=Semantics(as_of=request.semantics, cutoff=None if request.as_of is None else iso(request.as_of)),
        entities=None,
        features=tuple(replace(pinned, tag=tag) for pinned in untagged),
        build=built_by(request.source),
        output=Output(rows=0, content_hash="", files=(), columns={}),
        entity_rows=entity_rows,
        feature_service=request.service,
    )
    return Prepared(tables=by_name, manifest=manifest, rows=rows, content=content)


def keep(built: TrainingSet, sets: Objects, manifests: Manifests, build: OpenBuild) -> None:
    """Write entity rows, files and, last, the manifest: a set with a manifest is complete.

    Raises:
        ErasedDuringBuildError: If an erasure began during the build; no file remains.
        TrainingSetError: If files of the set exist with different bytes; they stay, and no manifest is written.
    """
    prefix = folder(built.manifest.name, built.id)
    files = {f"{prefix}/{path}": content for path, content in built.files.items()}
    if built.entities is not None and built.manifest.entity_rows is not None:
        files[entities_key(built.manifest.entity_rows)] = built.entities
    write(files, sets, build, what=f"training set {built.id}")
    build.check()
    manifests.add_copy(built.id, place(sets, prefix))
    manifests.write(built.manifest)


def write(files: Mapping[str, bytes], sets: Objects, build: OpenBuild, *, what: str) -> None:
    """Write files of a training set by key, each once.

    Raises:
        TrainingSetError: If files exist with different bytes; they stay.
    """
    there = [key for key, content in files.items() if not build.put_once(sets, key, content)]
    other = [key for key in there if sets.get(key) != files[key]]
    if other:
        raise TrainingSetError(
            f"{what} is built, but {sets} has different bytes in {', '.join(other)}; remove these files and build it again"
        )


def copy_staged(staged: Mapping[str, str], sets: Objects, target: str, build: OpenBuild) -> None:
    """Copy files, given by their URI and path in the set, to the set's folder; remove the copies if an erasure began.

    Raises:
        ErasedDuringBuildError: If an erasure began during the build.
    """
    for path, uri in staged.items():
        sets.copy(uri.removeprefix(sets.uri("")).lstrip("/"), f"{target}/{path}")
    try:
        build.check()
    except TrainingSetError:
        # without permission to delete, the erasure removes these files together with its rows
        with suppress(ClientError):
            for path in staged:
                sets.erase(f"{target}/{path}")
        raise


def folder(name: str, training_set_id: str) -> str:
    """Return the key prefix of a training set's files."""
    return f"sets/{name}/{training_set_id}"


def place(sets: Objects, folder: str) -> str:
    """Return the location of a folder of training sets, as recorded for copies."""
    return f"{str(sets).rstrip('/')}/{folder}"


def entities_key(rows: EntityRows) -> str:
    """Return the key of supplied entity rows."""
    return f"entities/{rows.sha256}.parquet"


def assemble(
    tables: Mapping[str, Table], manifest: TrainingSetManifest, rows: pa.Table, *, block: int = BLOCK
) -> TrainingSet:
    """Build the set of a manifest from its entity rows; return it with the resulting output, which replaces the manifest's."""
    if manifest.entity_rows is None:
        raise TrainingSetError(f"training set {manifest.name} has no entity rows of its own")
    cutoff = manifest.semantics.cutoff
    as_of = None if cutoff is None else datetime.fromisoformat(cutoff)
    timestamp = manifest.entity_rows.timestamp
    inputs = pinned_groups(tables, manifest.features, rows, timestamp, as_of)
    found = joined(rows, timestamp, inputs, semantics=manifest.semantics.as_of)
    built = described(manifest, found.rows, found.matched, block=block)
    warnings = unmatched_groups(rows, timestamp, inputs, found.matched, manifest.semantics.as_of)
    return replace(built, warnings=warnings)


def pinned_groups(
    tables: Mapping[str, Table], pinned: Sequence[PinnedTable], rows: pa.Table, timestamp: str, as_of: datetime | None
) -> list[GroupRows]:
    """Return for each pinned table the rows that can count for the entity rows."""
    oldest = pc.min(rows[timestamp]).as_py()
    return [group_rows(tables[group.table], group, oldest=oldest, created_by=as_of) for group in pinned]


def described(
    manifest: TrainingSetManifest,
    result: pa.Table,
    matched: Sequence[int],
    *,
    splits: Sequence[str] = (),
    block: int = BLOCK,
) -> TrainingSet:
    """Return a training set with its files, and its manifest with the output."""
    count = block_count(result.num_rows, block)
    blocks: list[Block] = []
    files: dict[str, bytes] = {}
    for number in range(count):
        part, content = written_block(result.slice(number * block, block), number, blocks=count, splits=splits)
        blocks.append(part)
        files |= content
    found = [(pinned.use, rows) for pinned, rows in zip(manifest.features, matched, strict=True)]
    described_output = output(result.schema, blocks, matched=found, splits=splits, block=block)
    return TrainingSet(
        splits={split: of_split(result, split) for split in splits} if splits else {"": result},
        files={file.path: files[file.path] for file in described_output.files},
        manifest=replace(manifest, output=described_output),
    )


def group_rows(table: Table, group: PinnedTable, *, oldest: datetime | None, created_by: datetime | None) -> GroupRows:
    """Return the rows of a pinned table that can count for entity rows since ``oldest``; all without entity rows."""
    ttl = None if group.ttl_seconds is None else timedelta(seconds=group.ttl_seconds)
    columns = tuple(dict.fromkeys((*group.entities, *RESERVED, *group.columns)))
    since = None if ttl is None or oldest is None or oldest - _FIRST < ttl else oldest - ttl
    found = pinned_rows(table, group, columns, created_by=created_by, since=since)
    return GroupRows(
        name=group.group if group.alias is None else f"{group.group} as {group.alias}",
        entities=group.entities,
        columns=group.columns,
        ttl=ttl,
        rows=IcebergRows(found.scan, found.schema),
        ttl_inclusive=group.ttl_bound != "exclusive",
        names=dict(zip(group.columns, group.names, strict=True)) if group.names else None,
        keys=group.keys,
    )


def built_by(source: Mapping[str, str]) -> Build:
    """Return the manifest's description of a build in this process."""
    return Build(
        engine="duckdb",
        engine_version=_installed("duckdb"),
        planner=PLANNER,
        client=_installed("mlops-runtime"),
        source=source or None,
    )


def _installed(name: str) -> str:
    """Return the version of a distribution; on Glue, this package is not a distribution, and DuckDB is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def iso(time: datetime) -> str:
    """Return a time in the format of manifests."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
