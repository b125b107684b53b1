"""Erasures beside everything else that a store does, in processes that are paused and killed; afterwards no byte names the entity.

``python -m tests.campaign.erasures.run FOLDER [--seeds N] [--seconds N]`` goes through schedules, each by its seed, and resumes
where it stopped. In each, two training-set jobs, two clients that build sets with rows of their own, a compaction, an ingest and
two erasures, one of another entity, start in any order; each may be paused or killed at any time. Then ``maintain`` runs, and every
byte of tables, catalog, training sets and manifests is searched.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from tests.campaign import page
from tests.runtime.features.conftest import PLAN, SALES, STOCK, asked, day, sales, stock

from mlops_runtime.contracts.features import Erasure
from mlops_runtime.features.batch_ingest import BatchError
from mlops_runtime.features.build_intent import Builds
from mlops_runtime.features.iceberg_tables import FeatureTableError
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_compaction import FAN_IN
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.jobs.job_environment import OptMl
from mlops_runtime.jobs.training_set import training_set

SECRET, OTHER = "household-4711-of-the-campaign", "household-0815-of-the-campaign"
NAME = "erasures"
SEEDS = 500
_OUTCOMES = "outcomes.jsonl"
_PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
_NOW = timedelta(0)
_LONGEST = 0.6  # seconds of a pause, and until the last process starts


def client(store: Path) -> FeatureStoreClient:
    """Return a client of a store; its clock stands after all rows."""
    return FeatureStoreClient.local(store, now=lambda: day(20))


def fill(store: Path) -> None:
    """Make a store: rows of both entities and of others, in files together and alone, as many as are compacted next time."""
    made = client(store)
    for store_id in ("1", SECRET, OTHER):
        rows = sales(*((n, float(n), n + 1) for n in range(10)))
        made.ingest(SALES, rows.set_column(0, "store_id", [[store_id] * 10]))
    for number in range(FAN_IN - 1):
        rows = stock(*((number + part / 10, number, number + 1) for part in range(3)))
        made.ingest(STOCK, rows.set_column(0, "store_id", [[SECRET, OTHER, "1"]]))


def act(store: Path, kind: str) -> None:
    """Do what one process of a schedule does; what is refused while an erasure runs is right to be."""
    own = client(store)
    try:
        if kind.startswith("job"):
            output = store / "training_sets" / "sets" / "daily" / kind
            files = OptMl(Path(tempfile.mkdtemp(dir=store.parent)))
            training_set(
                own,
                PLAN,
                as_of=day(12),
                tables=("sales_v1", "stock_v1"),
                opt_ml=files,
                output=str(output),
                manifests=str(store / "manifests"),
                s3=None,
            )
        elif kind.startswith("set"):
            own.training_set(asked((6, "1"), (6, SECRET), (7, OTHER)), [STOCK], name=kind)
        elif kind == "compaction":
            own.maintain()
        elif kind == "ingest":
            own.ingest(STOCK, stock((9, 1, 9)))
        else:
            own.erase({"store_id": SECRET if kind == "erasure" else OTHER}, reason="T-1", in_use=(), wait=_NOW)
    except (TrainingSetError, FeatureTableError, BatchError) as error:
        sys.stderr.write(f"{kind}: {error}\n")


KINDS = ("job1", "job2", "set1", "set2", "compaction", "ingest", "erasure", "other")


def schedule(store: Path, seed: int) -> dict[str, Any]:
    """Take a store through a schedule; return what happened and where the entities are left."""
    chance, context = random.Random(seed), multiprocessing.get_context("forkserver")
    processes: dict[str, BaseProcess] = {
        kind: context.Process(target=act, args=(store, kind), name=kind) for kind in KINDS
    }
    events = [(chance.random() * _LONGEST, "start", kind) for kind in KINDS if not kind.startswith("set")]
    for kind in KINDS:
        at = chance.random() * 3 * _LONGEST
        if chance.random() < 0.5:
            events += [(at, "pause", kind), (at + chance.random() * _LONGEST, "go on", kind)]
        if chance.random() < 0.4:
            events.append((chance.random() * 4 * _LONGEST, "kill", kind))
    # rows that are given after an erasure has begun are a new delivery: these builds are open when it begins
    given = [kind for kind in KINDS if kind.startswith("set")]
    for kind in given:
        processes[kind].start()
    _await_intents(store, [processes[kind] for kind in given])
    started = time.monotonic()
    for at, what, kind in sorted(events):
        time.sleep(max(0.0, started + at - time.monotonic()))
        if what == "start":
            processes[kind].start()
        else:
            _signal(processes[kind], what)
    for process in processes.values():
        _signal(process, "go on")
        process.join()
    done = _completed(store)
    return {
        "seed": seed,
        "killed": sorted(kind for kind, process in processes.items() if process.exitcode == -signal.SIGKILL),
        "failed": sorted(kind for kind, process in processes.items() if (process.exitcode or 0) > 0),
        "sets": len(client(store).manifests.ids()),
        "tombstones": len(list((store / "manifests" / "tombstones").glob("*.json"))),
        "pending": [line for erasure in done for line in erasure.pending],
        "left": [str(path.relative_to(store)) for path in sorted(store.rglob("*")) if path.is_file() and _holds(path)],
    }


def _await_intents(store: Path, processes: list[BaseProcess]) -> None:
    builds = Builds(store / "manifests")
    while any(process.is_alive() for process in processes) and len(builds.unclosed()) < len(processes):
        if len(client(store).manifests.ids()) >= len(processes):
            return
        time.sleep(0.01)


def _signal(process: BaseProcess, what: str) -> None:
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, {"pause": signal.SIGSTOP, "go on": signal.SIGCONT, "kill": signal.SIGKILL}[what])


def _completed(store: Path) -> list[Erasure]:
    """Complete the erasures; one that was killed before it was written down is asked for once more."""
    own = client(store)
    own.maintain()
    done = list(own.resume_erasures(wait=_NOW))
    again = (own.erase({"store_id": entity}, reason="T-2", in_use=(), wait=_NOW) for entity in (SECRET, OTHER))
    return [*done, *again]


def _holds(path: Path) -> bool:
    """Return whether a file names an entity, compressed or not; manifests hold 16 letters of a key."""
    content = path.read_bytes()
    if any(entity.encode() in content for entity in (SECRET, OTHER)):
        return True
    if path.suffix == ".parquet":
        rows = pq.read_table(pa.BufferReader(content))
        return "store_id" in rows.column_names and not {SECRET, OTHER}.isdisjoint(rows["store_id"].to_pylist())
    if path.suffix == ".avro":
        with AvroFile(PyArrowFileIO().new_input(str(path))) as records:
            said = str(list(records))
        return any(entity[:15] in said for entity in (SECRET, OTHER))
    return False


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Return the schedules that a folder has, by their seeds."""
    file = folder / _OUTCOMES
    lines = file.read_text().splitlines() if file.is_file() else []
    return sorted((json.loads(line) for line in lines), key=lambda row: int(row["seed"]))


