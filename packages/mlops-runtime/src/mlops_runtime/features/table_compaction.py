"""Compaction: small data files of a partition are rewritten into larger sorted ones, by tiers of their size.

A tier is a power of ``FAN_IN`` in rows; once it has ``FAN_IN`` files, they are merged into one. So a row is rewritten once per
tier, and a partition has at most ``FAN_IN`` files of each. A partition that is no longer the newest is merged into one file, unless
that would rewrite many rows for few. Rows keep their ingest ids, by which training sets and incremental readers select rows.
pyiceberg does not write ``replace`` snapshots, so compaction is an overwrite with the same rows.

See: https://iceberg.apache.org/docs/latest/maintenance/#compact-data-files
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from mlops_runtime.features.data_files import data_files
from mlops_runtime.features.feature_group import EVENT_TIME
from mlops_runtime.features.ingest_ledger import newest_summary
from mlops_runtime.features.row_hashing import in_order
from mlops_runtime.features.source import MissingFileError, reading, scan_tasks
from mlops_runtime.features.table_commits import steady
from mlops_runtime.features.table_description import FeatureTableError, TableMeaning
from mlops_runtime.features.table_files import missing_as_such

FAN_IN = 8
# bytes: larger files stay, and at most this much is rewritten together, to fit the memory of a function
_LARGE = 48 * 1024**2
_TOGETHER = 64 * 1024**2


def is_due(table: Table) -> bool:
    """Return whether compaction is due after the commit of a table's state: after every ``FAN_IN``-th."""
    return table.last_sequence_number % FAN_IN == 0


def compact(table: Table, remove: Callable[[str], None]) -> int:
    """Merge small files in one commit; return the number of merged files.

    If another writer, such as a second compaction or an erasure, removed one of the files first, nothing is rewritten, and the new
    files are removed.

    Raises:
        MissingFileError: If a file of the newest state is missing; nothing is rewritten.
        DamagedFileError: If a file cannot be read.
    """
    groups = steady(table, lambda: _groups(scan_tasks(table.scan())))
    written: list[str] = []
    try:
        if groups:
            with missing_as_such():
                _rewrite(table, groups, written)
    except (CommitFailedException, ValidationException, FileNotFoundError) as error:
        for file in written:
            remove(file)
        missing = str(error)
        if isinstance(error, MissingFileError) and steady(table, lambda: _names(table, missing)):
            raise
        return 0
    return sum(map(len, groups))


def _rewrite(table: Table, groups: Iterable[Sequence[FileScanTask]], written: list[str]) -> None:
    with (
        table.transaction() as transaction,
        transaction.update_snapshot(snapshot_properties=newest_summary(table)).overwrite() as rewritten,
    ):
        for tasks in groups:
            for task in tasks:
                rewritten.delete_data_file(task.file)
            for file in data_files(table.metadata, _rows(table, tasks), table.io):
                written.append(file.file_path)
                rewritten.append_data_file(file)


def _names(table: Table, missing: str) -> bool:
    return any(task.file.file_path in missing for task in scan_tasks(table.scan()))


def _rows(table: Table, tasks: Sequence[FileScanTask]) -> pa.Table:
    schema = table.schema()
    scan, parts = ArrowScan(table.metadata, table.io, schema, AlwaysTrue()), []
    for task in tasks:
        with reading(task.file.file_path):
            parts.append(scan.to_table([task]))
    rows = pa.concat_tables(parts, promote_options="permissive")
    if rows.num_rows != sum(task.file.record_count for task in tasks):
        raise FeatureTableError(
            f"files of {table.name()[-1]} have {rows.num_rows} rows, which differs from their manifests"
        )
    meaning = TableMeaning.of(table.name()[-1], table.properties)
    return in_order(rows, [*meaning.entities, EVENT_TIME]).cast(schema.as_arrow())


def _groups(tasks: Sequence[FileScanTask]) -> list[list[FileScanTask]]:
    """Return groups of files to merge into one file each."""
    partitions: defaultdict[tuple[int, ...], list[FileScanTask]] = defaultdict(list)
    for task in tasks:
        # delete files of other engines are separate from the data files
        if not task.delete_files and task.file.file_size_in_bytes < _LARGE:
            partitions[_partition(task)].append(task)
    newest = max(map(_partition, tasks), default=())
    found = []
    for partition, files in partitions.items():
        if partition != newest and _is_worth_it(files):
            found.append(_together(files))
            continue
        tiers: defaultdict[int, list[FileScanTask]] = defaultdict(list)
        for task in files:
            tiers[int(math.log(max(task.file.record_count, 1), FAN_IN))].append(task)
        found += [_together(tier) for tier in tiers.values() if len(tier) >= FAN_IN]
    return [group for group in found if len(group) > 1]


def _partition(task: FileScanTask) -> tuple[int, ...]:
    """Return the month or day of a file, counted from 1970."""
    record = task.file.partition
    return tuple(int(record[place]) for place in range(len(record)))


def _is_worth_it(tasks: Sequence[FileScanTask]) -> bool:
    rows = sorted(task.file.record_count for task in tasks)
    return len(rows) > 1 and sum(rows[:-1]) * FAN_IN >= rows[-1]


def _together(tasks: Sequence[FileScanTask]) -> list[FileScanTask]:
    size, found = 0, []
    for task in sorted(tasks, key=lambda task: (task.file.file_size_in_bytes, task.file.file_path)):
        size += task.file.file_size_in_bytes
        if size > _TOGETHER:
            break
        found.append(task)
    return found
