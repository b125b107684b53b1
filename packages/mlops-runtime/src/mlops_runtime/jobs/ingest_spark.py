"""Ingest a large batch into its feature table with Spark: the AWS Glue job for batches that are too large for a function.

Its script is ``from mlops_runtime.jobs.ingest_spark import main; sys.exit(main(sys.argv[1:]))`` (Glue 5, Spark 3.5), with pyarrow
and pyiceberg installed beside this package. Arguments (others that Glue adds are ignored):

    --batch_uri s3://<incoming bucket>/incoming/<table>/<key>.parquet   an object, or a prefix with .parquet objects
    --table <table>  --idempotency_key <key>  --now <ISO 8601, the store's clock>
    --declaration_uri s3://...  feature groups in the form of ``declaration_json``
    --database <Glue database>  --unit <unit>  --event_bus <bus>

The checks are those of ``batch.checked``: on each row group as Arrow reads it, and again after Spark has shuffled rows by entity,
so that duplicates are found across row groups. Spark's tasks write the data files, which are unreferenced until one commit by
pyiceberg adds them to the table, so a bad batch is never visible. That commit is the same compare-and-set as for small batches:
the idempotency key is looked up in the very state that the commit is based on. If another commit comes first, including one with
the same key, the job checks again and writes its files again, because their ingest id contains the commit's sequence number.
"""

import argparse
import hashlib
import math
import os
import pickle
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil

from mlops_runtime.contracts.events import DetailType, features_ingested
from mlops_runtime.features.batch_checks import BatchError, checked
from mlops_runtime.features.batch_delivery import Delivery, reject, unit_bus
from mlops_runtime.features.batch_ingest import CheckedRows, Ingested, KeyReusedError, append_once, hashed_rows
from mlops_runtime.features.data_files import data_files
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.group_json import declaration_json, read_declaration
from mlops_runtime.features.iceberg_tables import check_table, sort_columns
from mlops_runtime.features.ingest_ledger import hash_of
from mlops_runtime.features.parquet_size import Bounds, ParquetFormError, ParquetSizeError, read_bounded
from mlops_runtime.features.row_hashing import VERSION, content_hash, logical_type
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.features.table_commits import TableBusyError, committed
from mlops_runtime.features.table_types import arrow_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROWS_A_TASK = 1_000_000
_OF_A_ROW_GROUP = Bounds(rows=10_000_000, bytes=1 << 30, decoded=1 << 30)  # a worker with four tasks has 16 GiB
_PROBLEM, _CONTENT = "__problem", "__content"  # distinct from column names, which begin with a letter
_SHOWN = 20  # maximum problems in an error


