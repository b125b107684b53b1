"""Rows that are read in batches, column by column: a feature table need not lie in memory to be joined.

A point-in-time plan reads keys and times first, picks rows by their place, and then reads the columns of those rows alone.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import DataScan, FileScanTask

from mlops_runtime.features.iceberg_tables import FeatureTableError
from mlops_runtime.features.table_types import read_schema

PLACE = "place"


class MissingFileError(FeatureTableError, FileNotFoundError):
    """A data file that a snapshot names is not there: an erasure has removed it meanwhile, or something else ever."""


class DamagedFileError(FeatureTableError):
    """A data file cannot be read: its bytes are not those that were written."""


class RowSource(Protocol):
    """Rows that can be read again and again, each time in the same order."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return the rows with these columns alone, in batches."""


class IcebergRows:
    """The rows of a table scan, one data file in memory at a time, files in the order of their names.

    ``DataScan.to_arrow_batch_reader`` of pyiceberg starts to read every file at once and keeps what is not asked for yet.

    Args:
        scan: The scan, with its snapshot, filter and columns.
        schema: Types that the columns get. Default: the scan's.

    Example:
        >>> rows = IcebergRows(table.scan(snapshot_id=snapshot_id, selected_fields=("store_id", "units")))  # doctest: +SKIP
        >>> rows.read(["units"]).read_all()  # doctest: +SKIP
    """

    def __init__(self, scan: DataScan, schema: pa.Schema | None = None) -> None:
        self._scan = scan
        self._tasks: list[FileScanTask] | None = None
        self.schema = read_schema(scan.projection(), scan.table_metadata.properties) if schema is None else schema

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return the rows with these columns alone, in batches."""
        scan = self._scan
        if self._tasks is None:
            self._tasks = sorted(scan.plan_files(), key=lambda task: task.file.file_path)
        tasks, schema = self._tasks, pa.schema([self.schema.field(name) for name in columns])
        # columns are asked in the table's order; what the filter needs besides, the scan finds itself
        projected = scan.projection().select(*columns)
        reader = ArrowScan(scan.table_metadata, scan.io, projected, scan.row_filter, scan.case_sensitive)

        def batches() -> Iterator[pa.RecordBatch]:
            for task in tasks:
                for batch in _read(reader, task):
                    yield batch.select(list(columns)).cast(schema)

        return pa.RecordBatchReader.from_batches(schema, batches())


def _read(reader: ArrowScan, task: FileScanTask) -> Iterator[pa.RecordBatch]:
    """Read a data file.

    Raises:
        MissingFileError: If it is not there.
        DamagedFileError: If it is not Parquet, or not all of it.
    """
    file = task.file.file_path
    try:
        yield from reader.to_record_batches([task])
    except FileNotFoundError as error:
        raise MissingFileError(
            f"data file {file} is missing; ask again where an erasure ran meanwhile, else restore it from a backup or version"
        ) from error
    except (pa.ArrowException, OSError) as error:
        if "AWS Error" in str(error):  # the network, or rights
            raise
        raise DamagedFileError(
            f"data file {file} cannot be read: {' '.join(str(error).split())}; restore it from a backup or version"
        ) from error


class TableRows:
    """A table in memory as a source.

    Args:
        table: The table.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema = table.schema

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return the rows with these columns alone, in batches."""
        return self._table.select(list(columns)).to_reader()

    def take(self, columns: Sequence[str], places: pa.ChunkedArray) -> list[pa.ChunkedArray]:
        """Return the values of columns at places; null where a place is null."""
        return [self._table[name].take(places) for name in columns]


def take(source: RowSource, columns: Sequence[str], places: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """Return the values of columns at places, null where a place is null, with one pass over the source.

    Example:
        >>> source = TableRows(pa.table({"x": ["a", "b", "c"]}))
        >>> take(source, ["x"], pa.chunked_array([[2, None, 2]]))[0].to_pylist()
        ['c', None, 'c']
    """
    if isinstance(source, TableRows):
        return source.take(columns, places)
    wanted = pc.unique(places.drop_null()).sort()
    found: list[pa.RecordBatch] = []
    start = first = 0
    for batch in source.read(columns):
        start += batch.num_rows
        last = bisect_left(wanted, start, lo=first, key=_number)
        if last > first:
            found.append(batch.take(pc.subtract(wanted[first:last], start - batch.num_rows)))
        first = last
    if first < len(wanted):
        raise ValueError(f"the rows ended after {start}, place {wanted[first]} was picked; a source must not change")
    rows = pa.Table.from_batches(found, pa.schema([source.schema.field(name) for name in columns]))
    ranks = pc.index_in(places, value_set=wanted)
    return [rows[name].take(ranks) for name in columns]


def numbered(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return the rows with their place, from 0, as a further column.

    Example:
        >>> numbered(TableRows(pa.table({"x": ["a", "b"]})).read(["x"])).read_all()["place"].to_pylist()
        [0, 1]
    """

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in reader:
            places = pa.arange(start, start + batch.num_rows, 1)
            yield batch.append_column(PLACE, places)
            start += batch.num_rows

    return pa.RecordBatchReader.from_batches(reader.schema.append(pa.field(PLACE, pa.int64())), batches())


def _number(scalar: pa.Scalar) -> int:
    value: int = scalar.as_py()
    return value
