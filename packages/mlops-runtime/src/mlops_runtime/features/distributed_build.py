"""Training sets built by Spark tasks, which write the files of blocks with the same function as a local build.

The entity rows are in Parquet files in the order of their ``row_id``. Spark receives only their keys and times, and selects the
matching feature rows, one timeline for all groups with the same key; see ``training_set_sql.pieces``. The results are grouped by
block. A task reads its block's entity rows from the files, so that columns of any type keep their bytes, appends the features,
writes the block's files below a staging prefix, in a folder of the task's attempt, and returns their hashes. The driver checks that
all rows are present and composes the manifest's output; until then nothing references a file.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from mlops_runtime.contracts.features import Output, PinnedTable, TrainingSetManifest
from mlops_runtime.features.column_type import FeatureType
from mlops_runtime.features.iceberg_tables import schema_at
from mlops_runtime.features.row_hashing import BLOCK
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_pins import NO_SNAPSHOT, pinned_rows
from mlops_runtime.features.table_types import arrow_types, declared_types
from mlops_runtime.features.training_set_files import ROW_ID, Block, block_count, output, written_block
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import SqlEntities, SqlPlan, SqlTable, pieces, sql_group, timeline_numbers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROWS_A_BATCH = 1 << 16
_ENTITY = SqlTable(database="session", table="entity", snapshot_id=0)  # a view that the queries reference by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """File access from driver and tasks: pyiceberg's properties of Arrow file systems."""

    properties: Mapping[str, str]

    def at(self, uri: str) -> tuple[FileSystem, str]:
        """Return the file system of a URI, and the path in it."""
        scheme, _, rest = uri.partition("://")
        host, _, _ = rest.partition("/")
        files = PyArrowFileIO(dict(self.properties)).fs_by_scheme(scheme, host if scheme != "file" else None)
        return files, rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a training set before a manifest references them."""

    output: Output  # the output of the manifest
    staged: Mapping[str, str]  # staged location of each file, by its path in the set


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityFiles:
    """Entity rows as Parquet files, in the order of their ``row_id`` if they have one."""

    uris: tuple[str, ...]  # URIs of the files, in order
    timestamp: str  # the time column
    splits: tuple[str, ...] = ()  # names of the splits of a split set, which has a column `split`
    last: tuple[str, ...] = ()  # columns to place after the features
    # files with the `last` columns, one for each file of rows with the same number of rows. Default: the columns are in
    # the rows' files
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Task:
    """Everything that tasks need.

    ``groups`` has the timeline of each group, ``None`` without rows, and the names of its columns in Spark. ``counts`` is the
    number of rows of each entity file, ``counted`` the number of groups with rows. ``features`` is the serialized Arrow schema of
    all columns in order: pickling would lose the name of a list's elements, which files keep.
    """

    files: Files
    entities: EntityFiles
    staged: str
    groups: tuple[tuple[int | None, tuple[str, ...]], ...]
    features: bytes
    counts: tuple[int, ...]
    block: int
    counted: int

    @property
    def rows(self) -> int:
        """Number of entity rows."""
        return sum(self.counts)

    @property
    def schema_of_features(self) -> pa.Schema:
        """Schema of all features."""
        return pa.ipc.read_schema(pa.py_buffer(self.features))

    def names(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of the result in order, given those of the entity rows."""
        first = [name for name in columns if name not in self.entities.last]
        return [*first, *([] if ROW_ID in columns else [ROW_ID]), *self.schema_of_features.names, *self.entities.last]

    def assembled(self, number: int, found: Mapping[int, pa.Table]) -> pa.Table:
        """Return the rows of a block: entity rows from the files, with the features of each timeline."""
        start = number * self.block
        rows = self.entity_rows(start, min(self.block, self.rows - start))
        names = self.names(rows.column_names)
        wanted = {timeline for timeline, _ in self.groups if timeline is not None} if self.rows else set()
        if not wanted <= set(found):
            raise TrainingSetError(f"block {number}: {len(wanted - set(found))} timelines have no rows")
        for number_of, part in found.items():
            if not part["row_id"].equals(pa.chunked_array([pa.arange(start, start + rows.num_rows)])):
                raise TrainingSetError(
                    f"block {number}: timeline {number_of} has {part.num_rows} rows for {rows.num_rows} entity rows"
                )
        if ROW_ID not in rows.column_names:
            rows = rows.append_column(ROW_ID, pa.arange(start, start + rows.num_rows))
        fields = iter(self.schema_of_features)
        for timeline, own in self.groups:
            for name, field in zip(own, fields, strict=False):
                part = None if timeline is None else found.get(timeline)
                values = pa.nulls(rows.num_rows, field.type) if part is None else part[name].cast(field.type)
                rows = rows.append_column(field, values)
        return rows.select(names)

    def entity_rows(self, start: int, count: int) -> pa.Table:
        """Return a range of entity rows."""
        parts, first = [], 0
        for place, rows in enumerate(self.counts):
            low, high = max(start, first), min(start + count, first + rows)
            if low < high:
                parts.append(self._of_file(place, low - first, high - low))
            first += rows
        return pa.concat_tables(parts) if parts else self._of_file(0, 0, 0)

    def _of_file(self, place: int, start: int, count: int) -> pa.Table:
        rows = _rows(self.files, self.entities.uris[place], start, count)
        for uri in self.entities.beside[place : place + 1]:
            beside = _rows(self.files, uri, start, count)
            for field in beside.schema:
                rows = rows.append_column(field, beside[field.name])
        return rows

    def schema(self) -> pa.Schema:
        """Return the columns of the result."""
        return replace(self, counts=()).assembled(0, {}).schema

    def answer(self, number: int, found: Mapping[int, pa.Table], attempt: int = 0) -> "Answer":
        """Write the files of a block, in a folder of the attempt, from the rows of each timeline, sorted by ``row_id``."""
        counts = [0] * self.counted
        for part in found.values():
            for group in range(self.counted):
                if f"found{group}" in part.column_names:
                    counts[group] = pc.sum(part[f"found{group}"]).as_py() or 0
        rows = self.assembled(number, found)
        block, content = written_block(
            rows, number, blocks=block_count(self.rows, self.block), splits=self.entities.splits
        )
        for path, written in content.items():
            files, target = self.files.at(_staged(self.staged, path, attempt))
            files.create_dir(target.rpartition("/")[0], recursive=True) if self.staged.startswith("file:") else None
            with files.open_output_stream(target) as sink:
                sink.write(written)
        return Answer(block=block, found=tuple(counts), attempt=attempt)