def section(rows: list[dict[str, Any]], on: datetime) -> str:
    """Return the section of the page."""
    begin, end = page.marks(NAME)
    left = [row for row in rows if row["left"]]
    pending = [row for row in rows if row["pending"]]
    killed = sum(len(row["killed"]) for row in rows)
    lines = [
        begin,
        "## Erasures beside everything else",
        "",
        "Two training-set jobs, two clients that build sets from rows of their own, a compaction, an ingest and two erasures of",
        "different entities run at once on one store, in processes of their own that are paused and killed at any time. Then",
        "`maintain` completes what is pending, and every byte of tables, catalog, training sets and manifests is searched.",
        "",
        "`python -m tests.campaign.erasures.run FOLDER` runs the schedules by their seeds; it goes on where it stopped.",
        "",
        f"Measured {on:%Y-%m-%d}:",
        "",
        "| | |",
        "|---|---|",
        f"| schedules | {len(rows)} of {SEEDS} |",
        f"| processes killed | {killed} of {len(rows) * len(KINDS)} |",
        f"| training sets built | {sum(row['sets'] for row in rows)} |",
        f"| tombstones | {sum(row['tombstones'] for row in rows)} |",
        f"| processes that failed otherwise | {sum(len(row['failed']) for row in rows)} |",
        f"| schedules with an erasure that stays pending | {len(pending)} |",
        f"| schedules that leave a byte of an entity | {len(left)} |",
        *(f"\nLeft by seed {row['seed']}: {', '.join(row['left'])}" for row in left),
        end,
    ]
    return "\n".join(lines) + "\n"


def main(folder: Path, *, seeds: int = SEEDS, seconds: float | None = None, on_page: Path = _PAGE) -> int:
    """Run the schedules that a folder does not have yet, and write the page; return 1 if one leaves anything."""
    folder.mkdir(parents=True, exist_ok=True)
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    until = None if seconds is None else time.monotonic() + seconds
    known = {row["seed"] for row in outcomes(folder)}
    with tempfile.TemporaryDirectory(prefix="mlops-erasures-") as scratch:
        # files name each other by their whole paths, so every schedule has the store at the same place
        store, copy = Path(scratch) / "store", Path(scratch) / "copy"
        fill(store)
        shutil.copytree(store, copy)
        for seed in range(seeds):
            if seed in known:
                continue
            if until is not None and time.monotonic() > until:
                break
            shutil.rmtree(store)
            shutil.copytree(copy, store)
            row = schedule(store, seed)
            with (folder / _OUTCOMES).open("a") as file:
                file.write(json.dumps(row) + "\n")
    rows = outcomes(folder)
    page.write(on_page, NAME, section(rows, datetime.now(UTC)))
    return 1 if any(row["left"] or row["pending"] for row in rows) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    sys.exit(main(given.folder, seeds=given.seeds, seconds=given.seconds))
