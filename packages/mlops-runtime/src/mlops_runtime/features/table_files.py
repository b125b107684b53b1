"""Files below a table: what its snapshots name, and what they do not: of killed and overtaken writers, and of expired snapshots."""

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
# what Arrow reports if S3 refuses a read: the refusal is written over the content that was asked for, which leaves its HTTP status
# alone, and where it is longer than that nothing, see https://github.com/apache/doris/pull/61636
_REFUSED = re.compile(
    r"AWS Error (NO_SUCH_KEY|RESOURCE_NOT_FOUND) during GetObject operation|Failed to flush response stream"
)
# pyiceberg's writer of manifests says this where what it writes from could not be read
_EMPTY = "An empty manifest file has been written"


@contextmanager
def missing_as_such() -> Iterator[None]:
    """Give the error of a missing file also where an object of S3 went between its opening and its reading, as a file cannot.

    And where pyiceberg hides that error behind another.

    Raises:
        FileNotFoundError: If it went, or S3 may have said so; reading again shows.
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
        raise FileNotFoundError(errno.ENOENT, f"an object went while it was read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A file below a table's location: its URI and when it was last written."""

    uri: str
    written: datetime


def put(table: Table, uri: str, content: bytes) -> None:
    """Write a file beside a table, or replace it; readers see all of it or what was there, as with each object of S3."""
    if uri.startswith("file://"):
        write_whole(_path(uri), content)
        return
    with table.io.new_output(uri).create(overwrite=True) as file:
        file.write(content)


def remove_halves(location: str) -> None:
    """Remove what writers below a folder left that ended inside of ``put``."""
    remove_parts(_path(location))


def listed(table: Table) -> list[TableFile]:
    """Return all files below a table's location."""
    return listed_below(table, table.location().rstrip("/"))


def listed_below(table: Table, location: str) -> list[TableFile]:
    """Return all files below a location that the table's files can be read from."""
    _, _, path = PyArrowFileIO.parse_location(location)
    found = _files(table).get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    return [
        TableFile(uri=f"{location}{info.path.removeprefix(path)}", written=info.mtime)
        for info in found
        if info.type is FileType.File
    ]


def named(table: Table) -> set[str]:
    """Return all files that the table's state names: of its snapshots, and its metadata files."""
    logged = {entry.metadata_file for entry in table.metadata.metadata_log}
    everywhere = [snapshot.snapshot_id for snapshot in table.metadata.snapshots]
    return needed(table, table.metadata.snapshots) | logged | statistics(table, everywhere) | {table.metadata_location}


def statistics(table: Table, snapshots: Collection[int]) -> set[str]:
    """Return the files of statistics that snapshots have."""
    each_kind = (*table.metadata.statistics, *table.metadata.partition_statistics)
    return {each.statistics_path for each in each_kind if each.snapshot_id in snapshots}


def needed(table: Table, snapshots: Iterable[Snapshot]) -> set[str]:
    """Return the files that snapshots need: data, the manifests that hold its bounds, and the lists of manifests."""
    found: set[str] = set()
    for snapshot in snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                found |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return found


def unnamed(table: Table, files: Iterable[TableFile]) -> list[TableFile]:
    """Return those of the files that the table's state does not name."""
    known = named(table)
    return [file for file in files if file.uri not in known]


def matching_ids(table: Table, file: str, condition: BooleanExpression) -> list[str] | None:
    """Return the ingest ids of the rows of a data file that match; ``None`` if it cannot be read, as of a killed writer."""
    schema = table.schema()
    wanted = expression_to_pyarrow(bind(schema, condition, case_sensitive=True), schema)
    _, _, path = PyArrowFileIO.parse_location(file)
    try:
        rows = ds.dataset(path, format="parquet", filesystem=_files(table)).to_table(columns=[INGEST_ID], filter=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        if "AWS Error" in str(error) and not _REFUSED.search(str(error)):  # the network, or rights
            raise
        return None
    return cast("list[str]", rows[INGEST_ID].unique().to_pylist())


def suffixed(files: Iterable[TableFile], suffixes: Collection[str]) -> list[TableFile]:
    """Return the files whose names end in one of some suffixes."""
    return [file for file in files if file.uri.endswith(tuple(suffixes))]


def _path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def _files(table: Table) -> FileSystem:
    scheme, netloc, _ = PyArrowFileIO.parse_location(table.location())
    return cast("PyArrowFileIO", table.io).fs_by_scheme(scheme, netloc)
