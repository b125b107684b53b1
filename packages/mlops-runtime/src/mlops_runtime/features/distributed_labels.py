"""Labels of a plan, selected, split by time, sorted and written as files of entity rows by Spark tasks.

Each task writes one file. The files have the order of ``split_set``, training before holdout, so that row numbers equal those of a
set built on one machine. The driver receives only each file's row bounds of keys and times. Tasks also compute naive predictions,
see ``distributed_baselines``.
"""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table

from mlops_runtime.contracts.features import PinnedTable, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.distributed_baselines import DistributedBaselines
from mlops_runtime.features.distributed_build import EntityFiles, Files
from mlops_runtime.features.iceberg_tables import schema_at
from mlops_runtime.features.split_set import Parts, cut_of, split_times
from mlops_runtime.features.table_pins import pinned_rows
from mlops_runtime.features.table_types import declared_types
from mlops_runtime.features.training_set_files import SPLIT, SPLITS
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import SqlLabels, SqlTable, moment, newest_labels
from mlops_runtime.training_data.baseline_names import method_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ROWS_A_GROUP = 1 << 17
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A task's result for its file: position, latest training and first holdout time, and rows that bound keys and times."""

    number: int
    uri: str
    until: datetime | None
    since: datetime | None
    bounds: pa.Table