@dataclass(frozen=True, slots=True)
class _Task:
    """Arguments of Spark's tasks: the group as JSON, the store's clock, file access properties, limits of a row group."""

    declaration: str
    now: datetime
    properties: dict[str, str]
    bounds: Bounds

    @property
    def group(self) -> FeatureGroup:
        return read_declaration(self.declaration)[0]

    @property
    def columns(self) -> pa.Schema:
        # Spark uses lists for vectors
        fields = [f for f in arrow_schema(self.group) if f.name != INGEST_ID]
        return pa.schema([pa.field(f.name, logical_type(f.type)) for f in fields])

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([*self.columns, pa.field(_PROBLEM, pa.string()), pa.field(_CONTENT, pa.string())])

    def io(self) -> PyArrowFileIO:
        return PyArrowFileIO(self.properties)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Location and row count of a batch's row groups, and whether the store's clock stamps the rows."""

    scheme: str
    host: str
    places: list[tuple[str, int]]
    rows: int
    is_stamped: bool

    @property
    def buckets(self) -> int:
        """Number of buckets in which rows are shuffled and hashed: bounded rows per task, and the same for the same batch."""
        return 1 << max(0, math.ceil(self.rows / ROWS_A_TASK) - 1).bit_length()


def ingest(spark: "SparkSession", table: Table, group: FeatureGroup, uri: str, *, key: str, now: datetime) -> Ingested:
    """Check the Parquet objects of a batch and append their rows exactly once, in one commit.

    Raises:
        BatchError: If the batch does not fit the group, or is not Parquet; nothing was written.
        KeyReusedError: If the key was used for another content.
        LostLedgerError: If the key was ingested and its ledger object is missing.
        FeatureTableError: If the table does not fit the group.
        TableBusyError: If other writers committed first too often; retry when there are fewer.
    """
    check_table(group, table)
    properties = {name: str(value) for name, value in table.io.properties.items()}
    task = _Task(declaration_json([group]), now, properties, _OF_A_ROW_GROUP)
    pieces = _pieces(task.io(), uri, group)
    staged = _staged(spark, task, pieces).persist()
    try:
        batch = _passed_rows(group, key, staged, pieces)
        written: list[DataFile] = []

        def write(fresh: Table, ingest_id: str) -> list[DataFile]:
            written.extend(_written(staged, task, fresh.metadata, ingest_id, math.ceil(batch.count / ROWS_A_TASK)))
            return written

        def attempt(fresh: Table) -> Ingested:
            _remove(fresh, written)  # files of an attempt that did not commit, which are unreferenced
            return append_once(fresh, batch, write, now, merges_manifests=False)

        try:
            return committed(table, attempt)
        except TableBusyError:
            _remove(table, written)
            raise
    finally:
        staged.unpersist()


def _remove(table: Table, written: list[DataFile]) -> None:
    for file in written:
        table.io.delete(file.file_path)
    written.clear()


def _paths(files: FileSystem, path: str) -> list[str]:
    """Return the Parquet objects at a path."""
    if files.get_file_info(path).type is not FileType.Directory:
        return [path]
    below = files.get_file_info(FileSelector(path, recursive=True))
    return sorted(file.path for file in below if file.is_file and file.path.endswith(".parquet"))


def _pieces(io: PyArrowFileIO, uri: str, group: FeatureGroup) -> _Pieces:
    scheme, host, path = io.parse_location(uri)
    files = io.fs_by_scheme(scheme, host)
    paths = _paths(files, path)
    places, rows, stamped = [], 0, set()
    for path in paths:
        try:
            footer = pq.read_metadata(path, filesystem=files)
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise BatchError(f"batch for {group.table_name}: {path} cannot be read as Parquet: {error}") from error
        places += [(path, i) for i in range(footer.num_row_groups) if footer.row_group(i).num_rows]
        rows += footer.num_rows
        stamped.add(CREATED_TIME not in footer.schema.to_arrow_schema().names)
    if not rows:
        raise BatchError(f"batch for {group.table_name}: it has no rows; {uri} has {len(paths)} Parquet objects")
    if len(stamped) > 1:
        raise BatchError(
            f"batch for {group.table_name}: {CREATED_TIME} is in some of its objects and not in others; give it in all or in none"
        )
    return _Pieces(scheme, host, places, rows, stamped.pop())


def _staged(spark: "SparkSession", task: _Task, pieces: _Pieces) -> "DataFrame":
    """Return the checked rows, together with rows that have a problem, or the hash of a bucket, instead of values."""
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - only where Spark is

    schema = from_arrow_schema(task.schema)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        files = task.io().fs_by_scheme(pieces.scheme, pieces.host)
        for batch in batches:
            for path, number in zip(batch["path"].to_pylist(), batch["number"].to_pylist(), strict=True):
                with files.open_input_file(path) as file:
                    yield from _passed(task, file, path, number)

    def together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 - on a worker

        context = TaskContext.get()
        yield from _bucket(task, batches, 0 if context is None else context.partitionId(), pieces.is_stamped)

    places = spark.createDataFrame(pieces.places, "path string, number int").repartition(len(pieces.places))
    rows = places.mapInArrow(read, schema)
    return rows.repartition(pieces.buckets, *task.group.entity_names).mapInArrow(together, schema)


def _passed(task: _Task, file: pa.NativeFile, path: str, number: int) -> Iterator[pa.RecordBatch]:
    try:
        rows = read_bounded(file, task.bounds, row_group=number)
        yield from _padded(task, checked(task.group, rows, task.now)).to_batches()
    except (ParquetSizeError, ParquetFormError) as error:
        fix = "; write smaller row groups" if isinstance(error, ParquetSizeError) else ""
        yield from _notes(task, _PROBLEM, [f"row group {number} of {path}: {error}{fix}"])
    except BatchError as error:
        yield from _notes(task, _PROBLEM, error.problems)


def _bucket(task: _Task, batches: Iterable[pa.RecordBatch], number: int, is_stamped: bool) -> Iterator[pa.RecordBatch]:
    every = pa.Table.from_batches([batch.cast(task.schema) for batch in batches], task.schema)
    problems = every[_PROBLEM].drop_null()
    if len(problems):
        yield from _notes(task, _PROBLEM, problems.unique().to_pylist())
    given = every.filter(pc.is_null(every[_PROBLEM])).select(task.columns.names)
    if not given.num_rows:
        return
    try:
        rows = checked(task.group, given, task.now)
    except BatchError as error:
        yield from _notes(task, _PROBLEM, error.problems)
        return
    hashed = content_hash(hashed_rows(task.group, rows, is_stamped=is_stamped), sort_columns(task.group))
    newest = pc.max(rows[EVENT_TIME]).as_py().isoformat()
    yield from _notes(task, _CONTENT, [f"{number:05} {hashed} {rows.num_rows} {newest}"])
    yield from _padded(task, rows).to_batches()


def _padded(task: _Task, rows: pa.Table) -> pa.Table:
    for name in (_PROBLEM, _CONTENT):
        rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
    return rows.cast(task.schema)


def _notes(task: _Task, column: str, texts: Sequence[str]) -> list[pa.RecordBatch]:
    columns = {f.name: pa.nulls(len(texts), f.type) for f in task.schema} | {column: pa.array(texts, pa.string())}
    batches: list[pa.RecordBatch] = pa.table(columns, schema=task.schema).to_batches()
    return batches


def _passed_rows(group: FeatureGroup, key: str, staged: "DataFrame", pieces: _Pieces) -> CheckedRows:
    """Return the key and the content of the rows that passed the checks.

    Raises:
        BatchError: With the problems of the others.
    """
    notes = staged.where(f"{_PROBLEM} is not null or {_CONTENT} is not null").select(_PROBLEM, _CONTENT).collect()
    problems = sorted({note[0] for note in notes if note[0] is not None})
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        shown = [*problems[:_SHOWN], *more]
        raise BatchError(f"batch for {group.table_name}: {'; '.join(shown)}", shown)
    buckets = sorted(note[1].split() for note in notes)
    digest = hashlib.sha256(" ".join(f"{number}:{hashed}" for number, hashed, _, _ in buckets).encode()).hexdigest()
    rows = sum(int(rows) for _, _, rows, _ in buckets)
    return CheckedRows(
        table=group.table_name,
        key=key,
        key_hash=hash_of(key),
        content=f"{VERSION}/{pieces.buckets}:{digest}",
        newest_event=max(datetime.fromisoformat(newest) for *_, newest in buckets),
        count=rows,
        repeated=pieces.rows - rows,
    )


def _written(
    staged: "DataFrame", task: _Task, metadata: TableMetadata, ingest_id: str, tasks: int
) -> Iterator[DataFile]:
    """Write the rows as data files of the table in Spark's tasks, each for a range of partitions, entities and times."""
    text, names = metadata.model_dump_json(), task.columns.names

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = pa.Table.from_batches([batch.cast(task.columns) for batch in batches], task.columns)
        if not rows.num_rows:
            return
        state = TableMetadataUtil.parse_raw(text)
        schema = arrow_schema(task.group)
        rows = rows.cast(pa.schema([schema.field(name) for name in rows.column_names]))
        written = data_files(state, rows, task.io(), ingest_id=ingest_id)
        files = [pickle.dumps(file) for file in written]
        yield pa.record_batch({"file": pa.array(files, pa.binary())})

    order = sort_columns(task.group)
    passed = staged.where(f"{_PROBLEM} is null and {_CONTENT} is null").select(*names)
    parted = passed.selectExpr("*", f"date_trunc('{task.group.partition}', {EVENT_TIME}) as __part")
    ranged = parted.repartitionByRange(max(tasks, 1), "__part", *order).drop("__part").sortWithinPartitions(*order)
    for row in ranged.mapInArrow(write, "file binary").collect():
        yield pickle.loads(row[0])  # noqa: S301 - written by this job's tasks, over Spark's own channel


