"""A process that exits before or after each write of an ingest or training set, and a second one that repeats the operation.

Run as ``python -m tests.runtime.features.crashing <ingest | training_set> <folder>``; prints a JSON line for each step.
Children
are forked before any library has started threads.
"""

import functools
import gc
import importlib
import itertools
import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - loaded once, before the forks
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile
from tests import iceberg_calls

from mlops_runtime.features import rebuild, training_set, training_set_difference  # noqa: F401 - loaded once
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_manifest import Objects

# modules that each process would otherwise load again
LOADED_LATE = (
    "mlops_runtime.features.table_compaction",
    "mlops_runtime.features.table_maintenance",
    "pyiceberg.avro.decoder_fast",
    "pyiceberg_core.transform",
    "sqlalchemy.dialects.sqlite",
)
WRITES = (
    (PyArrowFile, "create"),
    (SqlCatalog, "commit_table"),
    (SqlCatalog, "create_table"),
    (Objects, "put_once"),
)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units"),),
    owner="demand",
    description="stock",
)
DAY = datetime(2017, 1, 1, tzinfo=UTC)


def client(folder: Path) -> FeatureStoreClient:
    """Return a client with a fixed clock."""
    return FeatureStoreClient.local(folder, now=lambda: DAY + timedelta(days=9))


def stock(*days: int) -> pa.Table:
    """Return stock of store 1."""
    return pa.table(
        {"store_id": ["1"] * len(days), "event_time": [DAY + timedelta(days=d) for d in days], "on_hand": list(days)}
    )


def ingest(folder: Path) -> dict[str, Any]:
    """Ingest the batch and return the visible state."""
    client(folder).ingest(STOCK, stock(3, 4), idempotency_key="k")
    table = client(folder).table("stock_v1")
    return {"rows": sorted(table.scan().to_arrow()["on_hand"].to_pylist()), "snapshots": len(table.metadata.snapshots)}


def build(folder: Path) -> dict[str, Any]:
    """Build the training set and return the visible state."""
    entities = pa.table({"store_id": ["1", "2"], "event_timestamp": [DAY + timedelta(days=20)] * 2})
    store = client(folder)
    built = store.training_set(entities, [STOCK], name="shelves")
    again = store.rebuild(built.id)
    return {
        "id": built.id,
        "ids": list(store.manifests.ids()),
        "verdict": again.verdict.value,
        "files": len(list((folder / "training_sets").rglob("*.parquet"))),
        "tags": sorted(store.table("stock_v1").metadata.refs),
    }


def seen(folder: Path) -> dict[str, Any]:
    """Return the state that a reader sees after a crashed process."""
    store = client(folder)
    if "stock_v1" not in store.table_names():
        return {"rows": [], "complete": []}
    rows = sorted(store.table("stock_v1").scan().to_arrow()["on_hand"].to_pylist())
    return {"rows": rows, "complete": [store.rebuild(i).verdict.value for i in store.manifests.ids()]}


def ending(at: int) -> None:
    """Exit the process at its ``at``-th step: before or after a write, or in the middle of a file."""
    steps = itertools.count(1)

    def step() -> None:
        if next(steps) == at:
            os._exit(9)

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def run(*args: Any, **options: Any) -> Any:
            step()
            result = original(*args, **options)
            step()
            return result

        return run

    for owner, name in WRITES:
        setattr(owner, name, wrapped(getattr(owner, name)))


def child(work: Callable[[Path], dict[str, Any]], folder: Path, at: int | None) -> tuple[int, dict[str, Any] | None]:
    """Run a function in a forked process; return its exit code and output."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if at is not None:
                ending(at)
            os.write(write, json.dumps(work(folder)).encode())
            os._exit(0)
        except BaseException:  # the child of a fork must not return
            traceback.print_exc()
            os._exit(1)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        reported = pipe.read()
    return os.waitstatus_to_exitcode(status), json.loads(reported) if reported else None


def main(work: Callable[[Path], dict[str, Any]], folder: Path) -> None:
    """Crash at each step, inspect the state and repeat the operation."""

    def prepare(path: Path) -> dict[str, Any]:
        client(path).ingest(STOCK, stock(1), idempotency_key="before")
        return {}

    for at in itertools.count(1):
        place = folder / str(at)
        if work is build:
            child(prepare, place, None)
        code, _ = child(work, place, at)
        left = child(seen, place, None)
        again = child(work, place, None)
        sys.stdout.write(json.dumps({"at": at, "code": code, "left": left, "again": again}) + "\n")
        if code == 0:
            return


if __name__ == "__main__":
    iceberg_calls.install()
    for name in LOADED_LATE:
        importlib.import_module(name)
    gc.freeze()
    main({"ingest": ingest, "training_set": build}[sys.argv[1]], Path(sys.argv[2]))
