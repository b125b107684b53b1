"""``python -m benchmarks.features.cases CASE FOLDER``: one case in a process of its own; prints CPU seconds, peak MB and rows.

CPU is measured after the imports. Peak memory is that of the whole process.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.features.data import TABLES, TTL_DAYS, features
from pyiceberg.catalog.sql import SqlCatalog

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.point_in_time import GroupRows, point_in_time
from mlops_runtime.features.row_hashing import content_hash
from mlops_runtime.features.store_client import FeatureStoreClient

TTL = timedelta(days=TTL_DAYS)
NOW = datetime(2018, 1, 1, tzinfo=UTC)
SPENT: dict[str, float] = {}
GROUP = FeatureGroup(
    name="bench",
    entities=(Entity("user_id", "long", "user"),),
    features=tuple(Feature(name, "double", "value") for name in features(0)),
    owner="bench",
    description="bench",
)


class ParquetRows:
    """A Parquet file as a source of rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.schema = pq.read_schema(path)

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return the columns in batches."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        batches = pq.ParquetFile(self._path).iter_batches(batch_size=1 << 17, columns=list(columns))
        return pa.RecordBatchReader.from_batches(schema, (batch.select(list(columns)) for batch in batches))


@contextmanager
def spent(name: str) -> Iterator[None]:
    """Measure the CPU seconds of a block."""
    before = cpu()
    yield
    SPENT[name] = SPENT.get(name, 0.0) + cpu() - before


def peak() -> float:
    """Return the peak resident MB of this process; getrusage would include its parent's memory at the start."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cpu() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ours(folder: Path, output: Path, *, ttl: timedelta | None = TTL, **how: str) -> int:
    """Build with the planner: read Parquet, three joins, hash, write Parquet in row order."""
    groups = [
        GroupRows(
            name=f"feature{k}",
            entities=("user_id",),
            columns=tuple(features(k)),
            ttl=ttl,
            rows=ParquetRows(folder / f"feature{k}.parquet"),
        )
        for k in range(TABLES)
    ]
    rows = pq.read_table(folder / "entity.parquet")
    table = point_in_time(rows, "event_timestamp", groups, **how)
    with spent("hash"):
        content_hash(table)
    pq.write_table(table, output, compression="zstd")
    return table.num_rows


def sql(folder: Path, output: Path, join: Callable[[int, Path], str]) -> int:
    """Run one hand-written join per table in DuckDB, from Parquet to Parquet."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
        connection.execute(f"create table r as from '{folder / 'entity.parquet'}'")
        for k in range(TABLES):
            connection.execute("create or replace table r as " + join(k, folder / f"feature{k}.parquet"))
        connection.execute(f"copy (from r order by row_id) to '{output}' (format parquet, compression zstd)")
        return int(connection.sql("select count(*) from r").fetchall()[0][0])


def asof(k: int, path: Path) -> str:
    """Return an as-of join by event time with restatements folded; it leaks values that had not arrived."""
    values = ", ".join(f"arg_max({name}, created_time) as {name}" for name in features(k))
    alive = ", ".join(
        f"case when f.event_time >= e.event_timestamp - interval {TTL_DAYS} day then f.{name} end as {name}"
        for name in features(k)
    )
    return (
        f"select e.*, {alive} from r e asof left join "  # noqa: S608
        f"(select user_id, event_time, {values} from '{path}' group by user_id, event_time) f "
        "on e.user_id = f.user_id and e.event_timestamp >= f.event_time"
    )


def row_number(k: int, path: Path) -> str:
    """Return the join of most stores, by known time: join with the history and keep the first row."""
    names = ", ".join(features(k))
    return f"""
        select e.*, x.* exclude (row_id) from r e left join (
            select e.row_id, {names} from r e join '{path}' f on e.user_id = f.user_id
                and greatest(f.event_time, f.created_time) <= e.event_timestamp
                and f.event_time >= e.event_timestamp - interval {TTL_DAYS} day
            qualify row_number() over (partition by e.row_id order by f.event_time desc, f.created_time desc) = 1
        ) x on e.row_id = x.row_id
        """  # noqa: S608


def ingested(folder: Path, output: Path, *, is_raw: bool, is_sorted: bool) -> int:
    """Append a table's rows with the client and its checks, or with pyiceberg alone: the same columns, as given or sorted."""
    del output
    names = ["user_id", "event_time", "created_time", *features(0)]
    rows = pq.read_table(folder / "feature0.parquet", columns=names)
    # a restatement of a row in the same batch repeats times; the store would reject it
    places = rows.append_column("place", pa.arange(0, rows.num_rows, 1))
    first = places.group_by(names[:3], use_threads=False).aggregate([("place", "min")])["place_min"]
    rows = rows.take(first.combine_chunks().sort())
    if is_sorted:
        rows = rows.sort_by([(name, "ascending") for name in names[:3]])
    rows = rows.combine_chunks()
    with tempfile.TemporaryDirectory() as name:
        store = FeatureStoreClient.local(Path(name), now=lambda: NOW)
        store.ingest(GROUP, rows.slice(0, 10))  # creates the table
        if is_raw:
            catalog = SqlCatalog("local", uri=f"sqlite:///{name}/catalog.db", warehouse=Path(name).as_uri() + "/tables")
            table = catalog.load_table(f"features.{GROUP.table_name}")
            ids = pa.repeat(pa.scalar(f"{2:019d}-0123456789abcdef"), rows.num_rows)
            batch = rows.append_column("ingest_id", ids).select([field.name for field in table.schema().fields])
            kinds = {field.name: field for field in table.schema().as_arrow()}
            batch = batch.cast(pa.schema([pa.field(f.name, f.type, kinds[f.name].nullable) for f in batch.schema]))
            with spent("part"):
                table.append(batch)
        else:
            with spent("part"):
                store.ingest(GROUP, rows)
    return rows.num_rows


CASES: dict[str, Callable[[Path, Path], int]] = {
    "ours": ours,
    "ours, frontier": lambda folder, output: ours(folder, output, plan="frontier"),
    "ours, fan_out": lambda folder, output: ours(folder, output, plan="fan_out"),
    "ours, event_time": lambda folder, output: ours(folder, output, semantics="event_time"),
    "ours, no ttl": lambda folder, output: ours(folder, output, ttl=None),
    "duckdb asof": lambda folder, output: sql(folder, output, asof),
    "duckdb row_number": lambda folder, output: sql(folder, output, row_number),
    "ingest": lambda folder, output: ingested(folder, output, is_raw=False, is_sorted=False),
    "pyiceberg append": lambda folder, output: ingested(folder, output, is_raw=True, is_sorted=False),
    "ingest, in order": lambda folder, output: ingested(folder, output, is_raw=False, is_sorted=True),
    "pyiceberg append, in order": lambda folder, output: ingested(folder, output, is_raw=True, is_sorted=True),
}


def main() -> None:
    """Run one case."""
    before = cpu()
    with tempfile.TemporaryDirectory() as name:
        output = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(name) / "out.parquet"
        rows = CASES[sys.argv[1]](Path(sys.argv[2]), output)
    whole = {"cpu": cpu() - before} | ({"cpu": SPENT["part"]} if "part" in SPENT else {})
    print(json.dumps({**whole, "hash": SPENT.get("hash", 0.0), "rss": peak(), "rows": rows}))


if __name__ == "__main__":
    main()