def build(
    spark: "SparkSession",
    tables: Mapping[str, Table],
    manifest: TrainingSetManifest,
    entities: EntityFiles,
    *,
    catalog: str,
    files: Files,
    staged: str,
    block: int = BLOCK,
) -> Written:
    """Write the files of a training set below a staging prefix that is exclusive to this build.

    Raises:
        TrainingSetError: If rows are missing from the result; written files remain, but nothing references them.
        FeatureTableError: If a snapshot has expired.
    """
    found = laid_out(tables, manifest, entities, files=files, staged=staged, block=block)
    answers = _answers(spark, found, catalog) if found.task.rows else [found.task.answer(0, {})]
    return found.composed(manifest, answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Division of a training set's rows into blocks, independent of the engine that joins."""

    task: "_Task"  # writes blocks
    plan: SqlPlan | None  # plan of the join; `None` if no feature table has rows
    pinned: tuple[PinnedTable, ...]  # the feature tables with rows, by their number in the plan
    footers: tuple[pq.FileMetaData, ...]  # the footers of the entity rows' files

    def composed(self, manifest: TrainingSetManifest, answers: "Sequence[Answer]") -> Written:
        """Return the output composed of the blocks.

        Raises:
            TrainingSetError: If a block is missing or repeated.
        """
        task, ordered = self.task, sorted(answers, key=lambda answer: answer.block.number)
        expected = [
            (n, max(0, min(task.block, task.rows - n * task.block))) for n in range(block_count(task.rows, task.block))
        ]
        if [(answer.block.number, answer.block.rows) for answer in ordered] != expected:
            rows = sum(answer.block.rows for answer in ordered)
            raise TrainingSetError(
                f"{len(ordered)} blocks of {rows} rows were written for {len(expected)} of {task.rows} entity rows; build the set "
                "again"
            )
        counts = {each.use: sum(answer.found[i] for answer in ordered) for i, each in enumerate(self.pinned)}
        found = output(
            task.schema(),
            [answer.block for answer in ordered],
            matched=[(each.use, counts.get(each.use, 0)) for each in manifest.features],
            splits=task.entities.splits,
            block=task.block,
        )
        staged = {
            file.path: _staged(task.staged, file.path, answer.attempt)
            for answer in ordered
            for file in answer.block.files
        }
        return Written(output=found, staged=staged)


def laid_out(
    tables: Mapping[str, Table],
    manifest: TrainingSetManifest,
    entities: EntityFiles,
    *,
    files: Files,
    staged: str,
    block: int = BLOCK,
) -> Layout:
    """Return the division of a training set's rows into blocks; arguments and errors as for ``build``."""
    footers = tuple(footer(files, uri) for uri in entities.uris)
    pinned = [each for each in manifest.features if each.snapshot_id != NO_SNAPSHOT]
    plan = None if not pinned else _plan(tables, manifest, pinned, footers, entities.timestamp)
    timelines = [] if plan is None else timeline_numbers(plan)
    groups, features = [], []
    for each in manifest.features:
        number = None if each not in pinned else pinned.index(each)
        types = pinned_rows(tables[each.table], each, each.columns).schema
        names = each.names or each.columns
        features += [pa.field(name, types.field(column).type) for column, name in zip(each.columns, names, strict=True)]
        own = tuple(f"v{number}_{j}" for j in range(len(each.columns)))
        groups.append((None if number is None else timelines[number], own))
    schema = pa.schema(features).serialize().to_pybytes()
    counts = tuple(footer.num_rows for footer in footers)
    task = _Task(files, entities, staged.rstrip("/"), tuple(groups), schema, counts, block, len(pinned))
    return Layout(task=task, plan=plan, pinned=tuple(pinned), footers=footers)


def footer(files: Files, uri: str) -> pq.FileMetaData:
    """Return the footer of a Parquet file."""
    source, path = files.at(uri)
    with source.open_input_file(path) as file:
        return pq.read_metadata(file)


def _plan(
    tables: Mapping[str, Table],
    manifest: TrainingSetManifest,
    pinned: Sequence[PinnedTable],
    footers: Sequence[pq.FileMetaData],
    timestamp: str,
) -> SqlPlan:
    for each in pinned:
        if tables[each.table].snapshot_by_id(each.snapshot_id) is None:
            raise FeatureTableError(
                f"snapshot {each.snapshot_id} of table {each.table} (tag {each.tag}) has expired; request the set again"
            )
    schema = footers[0].schema.to_arrow_schema()
    keys = dict.fromkeys(column for each in pinned for column in each.key_columns.values())
    plain = pa.schema([schema.field(name) for name in dict.fromkeys((*keys, timestamp))])
    cutoff = manifest.semantics.cutoff
    return SqlPlan(
        entities=SqlEntities(table=_ENTITY, timestamp=timestamp, columns=arrow_types(plain)),
        groups=tuple(sql_group(each, _types(tables[each.table], each)) for each in pinned),
        semantics=manifest.semantics.as_of,
        as_of=None if cutoff is None else datetime.fromisoformat(cutoff),
        within=_within(footers, timestamp),
    )


def _types(table: Table, pinned: PinnedTable) -> dict[str, FeatureType]:
    """Return the types of columns at the snapshot."""
    return declared_types(schema_at(table, pinned.snapshot_id), table.properties)


def _within(footers: Sequence[pq.FileMetaData], timestamp: str) -> tuple[datetime, datetime] | None:
    """Return the first and last time of the entity rows by the files' statistics, ``None`` without statistics."""
    place = footers[0].schema.names.index(timestamp)
    found = [footer.row_group(i).column(place).statistics for footer in footers for i in range(footer.num_row_groups)]
    if not found or any(each is None or not each.has_min_max for each in found):
        return None
    first, last = min(each.min for each in found), max(each.max for each in found)
    return first, last


def _answers(spark: "SparkSession", layout: Layout, catalog: str) -> "list[Answer]":
    """Run the tasks that write the blocks; return their results."""
    task, plan = layout.task, layout.plan
    queries = ("select row_id, 0 as timeline from entity",) if plan is None else pieces(plan, "spark", catalog=catalog)
    columns = [task.entities.timestamp] if plan is None else list(plan.entities.columns)
    _view(spark, task, columns, layout.footers)
    # select only the timeline's own columns: those of other timelines are null in every row
    own: dict[int, list[str]] = {n: ["row_id"] for n in range(len(queries))}
    for timeline, names in task.groups:
        if timeline is not None:
            own[timeline] += names
    for group, timeline in enumerate([] if plan is None else timeline_numbers(plan)):
        own[timeline].append(f"found{group}")

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext  # noqa: PLC0415 - on a worker

        context = TaskContext.get()
        attempt = 0 if context is None else context.taskAttemptId()
        number: int | None = None
        held: dict[int, list[pa.RecordBatch]] = {}
        for batch in batches:
            for (block, timeline), part in runs(batch, "block", "timeline"):
                if number is not None and block != number:
                    yield _sent(task.answer(number, _tables(held), attempt))
                    held = {}
                number = block
                held.setdefault(timeline, []).append(part.select(own[timeline]))
        if number is not None:
            yield _sent(task.answer(number, _tables(held), attempt))

    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(_ROWS_A_BATCH))
    rows = spark.sql(" union all ".join(f"({query})" for query in queries))
    numbered = rows.selectExpr(f"row_id div {task.block} as block", "*")
    placed = numbered.repartition(block_count(task.rows, task.block), "block").sortWithinPartitions(
        "block", "timeline", "row_id"
    )
    sent = placed.mapInArrow(write, "answer binary").collect()
    return [pickle.loads(row[0]) for row in sent]  # noqa: S301 - of our own tasks, over Spark's own channel


