"""``python -m benchmarks.features.key_reads [rows [rounds]]``: reads of few keys from a table of 10M rows and 100,000 keys.

``latest`` of 3 and 1,000 keys, ``correct`` of 1,000 rows, and for comparison a read of the whole table and a DuckDB join over
the same files, each in its own process, alternating; medians of the rounds. CPU is measured after the imports; memory is both the
peak of the process and its use before the call.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from benchmarks.features.cases import cpu, peak
from benchmarks.measure import load

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient

ROWS, KEYS, CHUNK, CORRECTED = 10_000_000, 100_000, 5_000_000, 1000
FIRST = "first.parquet"  # the first rows of the first batch
DAY = 86_400_000_000
START = int(datetime(2019, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
NOW = datetime(2020, 1, 1, tzinfo=UTC)
GROUP = FeatureGroup(
    name="clicks",
    entities=(Entity("customer_id", "long", "customer"),),
    features=tuple(Feature(f"v{i}", "double", "a number") for i in range(3)),
    owner="benchmarks",
    description="reads by key",
)


def rows(count: int, seed: int) -> pa.Table:
    """Return rows of 90 days, known at their event times."""
    random = np.random.default_rng(seed)
    times = pa.array(START + random.integers(0, 90 * DAY, count), pa.int64()).cast(pa.timestamp("us", "UTC"))
    keys = {"customer_id": random.integers(0, KEYS, count), "event_time": times, "created_time": times}
    return pa.table({**keys, **{f"v{i}": random.random(count) for i in range(3)}})


def store(folder: Path) -> FeatureStoreClient:
    """Return the store below a folder."""
    return FeatureStoreClient.local(folder, now=lambda: NOW)


def entity_rows(count: int) -> pa.Table:
    """Return keys to look up."""
    random = np.random.default_rng(4)
    return pa.table({"customer_id": pa.array(np.unique(random.integers(0, KEYS, count)))})


def latest(folder: Path, count: int) -> Callable[[], int]:
    """Look keys up."""
    client, keys = store(folder), entity_rows(count)
    return lambda: pc.sum(pc.is_valid(client.latest(GROUP, keys)["event_time"])).as_py()


def correct(folder: Path, number: int) -> Callable[[], int]:
    """Correct rows of the first batch, other rows in each round."""
    batch = pq.read_table(folder / FIRST).slice(CORRECTED * number, CORRECTED).drop_columns(["created_time"])
    changed = batch.set_column(2, "v0", pc.add(batch["v0"], 1.0))
    return lambda: store(folder).correct(GROUP, changed).rows


def whole(folder: Path, count: int) -> Callable[[], int]:
    """Read the table with pyiceberg, and filter the rows of the keys."""
    client, keys = store(folder), entity_rows(count)["customer_id"].combine_chunks()

    def read() -> int:
        found = client.table(GROUP.table_name).scan().to_arrow()
        return found.filter(pc.is_in(found["customer_id"], value_set=keys)).num_rows

    return read


def joined(folder: Path, count: int) -> Callable[[], int]:
    """Join the live files with the keys in DuckDB."""
    client, keys = store(folder), entity_rows(count)

    def join() -> int:
        files = [task.file.file_path for task in client.table(GROUP.table_name).scan().plan_files()]
        with duckdb.connect() as connection:
            connection.register("wanted", keys)
            connection.execute("set threads = 2")
            found = connection.execute("select t.* from read_parquet($1) t join wanted using (customer_id)", [files])
            return found.to_arrow_table().num_rows

    return join


CASES: dict[str, Callable[[Path, int], Callable[[], int]]] = {
    "`latest` of 3 keys": lambda folder, _: latest(folder, 3),
    "DuckDB, join with 3 keys": lambda folder, _: joined(folder, 3),
    "`latest` of 1,000 keys": lambda folder, _: latest(folder, 1000),
    "DuckDB, join with 1,000 keys": lambda folder, _: joined(folder, 1000),
    "`correct` of 1,000 rows": correct,
    "whole table by pyiceberg": lambda folder, _: whole(folder, 3),
}


def one(case: str, folder: Path, number: int) -> None:
    """Measure a case in this process and print its cost."""
    run = CASES[case](folder, number)
    held, before = peak(), cpu()
    found = run()
    print(json.dumps({"cpu": cpu() - before, "peak": peak(), "held": held, "rows": found}))


def main() -> None:
    """Measure and print one table."""
    if sys.argv[1:2] == ["case"]:
        one(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, start in enumerate(range(0, count, CHUNK)):
            batch = rows(min(CHUNK, count - start), 100 + number)
            store(folder).backfill(GROUP, batch)
            if not number:
                pq.write_table(batch.slice(0, CORRECTED * rounds), folder / FIRST)
        tasks = list(store(folder).table(GROUP.table_name).scan().plan_files())
        size = round(sum(task.file.file_size_in_bytes for task in tasks) / 1e6)
        for number in range(rounds):
            for case in CASES:
                command = [sys.executable, "-m", "benchmarks.features.key_reads", "case", case, name, str(number)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[case].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{count} rows, {len(tasks)} files of {size} MB; {load()}, {rounds} rounds")
    print("| case | CPU s | peak MB | of them before the call | rows |\n|---|---|---|---|---|")
    for case, runs in found.items():
        cost, most, held, returned = (
            statistics.median(r[key] for r in runs) for key in ("cpu", "peak", "held", "rows")
        )
        print(f"| {case} | {cost:.2f} | {most:.0f} | {held:.0f} | {returned:.0f} |")


if __name__ == "__main__":
    main()
