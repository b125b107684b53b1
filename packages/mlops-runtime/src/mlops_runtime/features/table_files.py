"""Files below a table's location, both referenced by snapshots and left over by failed writers or expired snapshots."""

import errno
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import PyArrowFileIO, expression_to_pyarrow
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from mlops_runtime.features.feature_group import INGEST_ID
from mlops_runtime.features.locked_files import remove_parts, write_whole

DATA = ".parquet"
MANIFEST = ".avro"
METADATA = ".metadata.json"
STATISTICS = (".stats", ".puffin")  # sketches of values: https://iceberg.apache.org/puffin-spec/
# Arrow's messages if S3 denies or fails a read: the error body is written over the buffer of the requested content, which leaves
# only the HTTP status, and nothing if it is longer than the buffer, see https://github.com/apache/doris/pull/61636
_REFUSED = re.compile(
    r"AWS Error (NO_SUCH_KEY|RESOURCE_NOT_FOUND) during GetObject operation|Failed to flush response stream"
)
# pyiceberg's manifest writer raises this if its input could not be read
_EMPTY = "An empty manifest file has been written"


@contextmanager
def missing_as_such() -> Iterator[None]:
    """Raise FileNotFoundError for an S3 object that was deleted between opening and reading, and where pyiceberg hides that error.

    Raises:
        FileNotFoundError: If the object was deleted, or S3's response may mean that; a retry shows.
    """
    try:
        yield
    except ValueError as error:
        hidden = error.__context__
        if str(error) != _EMPTY or not isinstance(hidden, OSError):
            raise
        with missing_as_such():
            raise hidden from None
    except OSError as error:
        if not _REFUSED.search(str(error)):
            raise
        raise FileNotFoundError(errno.ENOENT, f"an object was deleted while it was read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A file below a table's location: its URI and last modification."""

    uri: str
    written: datetime


def put(table: Table, uri: str, content: bytes) -> None:
    """Write or replace a file beside a table, atomically for readers, like an S3 object."""
    if uri.startswith("file://"):
        write_whole(_path(uri), content)
        return
    with table.io.new_output(uri).create(overwrite=True) as file:
        file.write(content)


def remove_halves(location: str) -> None:
    """Remove temporary files below a folder that interrupted ``put`` calls left behind."""
    remove_parts(_path(location))


def listed(table: Table) -> list[TableFile]:
    """Return all files below a table's location."""
    return listed_below(table, table.location().rstrip("/"))


def listed_below(table: Table, location: str) -> list[TableFile]:
    """Return all files below a location, with the file system of the table."""
    _, _, path = PyArrowFileIO.parse_location(location)
    found = _files(table).get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    return [
        TableFile(uri=f"{location}{info.path.removeprefix(path)}", written=info.mtime)
        for info in found
        if info.type is FileType.File
    ]


def named(table: Table) -> set[str]:
    """Return all files that the table's state references: those of its snapshots, and its metadata files."""
    logged = {entry.metadata_file for entry in table.metadata.metadata_log}
    everywhere = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
    return needed(table, table.metadata.snapshots) | logged | statistics(table, everywhere) | {table.metadata_location}


def statistics(table: Table, snapshots: Collection[int]) -> set[str]:
    """Return the statistics files of snapshots."""
    each_kind = (*table.metadata.statistics, *table.metadata.partition_statistics)
    return {each.statistics_path for each in each_kind if each.snapshot_id in snapshots}


def needed(table: Table, snapshots: Iterable[Snapshot]) -> set[str]:
    """Return the files that snapshots need: data files, the manifests with their bounds, and the manifest lists."""
    found: set[str] = set()
    for snapshot in snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return found


def unnamed(table: Table, files: Iterable[TableFile]) -> list[TableFile]:
    """Return the files that the table's state does not reference."""
    known = named(table)
    return [file for file in files if file.uri not in known]


def matching_ids(table: Table, file: str, condition: BooleanExpression) -> list[str] | None:
    """Return the ingest ids of a data file's matching rows; ``None`` if it is incomplete or missing, as of a killed writer."""
    schema = table.schema()
    wanted = expression_to_pyarrow(bind(schema, condition, case_sensitive=True), schema)
    _, _, path = PyArrowFileIO.parse_location(file)
    try:
        rows = ds.dataset(path, format="parquet", filesystem=_files(table)).to_table(columns=[INGEST_ID], filter=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        if "AWS Error" in str(error) and not _REFUSED.search(str(error)):  # network or permissions
            raise
        return None
    return cast("list[str]", rows[INGEST_ID].unique().to_pylist())


def suffixed(files: Iterable[TableFile], suffixes: Collection[str]) -> list[TableFile]:
    """Return the files whose names end in one of the suffixes."""
    return [file for file in files if file.uri.endswith(tuple(suffixes))]


def _path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def _files(table: Table) -> FileSystem:
    scheme, netloc, _ = PyArrowFileIO.parse_location(table.location())
    return cast("PyArrowFileIO", table.io).fs_by_scheme(scheme, netloc)