def _view(spark: "SparkSession", task: _Task, columns: Sequence[str], footers: Sequence[pq.FileMetaData]) -> None:
    """Create a view of the entity rows' keys and times, read by one task per row group."""
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - only with Spark

    kinds = footers[0].schema.to_arrow_schema()
    names = {"row_id": pa.int64(), "moment": kinds.field(task.entities.timestamp).type}
    names |= {f"c{i}": kinds.field(name).type for i, name in enumerate(columns)}
    schema = pa.schema(list(names.items()))

    def made(_: int, first: int, rows: pa.Table) -> pa.Table:
        ids = pa.arange(first, first + rows.num_rows)
        return pa.table([ids, rows[task.entities.timestamp], *(rows[name] for name in columns)], schema=schema)

    groups = RowGroups.of(task.files, task.entities.uris, footers)
    read = list(dict.fromkeys([*columns, task.entities.timestamp]))
    groups.mapped(spark, read, made, from_arrow_schema(schema)).createOrReplaceTempView("entity")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowGroups:
    """Row groups of Parquet files in order, each read by one task."""

    files: Files  # file access
    uris: tuple[str, ...]  # URIs of the files
    counts: tuple[tuple[int, ...], ...]  # row counts of the row groups, for each file

    @classmethod
    def of(cls, files: Files, uris: Sequence[str], footers: Sequence[pq.FileMetaData]) -> "RowGroups":
        """Return the row groups of files with these footers."""
        counts = tuple(tuple(each.row_group(i).num_rows for i in range(each.num_row_groups)) for each in footers)
        return cls(files=files, uris=tuple(uris), counts=counts)

    def mapped(
        self, spark: "SparkSession", columns: Sequence[str], make: Callable[[int, int, pa.Table], pa.Table], kinds: Any
    ) -> "DataFrame":
        """Return a function's results for each row group.

        Args:
            spark: The session.
            columns: Columns to read.
            make: Called with the file's index, the global number of the row group's first row, and the rows.
            kinds: Schema of the results in Spark's types.
        """
        files, uris, names = self.files, self.uris, list(columns)

        def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for place in batch.to_pylist():
                    source, path = files.at(uris[place["file"]])
                    with source.open_input_file(path) as file:
                        rows = pq.ParquetFile(file).read_row_group(place["number"], columns=names)
                    made = make(place["file"], place["first"], rows)
                    yield from made.to_batches(max_chunksize=_ROWS_A_BATCH)

        groups, first = [], 0
        for at, counts in enumerate(self.counts):
            for i, count in enumerate(counts):
                groups.append((at, i, first))
                first += count
        places = spark.createDataFrame(groups, "file int, number int, first long").repartition(len(groups))
        return places.mapInArrow(read, kinds)


