"""Rows of tables, from whole scans or in batches by column, so that a table need not fit in memory to be joined.

A point-in-time join reads keys and times first, picks rows by position, and then reads the other columns of only those rows.
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import methodcaller
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import BooleanExpression
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan, FileScanTask, Table

from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.iceberg_tables import scanned, with_columns, written_columns
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_files import missing_as_such
from mlops_runtime.features.table_types import arrow_schema, read_schema

PLACE = "place"
_AS_PYTHON = methodcaller("as_py")


class MissingFileError(FeatureTableError, FileNotFoundError):
    """A file of a snapshot is missing: an erasure removed it meanwhile, or it was removed by other means."""


class DamagedFileError(FeatureTableError):
    """A file of a table cannot be read: its content differs from what was written."""


def read_group(
    table: Table,
    group: FeatureGroup,
    *,
    created_by: datetime | None = None,
    event_by: datetime | None = None,
    since: datetime | None = None,
    where: BooleanExpression | None = None,
) -> pa.Table:
    """Read the current rows of a group; features declared after the newest snapshot are null. Bounds as for ``scanned``.

    Raises:
        MissingFileError: As for ``whole``, like DamagedFileError.
    """
    snapshot = table.current_snapshot()
    if snapshot is None:
        return arrow_schema(group).empty_table()
    there = written_columns(table, group, snapshot.snapshot_id)
    bounds: dict[str, Any] = {"created_by": created_by, "event_by": event_by, "since": since, "where": where}
    return with_columns(read_rows(table, snapshot.snapshot_id, there, **bounds), group)


def read_rows(
    table: Table,
    snapshot_id: int,
    columns: Sequence[str],
    *,
    created_by: datetime | None = None,
    event_by: datetime | None = None,
    since: datetime | None = None,
    where: BooleanExpression | None = None,
) -> pa.Table:
    """Read columns of a snapshot into memory; arguments as for ``scanned``, errors as for ``whole``."""
    scan = scanned(table, snapshot_id, columns, created_by=created_by, event_by=event_by, since=since, where=where)
    rows = whole(scan)
    found = read_schema(scan.projection(), table.properties)
    return rows.cast(pa.schema([found.field(name) for name in rows.column_names])).select(list(columns))


def whole(scan: DataScan) -> pa.Table:
    """Read a scan into memory, files concurrently.

    Raises:
        MissingFileError: If a file of the snapshot is missing; with the file.
        DamagedFileError: If a file cannot be read; with the file.
    """
    try:
        return scan.to_arrow()
    except Exception:
        # Arrow's errors do not name the file that cannot be decoded
        for task in scan_tasks(scan):
            for _ in _read(scan, scan.projection(), task):
                pass
        raise


def scan_tasks(scan: DataScan) -> list[FileScanTask]:
    """Return the data files of a scan, in the order of their names.

    Raises:
        MissingFileError: If a manifest, or the manifest list, is missing; with the file.
        DamagedFileError: If one of them cannot be read; with the file.
    """
    try:
        return sorted(scan.plan_files(), key=lambda task: task.file.file_path)
    except Exception:
        snapshot = scan.snapshot()
        if snapshot is not None:
            with _reading_avro(snapshot.manifest_list):
                manifests = snapshot.manifests(scan.io)
            for manifest in manifests:
                with _reading_avro(manifest.manifest_path):
                    manifest.fetch_manifest_entry(scan.io)
        raise


@contextmanager
def naming_files(table: Table) -> Iterator[None]:
    """Name the unreadable file in errors of rewriting a table, which reads files itself.

    Raises:
        MissingFileError: If a file of a snapshot is missing.
        DamagedFileError: If a file cannot be read.
    """
    try:
        yield
    except FeatureTableError:
        raise
    except Exception:
        known: set[str] = set()
        for snapshot in table.metadata.snapshots:
            scan = table.scan(snapshot_id=snapshot.snapshot_id)
            for task in scan_tasks(scan):
                if task.file.file_path not in known:
                    known.add(task.file.file_path)
                    for _ in _read(scan, scan.projection(), task):
                        pass
        raise


@contextmanager
def reading(file: str, *, what: str = "data file") -> Iterator[None]:
    """Name the file in errors of reading it.

    Raises:
        MissingFileError: If the file is missing.
        DamagedFileError: If its content is not what was written, or incomplete.
    """
    try:
        with missing_as_such():
            yield
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{what} {file} is missing; retry if an erasure ran meanwhile, otherwise restore it from a backup or version"
        ) from error
    except (pa.ArrowException, OSError) as error:
        if "AWS Error" in str(error):  # network or permissions
            raise
        raise DamagedFileError(_damaged(f"{what} {file}", error)) from error


class RowSource(Protocol):
    """Rows that can be read repeatedly, in the same order each time."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return only these columns of the rows, in batches."""