def main(arguments: Sequence[str]) -> int:
    """Run the job; return the exit code. A batch that fails its checks is reported as by the function, not as an error."""
    parser = argparse.ArgumentParser(prog="ingest_spark", allow_abbrev=False)
    for name in ("batch_uri", "table", "idempotency_key", "now", "declaration_uri", "database", "unit", "event_bus"):
        parser.add_argument(f"--{name}", required=True)
    given, _ = parser.parse_known_args(arguments)

    from pyspark.sql import SparkSession  # noqa: PLC0415 - only where Spark is

    s3, events = boto3.client("s3"), boto3.client("events")
    bucket, _, path = given.declaration_uri.removeprefix("s3://").partition("/")
    groups = read_declaration(s3.get_object(Bucket=bucket, Key=path)["Body"].read().decode())
    group = next((group for group in groups if group.table_name == given.table), None)
    if group is None:
        known = ", ".join(sorted(group.table_name for group in groups))
        sys.stderr.write(f"mlops ingest: --table must be one of {known}, got {given.table!r}\n")
        return 1
    now = datetime.fromisoformat(given.now).astimezone(UTC)
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    table = Tables.glue(given.database, os.environ).load(given.table)
    try:
        done = ingest(spark, table, group, given.batch_uri, key=given.idempotency_key, now=now)
    except (BatchError, KeyReusedError) as error:
        bucket, _, path = given.batch_uri.removeprefix("s3://").partition("/")
        head = s3.head_object(Bucket=bucket, Key=path)
        delivery = Delivery(
            bucket=bucket, path=path, etag=head["ETag"].strip('"'), bytes=head["ContentLength"], now=now
        )
        publish = unit_bus(events, bus=given.event_bus, unit=given.unit, detail_type=DetailType.FEATURES_REJECTED)
        reject(delivery, str(error), getattr(error, "problems", [str(error)]), s3=s3, publish=publish)
        sys.stderr.write(f"mlops ingest: rejected, nothing was written: {error}\n")
        return 0
    announce = unit_bus(events, bus=given.event_bus, unit=given.unit)
    # identified by the key instead of the run: repeated events have the same id
    announce(features_ingested(given.table, rows=done.rows, ingest_id=hash_of(given.idempotency_key)[:32]))
    sys.stderr.write(f"mlops ingest: {done}\n")
    return 0
