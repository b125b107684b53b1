"""Naive predictions computed by Spark tasks, bit-identical to ``naive_baselines``; no row goes through the driver.

Each task tallies the labels of its row groups. One task merges the tallies of a key and predicts the key's value. Spark joins the
predictions with the keys and times of all rows, and tasks write them into a file beside each file of rows. The driver computes only
each baseline's prediction for unknown rows: a mean from one sum per power of two, the most frequent class, or a median, whose bits
it finds from the highest digit to the lowest by counts of labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.features.distributed_build import Files, RowGroups, footer, runs
from mlops_runtime.features.training_set_files import BESIDE, SPLIT, SPLITS
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.training_data.naive_baselines import (
    Overall,
    guesses_of,
    merged,
    middle,
    numbers,
    overall_of,
    tallied,
    times,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROWS_A_BATCH = 1 << 16
_DIGIT = 11  # bits of a label that one pass counts
_SHIFTS = (55, 44, 33, 22, 11, 0)
_SIGN = np.uint64(1 << 63)
Method = tuple[str, str | None]


class DistributedBaselines:
    """Predictions of rows stored in files, in order, with a column ``split``."""

    def __init__(
        self, spark: "SparkSession", *, uris: tuple[str, ...], files: Files, label: str, timestamp: str
    ) -> None:
        footers = [footer(files, uri) for uri in uris]
        self._spark, self._files, self._label, self._timestamp = spark, files, label, timestamp
        self._groups = RowGroups.of(files, uris, footers)
        self._schema = footers[0].schema.to_arrow_schema()

    def write(self, made: Mapping[str, Method]) -> tuple[str, ...]:
        """Write the predictions of each file's rows beside it, by method and key of each baseline; return the files in order.

        Raises:
            TrainingSetError: If a key column has doubles or lists, or rows are missing from the result.
        """
        self._check(made)
        keys = list(dict.fromkeys(key for _, key in made.values() if key is not None))
        self._rows(keys).createOrReplaceTempView("baseline_rows")
        overall, columns, joins = [], [], []
        for i, (kind, key) in enumerate(made.values()):
            overall.append(self._overall(kind))
            if key is None:
                columns.append(f"cast(null as boolean) as b{i}")
                continue
            self._guesses(kind, key, overall[-1]).createOrReplaceTempView(f"baseline_{i}")
            columns.append(f"g{i}.value as b{i}")
            at = f"rows.k{keys.index(key)} <=> g{i}.key" + (f" and rows.time <=> g{i}.time" if kind == "last" else "")
            joins.append(f"left join baseline_{i} as g{i} on {at}")
        chosen = ", ".join(["rows.file", "rows.row_id", *columns])
        found = self._spark.sql(f"select {chosen} from baseline_rows as rows {' '.join(joins)}")  # noqa: S608 - names are ours
        return self._written(found, list(made), [each.value for each in overall])

    def _check(self, made: Mapping[str, Method]) -> None:
        problems = []
        for name, (_, key) in made.items():
            kind = None if key is None else self._schema.field(key).type
            # Spark treats 0.0 and -0.0, and all NaNs, as one key, other engines do not
            if kind is not None and (pa.types.is_floating(kind) or pa.types.is_nested(kind)):
                problems.append(f"baseline {name} uses the key {key}, which is {kind}")
        if problems:
            raise TrainingSetError(
                f"{'; '.join(problems)}: Spark supports keys that are whole numbers, decimals, strings, times, bytes or booleans; "
                "omit these baselines, or build the set by the engine duckdb"
            )

    def _rows(self, keys: list[str]) -> "DataFrame":
        """Return the keys of all rows and the times of training rows; a holdout row uses its key's newest label."""
        timestamp = self._timestamp

        def made(file: int, first: int, rows: pa.Table) -> pa.Table:
            is_held = pc.equal(rows[SPLIT], SPLITS[1])
            return pa.table(
                {
                    "file": pa.repeat(pa.scalar(file, pa.int32()), rows.num_rows),
                    "row_id": pa.arange(first, first + rows.num_rows),
                    "time": pc.if_else(is_held, None, times(rows, timestamp)),
                    **{f"k{i}": rows[key] for i, key in enumerate(keys)},
                }
            )

        return self._mapped(list(dict.fromkeys([timestamp, SPLIT, *keys])), made)

    def _tallies(self, kind: str, key: str | None) -> "DataFrame":
        """Return the tallies of the row groups."""
        label, timestamp = self._label, self._timestamp

        def made(_: int, __: int, rows: pa.Table) -> pa.Table:
            train = rows.filter(pc.equal(rows[SPLIT], SPLITS[0]))
            return tallied(train, kind, key, label=label, timestamp=timestamp)

        read = [label, SPLIT, *([] if key is None else [key]), *([timestamp] if kind == "last" else [])]
        return self._mapped(list(dict.fromkeys(read)), made)

    def _mapped(self, columns: list[str], made: Callable[[int, int, pa.Table], pa.Table]) -> "DataFrame":
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - only where Spark is

        empty = pa.schema([self._schema.field(name) for name in columns]).empty_table()
        return self._groups.mapped(self._spark, columns, made, from_arrow_schema(made(0, 0, empty).schema))

    def _guesses(self, kind: str, key: str, overall: Overall) -> "DataFrame":
        """Return the prediction for each key; one task merges the tallies of a key."""
        from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - only where Spark is

        def guess(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for rows in _whole_keys(batches):
                yield from guesses_of(merged(rows), kind, overall).to_batches(max_chunksize=_ROWS_A_BATCH)

        timestamp, label = self._timestamp, self._label
        names = list(dict.fromkeys([label, key, timestamp]))
        empty = pa.schema([self._schema.field(name) for name in names]).empty_table()
        tally = tallied(empty, kind, key, label=label, timestamp=timestamp)
        kinds = from_arrow_schema(guesses_of(tally, kind, overall).schema)
        return self._tallies(kind, key).repartition("key").sortWithinPartitions("key").mapInArrow(guess, kinds)

    def _overall(self, kind: str) -> Overall:
        if kind == "median":
            return Overall(pa.scalar(self._median(), pa.float64()), is_chance=False)
        if kind == "usual":
            found = self._tallies(kind, None).groupBy("label").sum("count").toDF("label", "count")
            (most,) = found.orderBy(found["count"].desc(), found["label"]).limit(1).collect()
            return Overall(pa.scalar(most["label"], self._schema.field(self._label).type), is_chance=False)
        tallies = self._tallies("mean", None)
        sums = [name for name in tallies.columns if name != "exponent"]
        found = tallies.groupBy("exponent").sum(*sums).toDF("exponent", *sums)
        return overall_of(pa.Table.from_pylist([row.asDict() for row in found.collect()]), kind)

    def _median(self) -> float:
        """Return the median of all labels, found digit by digit of bits that sort like the labels."""
        known: dict[tuple[int, int], list[tuple[int, int]]] = {}

        def counts(shift: int, above: int) -> list[tuple[int, int]]:
            if (shift, above) not in known:
                known[shift, above] = self._digits(shift, above)
            return known[shift, above]

        size = sum(count for _, count in counts(_SHIFTS[0], 0))
        found = []
        for place in ((size - 1) // 2, size // 2):
            rank, bits = place, 0
            for shift in _SHIFTS:
                for digit, count in counts(shift, bits):
                    if rank < count:
                        bits = bits << _DIGIT | digit
                        break
                    rank -= count
            found.append(_label_of(bits))
        return float(middle(*found))

    def _digits(self, shift: int, above: int) -> list[tuple[int, int]]:
        """Return digits and their counts among labels whose higher bits equal ``above``."""
        label = self._label

        def made(_: int, __: int, rows: pa.Table) -> pa.Table:
            train = rows.filter(pc.equal(rows[SPLIT], SPLITS[0]))
            bits = _bits_of(numbers(train, label).drop_null().to_numpy()) >> np.uint64(shift)
            digits = bits[bits >> np.uint64(_DIGIT) == np.uint64(above)] & np.uint64((1 << _DIGIT) - 1)
            counts = np.bincount(digits.astype(np.int64), minlength=1)
            there = np.flatnonzero(counts)
            return pa.table({"digit": there.astype(np.int64), "count": counts[there].astype(np.int64)})

        found = self._mapped([label, SPLIT], made).groupBy("digit").sum("count").collect()
        return sorted((row[0], row[1]) for row in found)

    def _written(self, found: "DataFrame", names: list[str], overall: list[pa.Scalar]) -> tuple[str, ...]:
        files, uris = self._files, [f"{uri}{BESIDE}" for uri in self._groups.uris]
        schema = pa.schema([pa.field(name, value.type) for name, value in zip(names, overall, strict=True)])
        text = schema.serialize().to_pybytes()

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            schema, at, written = pa.ipc.read_schema(pa.py_buffer(text)), None, 0
            with ExitStack() as opened:
                for (file,), rows in (run for batch in batches for run in runs(batch, "file")):
                    if file != at:
                        opened.close()
                        target, path = files.at(uris[file])
                        sink = opened.enter_context(target.open_output_stream(path))
                        writer = pq.ParquetWriter(sink, schema, compression="zstd", version="2.6")
                        opened.enter_context(writer)
                        at = file
                    values = [
                        pc.fill_null(rows[f"b{i}"].cast(field.type), overall[i]) for i, field in enumerate(schema)
                    ]
                    writer.write_table(pa.table(values, schema=schema))
                    written += rows.num_rows
            yield pa.record_batch({"rows": pa.array([written], pa.int64())})

        placed = found.repartition(len(uris), "file").sortWithinPartitions("file", "row_id")
        rows = sum(row[0] for row in placed.mapInArrow(write, "rows long").collect())
        wanted = sum(map(sum, self._groups.counts))
        if rows != wanted:
            raise TrainingSetError(
                f"tasks wrote naive predictions of {rows} rows, expected {wanted}; build the set again"
            )
        return tuple(uris)


def _whole_keys(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield rows sorted by ``key`` as tables that contain all rows of many keys each."""
    held, limit = None, _ROWS_A_BATCH
    for batch in batches:
        more = pa.Table.from_batches([batch])
        held = more if held is None else pa.concat_tables([held, more])
        if held.num_rows < limit:
            continue
        key = held["key"]
        is_last = pc.is_null(key) if not key[-1].is_valid else pc.fill_null(pc.equal(key, key[-1]), False)
        whole = held.num_rows - pc.sum(is_last).as_py()
        if whole:
            yield held.slice(0, whole)
            held = held.slice(whole)
        limit = max(_ROWS_A_BATCH, 2 * held.num_rows)
    if held is not None and held.num_rows:
        yield held


def _bits_of(labels: np.ndarray) -> np.ndarray:
    """Return 64 bits for each label that sort like the labels: both zeros are equal, and NaN is last."""
    bits = np.where(np.isnan(labels), np.nan, labels + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _label_of(bits: int) -> float:
    found = np.uint64(bits)
    return float(np.array([found ^ _SIGN if found & _SIGN else ~found], np.uint64).view(np.float64)[0])