class IcebergRows:
    """The rows of a table scan, one data file in memory at a time, files in the order of their names.

    pyiceberg's ``DataScan.to_arrow_batch_reader`` starts to read all files at once and buffers what is not consumed yet.

    Example:
        >>> rows = IcebergRows(table.scan(snapshot_id=snapshot_id, selected_fields=("store_id", "units")))  # doctest: +SKIP
        >>> rows.read(["units"]).read_all()  # doctest: +SKIP
    """

    def __init__(self, scan: DataScan, schema: pa.Schema | None = None) -> None:
        self._scan = scan
        self._tasks: list[FileScanTask] | None = None
        self.schema = read_schema(scan.projection(), scan.table_metadata.properties) if schema is None else schema

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return only these columns of the rows, in batches."""
        scan = self._scan
        if self._tasks is None:
            self._tasks = scan_tasks(scan)
        tasks, schema = self._tasks, pa.schema([self.schema.field(name) for name in columns])
        # columns in the table's order; the scan itself adds the columns that its filter requires
        projected = scan.projection().select(*columns)

        def batches() -> Iterator[pa.RecordBatch]:
            for task in tasks:
                for batch in _read(scan, projected, task):
                    yield batch.select(list(columns)).cast(schema)

        return pa.RecordBatchReader.from_batches(schema, batches())


def _read(scan: DataScan, columns: Schema, task: FileScanTask) -> Iterator[pa.RecordBatch]:
    from pyiceberg.io.pyarrow import ArrowScan  # noqa: PLC0415 - imports pandas if installed

    reader = ArrowScan(scan.table_metadata, scan.io, columns, scan.row_filter, scan.case_sensitive)
    with reading(task.file.file_path):
        yield from reader.to_record_batches([task])


@contextmanager
def _reading_avro(file: str) -> Iterator[None]:
    try:
        with reading(file, what="manifest"):
            yield
    except (ValueError, EOFError, LookupError, TypeError, ArithmeticError, SystemError, zlib.error) as error:
        if isinstance(error, FeatureTableError):
            raise
        raise DamagedFileError(_damaged(f"manifest {file}", error)) from error


def _damaged(what: str, error: Exception) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    return f"{what} cannot be read: {message}; restore it from a backup or version"


class TableRows:
    """A table in memory as a row source."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema = table.schema

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return only these columns of the rows, in batches."""
        return self._table.select(list(columns)).to_reader()

    def take(self, columns: Sequence[str], places: pa.ChunkedArray) -> list[pa.ChunkedArray]:
        """Return the values of columns at positions; null for null positions."""
        return [self._table[name].take(places) for name in columns]


def take(source: RowSource, columns: Sequence[str], places: pa.ChunkedArray) -> list[pa.ChunkedArray]:
    """Return the values of columns at positions, null for null positions, in one pass over the source.

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
        last = bisect_left(wanted, start, lo=first, key=_AS_PYTHON)
        if last > first:
            found.append(batch.take(pc.subtract(wanted[first:last], start - batch.num_rows)))
        first = last
    if first < len(wanted):
        raise ValueError(
            f"the rows ended after {start}, but place {wanted[first]} was picked; a source must not change"
        )
    rows = pa.Table.from_batches(found, pa.schema([source.schema.field(name) for name in columns]))
    ranks = pc.index_in(places, value_set=wanted)
    return [rows[name].take(ranks) for name in columns]


def numbered(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return the rows with their position, from 0, as an additional column.

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
