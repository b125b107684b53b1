"""Training sets joined by Athena and written by this process: same files, hashes and manifest as with DuckDB.

The keys and times of the entity rows become a temporary Glue table. For each timeline, Athena unloads the matching rows into at
most 100 partitions by ranges of ``row_id``. UNLOAD does not sort files, so each partition is read, sorted and cut into blocks here,
which the same function as in a local build writes and hashes. Times travel as microseconds since 1970: Hive tables and UNLOAD have
no other exact representation. The files and tables that interrupted builds left are removed here too.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import STAGED_DAYS
from mlops_runtime.features.access_errors import allow, refusals
from mlops_runtime.features.athena_query import microseconds, remove_all, unload
from mlops_runtime.features.athena_runs import AthenaError, AthenaRuns, quoted
from mlops_runtime.features.build_intent import OpenBuild
from mlops_runtime.features.distributed_build import EntityFiles, Files, Layout, laid_out
from mlops_runtime.features.glue_build import staged, stored_set
from mlops_runtime.features.row_hashing import BLOCK
from mlops_runtime.features.training_set import Prepared, TrainingSet, copy_staged, entities_key, folder, place
from mlops_runtime.features.training_set_files import block_count, parquet_bytes
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import SqlPlan, pieces, timeline_numbers

ROWS_TABLE = "mlops_rows_"
_PARTITIONS = 100  # https://docs.aws.amazon.com/athena/latest/ug/unload.html
_EXACT = 4_070_908_800  # 2099-01-01 in seconds: beyond it, a double of seconds is not exact to the microsecond
_SECOND = 1_000_000
_HIVE = {
    "boolean": "boolean",
    "int": "int",
    "long": "bigint",
    "string": "string",
    "date": "date",
    "timestamp": "bigint",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AthenaBuilder:
    """Build training sets with Athena."""

    runs: AthenaRuns  # runs queries
    glue: Any  # boto3 client of Glue; creates and deletes the temporary table of entity rows
    database: str  # the database of the feature tables and of the temporary table
    s3: Any  # a boto3 client of S3
    sets: Objects  # the bucket of training sets
    manifests: Manifests
    files: Files  # file access
    block: int = BLOCK  # number of rows that are hashed together and share a file

    def build(self, ready: Prepared, build: OpenBuild, *, name: str | None = None) -> TrainingSet:
        """Build and store a training set; ``name`` is of its staging prefix, as recorded in the build's intent.

        Raises:
            AthenaError: If a query fails, or Athena cannot represent a time exactly; nothing is stored.
            SourceAccessError: If access is denied.
            TrainingSetError: If rows are missing from the result.
            ErasedDuringBuildError: If an erasure began during the build; no file remains.
        """
        draft, name = ready.manifest, uuid4().hex if name is None else name
        if draft.entity_rows is None or ready.content is None:
            raise TrainingSetError(f"training set {draft.name} has no entity rows of its own")
        self.runs.place()
        build.put_once(self.sets, entities_key(draft.entity_rows), ready.content)
        uri = self.sets.uri(entities_key(draft.entity_rows))
        entities = EntityFiles(uris=(uri,), timestamp=draft.entity_rows.timestamp)
        own = Objects(self.sets.uri(staged(name)), s3=self.s3)
        try:
            layout = laid_out(
                ready.tables, draft, entities, files=self.files, staged=own.uri("files"), block=self.block
            )
            engine = self._answered(layout, ready.rows, own, name)
            written = layout.composed(draft, self._blocks(layout, own))
            by = replace(draft.build, engine="athena", engine_version=engine)
            manifest = replace(draft, output=written.output, build=by)
            digest = content_hash(manifest)
            target = folder(manifest.name, digest)
            copy_staged(written.staged, self.sets, target, build)
            self.manifests.add_copy(digest, place(self.sets, target))
            self.manifests.write(manifest)
        finally:
            remove_all(own)
        return stored_set(self.sets, digest, manifest)

    def _answered(self, layout: Layout, rows: pa.Table, own: Objects, name: str) -> str:
        """Unload the rows of each timeline; return Athena's engine version."""
        plan, engine = layout.plan, "unknown"
        if plan is None or not layout.task.rows:
            return engine
        with self._table(plan, rows, own, f"{ROWS_TABLE}{name}") as table:
            size = self.block * self._blocks_of_a_part(layout)
            for timeline, query in enumerate(pieces(plan, "athena")):
                shown = ", ".join(
                    [
                        "row_id",
                        *_shown(plan, timeline),
                        f"cast((row_id - mod(row_id, {size})) / {size} as integer) as part",
                    ]
                )
                sql = f"with entity as ({_entity(plan, table)}) select * from ({query}) as answers"  # noqa: S608 - quoted
                text = unload(f"select {shown} from ({sql}) as answered", own.uri(f"answers/{timeline}"), by="part")  # noqa: S608
                engine = self.runs.run(text).engine
        return engine

    @contextmanager
    def _table(self, plan: SqlPlan, rows: pa.Table, own: Objects, name: str) -> Iterator[str]:
        """Create the table of the entity rows' keys and times, and delete it after the block."""
        columns = {"row_id": pa.arange(0, rows.num_rows), "moment": _plain(rows[plan.entities.timestamp])}
        kinds = {"row_id": "bigint", "moment": "bigint"}
        for i, (column, kind) in enumerate(plan.entities.columns.items()):
            columns[f"c{i}"], kinds[f"c{i}"] = _plain(rows[column]), _HIVE[kind]
        own.put_once("rows/rows.parquet", parquet_bytes(pa.table(columns)))
        storage = {
            "Columns": [{"Name": column, "Type": kind} for column, kind in kinds.items()],
            "Location": own.uri("rows/"),
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
        }
        arn = f"arn:aws:glue:*:*:table/{self.database}/{ROWS_TABLE}*"
        statement = allow(
            ["glue:CreateTable", "glue:DeleteTable", "glue:GetTable"],
            arn,
            "arn:aws:glue:*:*:catalog",
            f"arn:aws:glue:*:*:database/{self.database}",
        )
        with refusals(f"making table {name} in {self.database}", statement):
            self.glue.create_table(
                DatabaseName=self.database,
                TableInput={
                    "Name": name,
                    "TableType": "EXTERNAL_TABLE",
                    "Parameters": {"classification": "parquet", "EXTERNAL": "TRUE"},
                    "StorageDescriptor": storage,
                },
            )
        try:
            yield f"{quoted(self.database)}.{quoted(name)}"
        finally:
            self.glue.delete_table(DatabaseName=self.database, Name=name)

    def _blocks(self, layout: Layout, own: Objects) -> list[Any]:
        """Read one partition at a time and write its blocks."""
        task, plan = layout.task, layout.plan
        if plan is None or not task.rows:
            return [task.answer(number, {}) for number in range(block_count(task.rows, self.block))]
        answers, step = [], self._blocks_of_a_part(layout)
        timelines = sorted(set(timeline_numbers(plan)))
        for part, first in enumerate(range(0, block_count(task.rows, self.block), step)):
            found = {timeline: self._part(own, timeline, part) for timeline in timelines}
            for number in range(first, min(first + step, block_count(task.rows, self.block))):
                start = (number - first) * self.block
                block = {each: rows.slice(start, self.block) for each, rows in found.items()}
                answers.append(layout.task.answer(number, block))
        return answers

    def _part(self, own: Objects, timeline: int, part: int) -> pa.Table:
        keys = own.keys(f"answers/{timeline}/part={part}/")
        read = [pq.read_table(io.BytesIO(own.get(key) or b"")) for key in keys]
        if not read:
            raise TrainingSetError(f"Athena returned no rows for part {part}, timeline {timeline}; build the set again")
        rows = pa.concat_tables(read).sort_by("row_id").combine_chunks()
        for name in rows.schema.names:
            if name.startswith("t_"):
                rows = rows.rename_columns({name: name.removeprefix("t_")})
                _check_exact(rows[name.removeprefix("t_")])
        return rows

    def _blocks_of_a_part(self, layout: Layout) -> int:
        return -(-block_count(layout.task.rows, self.block) // _PARTITIONS)


def _entity(plan: SqlPlan, table: str) -> str:
    """Return the query for the entity rows in the shape that ``pieces`` reads."""
    columns = ["row_id", f"{_time('moment')} as moment"]
    for i, kind in enumerate(plan.entities.columns.values()):
        columns.append(f"{_time(f'c{i}')} as c{i}" if kind == "timestamp" else f"c{i}")
    return f"select {', '.join(columns)} from {table}"  # noqa: S608 - names are ours, or quoted


def _time(column: str) -> str:
    """Return the SQL expression that converts microseconds since 1970 to a time, exact in all years."""
    nanoseconds = f"cast({column} as decimal(19, 0)) * 1000"
    return f"cast(from_unixtime_nanos({nanoseconds}) as timestamp(6) with time zone)"


def _shown(plan: SqlPlan, timeline: int) -> Iterator[str]:
    """Yield the columns to unload of a timeline; times as microseconds, named with the prefix ``t_``."""
    for group, number in enumerate(timeline_numbers(plan)):
        if number != timeline:
            continue
        yield f"found{group}"
        for j, kind in enumerate(plan.groups[group].columns.values()):
            name = f"v{group}_{j}"
            if kind == "timestamp":
                yield f"{microseconds(name)} as t_{name}"
            elif kind == "list<timestamp>":
                yield f"transform({name}, e -> {microseconds('e')}) as t_{name}"
            else:
                yield name


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _check_exact(column: pa.ChunkedArray) -> None:
    """Check that no time is beyond the exact range of Athena's seconds, which are doubles.

    Raises:
        AthenaError: With the first such time.
    """
    values = pc.list_flatten(column) if pa.types.is_nested(column.type) else column
    seconds = pc.divide(values, _SECOND)
    far = pc.and_(
        pc.greater(pc.abs(seconds), _EXACT), pc.not_equal(pc.subtract(values, pc.multiply(seconds, _SECOND)), 0)
    )
    if pc.any(far).as_py():
        first = values.filter(far)[0].as_py() // _SECOND
        raise AthenaError(
            f"a feature has the time {first:,} seconds from 1970 with fractional seconds, which Athena cannot return exactly; "
            "build the set by engine='duckdb' or 'spark'"
        )


def remove_leftovers(glue: Any, database: str, sets: Objects, now: datetime, *, s3: Any) -> int:
    """Delete tables of entity rows older than ``STAGED_DAYS`` with their staged files; return the number of tables.

    The store's bucket expires staged files after the same time, so no running build is affected.
    """
    pages = glue.get_paginator("get_tables").paginate(DatabaseName=database)
    found = [table for page in pages for table in page["TableList"] if table["Name"].startswith(ROWS_TABLE)]
    old = [table["Name"] for table in found if now - table["CreateTime"] > timedelta(days=STAGED_DAYS)]
    for name in old:
        remove_all(Objects(sets.uri(staged(name.removeprefix(ROWS_TABLE))), s3=s3))
        # another caller may delete the same table concurrently
        try:
            glue.delete_table(DatabaseName=database, Name=name)
        except glue.exceptions.EntityNotFoundException:
            continue
    return len(old)
