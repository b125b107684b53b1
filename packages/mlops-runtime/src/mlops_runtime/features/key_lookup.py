"""Lookup of rows by key: reads few row groups of a sorted table, and value columns only if a row group has a key.

Iceberg's metadata prunes files and Parquet's statistics prune row groups: files are sorted by key, so a key is in one or two row
groups of each. Bloom filters would not prune more: Arrow does not read them, and in an unsorted file nearly every row group has
every key.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import methodcaller
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, In, LessThanOrEqual
from pyiceberg.table import DataScan, FileScanTask, Table

from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, FeatureGroup
from mlops_runtime.features.iceberg_tables import literal, scanned, with_columns, written_columns
from mlops_runtime.features.source import reading, scan_tasks
from mlops_runtime.features.table_types import arrow_schema, read_schema

_LISTED = 200  # pyiceberg does not prune files by an In with more values
_AT_ONCE = 1 << 18  # rows: enough for concurrent requests to S3, in little memory
_FIELD_ID = b"PARQUET:field_id"
_PLACE = "__place__"
_IN: Any = In  # the constructors take a column's name and values, which the signatures that pydantic generates lack
_AT_LEAST: Any = GreaterThanOrEqual
_AT_MOST: Any = LessThanOrEqual
_AS_PYTHON = methodcaller("as_py")


def rows_of_keys(
    table: Table,
    group: FeatureGroup,
    keys: pa.Table,
    *,
    created_by: datetime | None = None,
    event_by: datetime | None = None,
    since: datetime | None = None,
) -> pa.Table:
    """Return a group's current rows with one of the given keys; equivalent to ``read_group`` and a join.

    Keys have the types of the table: the group's entities, with or without the event time. Keys with a null match nothing.

    Raises:
        MissingFileError: If a file of the snapshot is missing; with the file.
        DamagedFileError: If a file cannot be read; with the file.
    """
    snapshot, schema = table.current_snapshot(), arrow_schema(group)
    wanted = keys.group_by(keys.column_names).aggregate([]).drop_null()
    if snapshot is None or not wanted.num_rows:
        return schema.empty_table()
    there = written_columns(table, group, snapshot.snapshot_id)
    scan = scanned(
        table,
        snapshot.snapshot_id,
        there,
        created_by=created_by,
        event_by=event_by,
        since=since,
        where=_condition(wanted, group.entity_names[0]),
    )
    lookup = _Lookup(scan, there, wanted)
    parts = [_within(part, created_by, event_by, since) for part in lookup.parts()]
    return with_columns(pa.concat_tables([lookup.schema.empty_table(), *parts]), group)


def _condition(keys: pa.Table, first: str) -> BooleanExpression:
    """Return the condition for the first key column: its bounds, and its values if they are few."""
    values = pc.unique(keys[first])
    lowest, highest = (literal(bound) for bound in pc.min_max(values).as_py().values())
    bounds = And(_AT_LEAST(first, lowest), _AT_MOST(first, highest))
    return bounds if len(values) > _LISTED else And(bounds, _IN(first, [literal(v) for v in values.to_pylist()]))


def _within(rows: pa.Table, created_by: datetime | None, event_by: datetime | None, since: datetime | None) -> pa.Table:
    bounds = ((CREATED_TIME, pc.less_equal, created_by), (EVENT_TIME, pc.less_equal, event_by))
    for name, holds, bound in (*bounds, (EVENT_TIME, pc.greater_equal, since)):
        if bound is not None:
            rows = rows.filter(holds(rows[name], pa.scalar(bound, rows[name].type)))
    return rows


class _Lookup:
    """Reads the rows of keys from the files of a scan, in parts."""

    def __init__(self, scan: DataScan, columns: Sequence[str], keys: pa.Table) -> None:
        found = read_schema(scan.projection(), scan.table_metadata.properties)
        self.schema = pa.schema([found.field(name) for name in columns])
        self._scan, self._keys = scan, keys
        self._ids = {field.name: field.field_id for field in scan.projection().fields}
        self._values = {name: pc.unique(keys[name]).sort() for name in keys.column_names}

    def parts(self) -> Iterator[pa.Table]:
        for task in scan_tasks(self._scan):
            path = task.file.file_path
            with reading(path), self._scan.io.new_input(path).open() as file:
                parquet = pq.ParquetFile(file, pre_buffer=True, read_dictionary=[INGEST_ID])
                names = _names(parquet.schema_arrow)
                # delete files of other engines need pyiceberg's scan, as do files without field ids
                if task.delete_files or names is None:
                    yield self._scanned(task)
                else:
                    yield from self._read(parquet, names)

    def _scanned(self, task: FileScanTask) -> pa.Table:
        from pyiceberg.io.pyarrow import ArrowScan  # noqa: PLC0415 - imports pandas if installed

        scan, schema = self._scan, self._scan.projection()
        rows = ArrowScan(scan.table_metadata, scan.io, schema, scan.row_filter, scan.case_sensitive).to_table([task])
        return rows.take(self._places(rows)).select(self.schema.names).cast(self.schema)

    def _read(self, parquet: pq.ParquetFile, names: Mapping[int, str]) -> Iterator[pa.Table]:
        """Read the key columns, and the others only of row groups with a match."""
        others = [name for name in self.schema.names if name not in self._values]
        for groups in self._row_groups(parquet, names):
            keys = self._columns(parquet, names, groups, list(self._values))
            places = self._places(keys)
            if len(places):
                found = self._columns(parquet, names, groups, others).take(places)
                for name, column in zip(keys.column_names, keys.take(places).columns, strict=True):
                    found = found.append_column(name, column)
                yield found.select(self.schema.names).cast(self.schema)

    def _row_groups(self, parquet: pq.ParquetFile, names: Mapping[int, str]) -> Iterator[list[int]]:
        """Yield lists of row groups that may contain a key; each list is read together."""
        metadata, together, rows = parquet.metadata, list[int](), 0
        leaves = {parquet.schema.column(i).path: i for i in range(metadata.num_columns)}
        places = {name: leaves[names[self._ids[name]]] for name in self._values}
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if not all(_may_hold(group.column(place).statistics, self._values[name]) for name, place in places.items()):
                continue
            if together and rows + group.num_rows > _AT_ONCE:
                yield together
                together, rows = [], 0
            together.append(number)
            rows += group.num_rows
        if together:
            yield together

    def _columns(
        self, parquet: pq.ParquetFile, names: Mapping[int, str], groups: Sequence[int], columns: Sequence[str]
    ) -> pa.Table:
        """Return columns by their current names; columns that the file lacks are null."""
        own = {name: names[self._ids[name]] for name in columns if self._ids[name] in names}
        read = parquet.read_row_groups(groups, columns=list(own.values()), use_threads=False)
        found = {
            name: read[own[name]] if name in own else pa.nulls(read.num_rows, self.schema.field(name).type)
            for name in columns
        }
        return pa.table(found)

    def _places(self, rows: pa.Table) -> pa.Array:
        """Return the positions of rows whose whole key is requested."""
        count = rows.num_rows
        keys = pa.table({name: rows[name].cast(self.schema.field(name).type) for name in self._values})
        keys = keys.append_column(_PLACE, pa.arange(0, count, 1))
        for name, values in self._values.items():
            keys = keys.filter(pc.is_in(keys[name], value_set=values))
        if len(self._values) > 1:
            keys = keys.join(self._keys, list(self._values), join_type="left semi").sort_by(_PLACE)
        return keys[_PLACE].combine_chunks()


def _names(schema: pa.Schema) -> dict[int, str] | None:
    """Return the names of a file's columns by Iceberg field id; ``None`` if a column has no id."""
    if any(_FIELD_ID not in (field.metadata or {}) for field in schema):
        return None
    return {int(field.metadata[_FIELD_ID]): field.name for field in schema}


def _may_hold(statistics: pq.Statistics | None, values: pa.Array) -> bool:
    """Return whether one of the sorted values is within the bounds of a row group."""
    if statistics is None or not statistics.has_min_max:
        return True
    first = bisect_left(values, statistics.min, key=_AS_PYTHON)
    return bisect_right(values, statistics.max, lo=first, key=_AS_PYTHON) > first