def runs(batch: pa.RecordBatch, *names: str) -> Iterator[tuple[tuple[int, ...], pa.RecordBatch]]:
    """Yield the parts of a sorted batch that have the same values in the columns, with these values."""
    while batch.num_rows:
        values = tuple(batch[name][0].as_py() for name in names)
        same = reduce(pc.and_, (pc.equal(batch[name], value) for name, value in zip(names, values, strict=True)))
        stop = pc.sum(same).as_py()
        yield values, batch.slice(0, stop)
        batch = batch.slice(stop)


def _tables(held: Mapping[int, Sequence[pa.RecordBatch]]) -> dict[int, pa.Table]:
    return {timeline: pa.Table.from_batches(parts) for timeline, parts in held.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A task's result for a block: the number of matched rows of each group, and the attempt that wrote it."""

    block: Block
    found: tuple[int, ...]
    attempt: int


def _sent(answer: Answer) -> pa.RecordBatch:
    return pa.record_batch({"answer": pa.array([pickle.dumps(answer)], pa.binary())})


def _staged(place: str, path: str, attempt: int) -> str:
    return f"{place}/{attempt}/{path}"  # ends in .parquet, as an erasure searches these files


def _rows(files: Files, uri: str, start: int, count: int) -> pa.Table:
    """Return a range of rows of a file; only the row groups that contain them are read."""
    source, path = files.at(uri)
    with source.open_input_file(path) as opened:
        file = pq.ParquetFile(opened)
        groups, first, skipped = [], 0, 0
        for i in range(file.metadata.num_row_groups):
            after = first + file.metadata.row_group(i).num_rows
            if after <= start:
                skipped = after
            elif first < start + count:
                groups.append(i)
            first = after
        return file.read_row_groups(groups).slice(start - skipped, count)