class DistributedLabels:
    """Splits the labels of a plan with Spark tasks, into files below a prefix; passed to ``split_set.prepared`` as ``split``.

    Attributes:
        uris: The files of the split rows, in order.
    """

    def __init__(self, spark: "SparkSession", *, catalog: str, files: Files, staged: str) -> None:
        self._spark, self._catalog, self._files, self._staged = spark, catalog, files, staged.rstrip("/")
        self.uris: tuple[str, ...] = ()

    def split(self, table: Table, labels: PinnedTable, plan: TrainingSetPlan, as_of: datetime) -> Parts:
        """Write the rows of both splits, as ``split_set.split_here`` splits them; return only rows that bound keys and times."""
        entities = _label_query(table, labels, plan)
        known = newest_labels(entities, as_of, catalog=self._catalog)
        at = f"c{list(labels.columns).index(plan.timestamp)}"
        facts = f"select unix_micros(max(available)), count_if(available < {at}) from ({known}) as known"  # noqa: S608 - quoted
        newest, early = self._spark.sql(facts).collect()[0]
        newest = None if newest is None else _EPOCH + timedelta(microseconds=newest)
        cut = cut_of(plan, labels, as_of, newest=newest, early=early)
        train = [f"{at} < {moment(cut)}"]
        if plan.history_days is not None:
            train.append(f"{at} >= {moment(cut - timedelta(days=plan.history_days))}")
        at_cut = newest_labels(entities, cut, catalog=self._catalog)
        keys = [f"c{list(labels.columns).index(name)}" for name in labels.entities]
        rows = (
            f"select 0 as part, * from ({at_cut}) as labels where {' and '.join(train)} union all "  # noqa: S608 - quoted
            f"select 1 as part, * from ({known}) as labels where {at} >= {moment(cut)} "
            f"order by {', '.join(['part', at, *keys, 'event'])}"
        )
        answers = self._written(rows, table, labels, plan)
        self.uris = tuple(answer.uri for answer in answers)
        until = max((answer.until for answer in answers if answer.until is not None), default=None)
        since = min((answer.since for answer in answers if answer.since is not None), default=None)
        times = split_times(plan, as_of, cut, trained_until=until, holdout_from=since)
        return Parts(rows=_bounds(pa.concat_tables(answer.bounds for answer in answers)), times=times)

    def entities(self, manifest: TrainingSetManifest) -> EntityFiles:
        """Return the files, with naive predictions in files beside them if the manifest has baselines.

        Raises:
            TrainingSetError: If a baseline's key is a feature, or a column whose values are not whole.
        """
        label, timestamp = manifest.split["label"], manifest.split["timestamp"]
        names = (manifest.split.get("baselines") or "").split(",")
        made = {name: found for name in names if (found := method_of(name)) is not None}
        columns = () if manifest.entities is None else manifest.entities.columns
        others = [name for name, (_, key) in made.items() if key is not None and key not in columns]
        if others:
            raise TrainingSetError(
                f"training set {manifest.name}: baselines {', '.join(others)} have features as keys, which only the engine duckdb "
                "supports; omit them"
            )
        beside: tuple[str, ...] = ()
        if made:
            baselines = DistributedBaselines(
                self._spark, uris=self.uris, files=self._files, label=label, timestamp=timestamp
            )
            beside = baselines.write(made)
        return EntityFiles(uris=self.uris, timestamp=timestamp, splits=SPLITS, last=tuple(made), beside=beside)

    def _written(self, query: str, table: Table, labels: PinnedTable, plan: TrainingSetPlan) -> list[_Answer]:
        """Write sorted rows with tasks, a file each; return the results in order."""
        kinds = pinned_rows(table, labels, labels.columns).schema
        schema = pa.schema([*(kinds.field(name) for name in labels.columns), pa.field(SPLIT, pa.string())])
        text, files, staged = schema.serialize().to_pybytes(), self._files, self._staged
        at = list(labels.columns).index(plan.timestamp)

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext  # noqa: PLC0415 - on a worker

            groups = _groups(batches)
            first = next(groups, None)
            if first is None:
                return
            # pickling a schema loses the name of a list's elements
            schema, context = pa.ipc.read_schema(pa.py_buffer(text)), TaskContext.get()
            number, attempt = context.partitionId(), context.taskAttemptId()
            uri = f"{staged}/{number:06d}.{attempt}.parquet"
            target, path = files.at(uri)
            target.create_dir(path.rpartition("/")[0], recursive=True) if uri.startswith("file:") else None
            bounds, until, since = [], [], []
            with (
                target.open_output_stream(path) as sink,
                pq.ParquetWriter(sink, schema, compression="zstd", version="2.6") as writer,
            ):
                for group in chain([first], groups):
                    of_train = pc.equal(group["part"], 0)
                    until.append(pc.max(group["available"].filter(of_train)).as_py())
                    since.append(pc.min(group[f"c{at}"].filter(pc.invert(of_train))).as_py())
                    split = pa.array(SPLITS).take(group["part"])
                    columns = [group[f"c{i}"].cast(field.type) for i, field in enumerate(list(schema)[:-1])]
                    rows = pa.table([*columns, split], schema=schema)
                    bounds.append(_bounds(rows))
                    writer.write_table(rows)
            answer = _Answer(
                number=number,
                uri=uri,
                until=max(filter(None, until), default=None),
                since=min(filter(None, since), default=None),
                bounds=pa.concat_tables(bounds),
            )
            yield pa.record_batch({"answer": pa.array([pickle.dumps(answer)], pa.binary())})

        self._spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(_ROWS_A_GROUP))
        sent = self._spark.sql(query).mapInArrow(write, "answer binary").collect()
        answers = [pickle.loads(row[0]) for row in sent]  # noqa: S301 - of our own tasks, over Spark's own channel
        return sorted(answers, key=lambda answer: answer.number)


def _label_query(table: Table, labels: PinnedTable, plan: TrainingSetPlan) -> SqlLabels:
    types = declared_types(schema_at(table, labels.snapshot_id), table.properties)
    return SqlLabels(
        table=SqlTable(database=labels.database, table=labels.table, snapshot_id=labels.snapshot_id),
        keys=labels.entities,
        columns={name: types[name] for name in labels.columns},
        labels=plan.label_columns,
        timestamp=plan.timestamp,
    )


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield rows as tables of the size of a row group."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held += [batch] if batch.num_rows else []
        if sum(each.num_rows for each in held) >= _ROWS_A_GROUP:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _bounds(rows: pa.Table) -> pa.Table:
    """Return two rows with the minimum and maximum of each column; nulls for columns of lists."""
    columns = []
    for field in rows.schema:
        if pa.types.is_nested(field.type):
            columns.append(pa.nulls(2, field.type))
            continue
        found = pc.min_max(rows[field.name])
        columns.append(pa.array([found["min"].as_py(), found["max"].as_py()], field.type))
    return pa.table(columns, schema=rows.schema)
