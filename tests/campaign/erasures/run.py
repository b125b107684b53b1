"""Erasures concurrent with all other operations of a store, in processes that are paused and killed.

``python -m tests.campaign.erasures.run FOLDER [--seeds N] [--seconds N]`` runs seeded schedules, and resumes
where it stopped; every fifth is on an embedded cloud, the others are in a folder. In each, two training-set jobs, two clients that
build sets with rows of their own, a compaction, an ingest, a publication to the online store, and two erasures, one of another
entity, start in any order; each may be paused or killed at any time. Then pending work is completed; no byte may name the entity.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.campaign import page
from tests.campaign.erasures import actors
from tests.campaign.erasures.actors import ERASED, GIVEN, KINDS, NOW, REFUSED
from tests.campaign.erasures.stores import CloudStore, FolderStore, Store

from mlops_local.cloud import up
from mlops_runtime.contracts.features import Erasure
from mlops_runtime.features.store_client import FeatureStoreClient

NAME = "erasures"
SEEDS = 500
CLOUD_EVERY = 5
_OUTCOMES = "outcomes.jsonl"
_PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
_LONGEST = 0.6  # seconds of a pause, and until the last process starts
_TICK = 0.01
_Event = tuple[float, str, str]


def events(chance: random.Random, longest: float = _LONGEST) -> list[_Event]:
    """Return the events of a schedule by second: processes that start, are paused, resume and are killed."""
    found = [(chance.random() * longest, "start", kind) for kind in KINDS if kind not in GIVEN]
    for kind in KINDS:
        at = chance.random() * 3 * longest
        if chance.random() < 0.5:
            found += [(at, "pause", kind), (at + chance.random() * longest, "go on", kind)]
        if chance.random() < 0.4:
            found.append((chance.random() * 4 * longest, "kill", kind))
    return sorted(found)


def schedule(store: Store, seed: int, scratch: Path) -> dict[str, Any]:
    """Run a schedule on a store; return its events and where the entities are left."""
    context = multiprocessing.get_context("forkserver")
    processes: dict[str, BaseProcess] = {
        kind: context.Process(target=actors.act, args=(store, kind, scratch), name=kind) for kind in KINDS
    }
    # rows passed after the start of an erasure are a new delivery: these builds are open when it begins
    for kind in GIVEN:
        processes[kind].start()
    _await_intents(store.client(), [processes[kind] for kind in GIVEN])
    started = time.monotonic()
    waiting = set(KINDS) - set(GIVEN)
    for at, what, kind in events(random.Random(seed)):
        while waiting or any(process.is_alive() for process in processes.values()):
            left = started + at - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _TICK))
        if what == "start":
            processes[kind].start()
            waiting.remove(kind)
        else:
            _signal(processes[kind], what)
    for process in processes.values():
        _signal(process, "go on")
        process.join()
    codes = {kind: process.exitcode or 0 for kind, process in processes.items()}
    done = _completed(store, [entity for kind, entity in ERASED.items() if codes[kind]])
    return {
        "seed": seed,
        "on": "cloud" if isinstance(store, CloudStore) else "folder",
        "killed": sorted(kind for kind, code in codes.items() if code == -signal.SIGKILL),
        "refused": sorted(kind for kind, code in codes.items() if code == REFUSED),
        "failed": sorted(kind for kind, code in codes.items() if code not in (0, REFUSED, -signal.SIGKILL)),
        "sets": len(store.client().manifests.ids()),
        "tombstones": len(store.client().manifests.objects.keys("tombstones/")),
        "pending": [line for erasure in done for line in erasure.pending],
        "left": store.left(),
    }


def _await_intents(client: FeatureStoreClient, processes: list[BaseProcess]) -> None:
    while any(process.is_alive() for process in processes) and len(client.builds.unclosed()) < len(processes):
        if len(client.manifests.ids()) >= len(processes):
            return
        time.sleep(_TICK)


def _signal(process: BaseProcess, what: str) -> None:
    if process.pid is not None and process.is_alive():
        with suppress(ProcessLookupError):  # it ended in between
            os.kill(process.pid, {"pause": signal.SIGSTOP, "go on": signal.SIGCONT, "kill": signal.SIGKILL}[what])


def _completed(store: Store, again: list[str]) -> list[Erasure]:
    """Complete the erasures; the request of a killed one may not have been stored, so it is repeated."""
    client = store.client()
    client.maintain()
    store.abort_uploads()
    done = list(client.resume_erasures(wait=NOW))
    return [*done, *(client.erase({"store_id": entity}, reason="T-2", in_use=(), wait=NOW) for entity in again)]


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder by seed."""
    file = folder / _OUTCOMES
    lines = file.read_text().splitlines() if file.is_file() else []
    return sorted((json.loads(line) for line in lines), key=lambda row: int(row["seed"]))


def section(rows: list[dict[str, Any]], on: datetime) -> str:
    """Return the section of the page."""
    begin, end = page.marks(NAME)
    places = {"in a folder": "folder", "on S3, Glue and DynamoDB": "cloud"}
    parts = [[row for row in rows if row["on"] == place] for place in places.values()]
    lines = [
        begin,
        "## Concurrent erasures",
        "",
        "Two training-set jobs, two clients that build sets from their own rows, a compaction, an ingest, a publication to the",
        "online store, and two erasures of different entities run at once on one store, in processes that are paused and killed at",
        "any time. Then incomplete uploads are aborted, as the bucket's lifecycle does a day after they began, "
        "pending erasures are completed, and all stored bytes are searched: in a folder, those of tables, catalog, training",
        "sets, manifests and `online.db` with its log; on the embedded cloud, those of everything that its services store,",
        "including old versions of objects, except the requests that DynamoDB stores for ten minutes.",
        "",
        "`python -m tests.campaign.erasures.run FOLDER` runs the schedules by their seeds; an interrupted run resumes.",
        "",
        f"Measured {on:%Y-%m-%d}, {len(rows)} of {SEEDS} schedules:",
        "",
        f"| | {' | '.join(places)} |",
        "|---|---|---|",
        _line("schedules", [len(part) for part in parts]),
        _line("processes", [len(part) * len(KINDS) for part in parts]),
        _line("killed", [_sum(part, "killed") for part in parts]),
        _line("refused while an erasure ran", [_sum(part, "refused") for part in parts]),
        _line("failed otherwise", [_sum(part, "failed") for part in parts]),
        _line("training sets built", [sum(row["sets"] for row in part) for part in parts]),
        _line("tombstones", [sum(row["tombstones"] for row in part) for part in parts]),
        _line("schedules with an erasure that stays pending", [_count(part, "pending") for part in parts]),
        _line("schedules that leave a byte of an entity", [_count(part, "left") for part in parts]),
        *(f"\nLeft by seed {row['seed']}: {', '.join(row['left'])}" for row in rows if row["left"]),
        end,
    ]
    return "\n".join(lines) + "\n"


def _line(name: str, values: list[int]) -> str:
    return f"| {name} | {' | '.join(map(str, values))} |"


def _sum(rows: list[dict[str, Any]], name: str) -> int:
    return sum(len(row[name]) for row in rows)


def _count(rows: list[dict[str, Any]], name: str) -> int:
    return sum(bool(row[name]) for row in rows)


def main(folder: Path, *, seeds: int = SEEDS, seconds: float | None = None, on_page: Path = _PAGE) -> int:
    """Run the schedules without a result, and write the page; return 1 if one leaves anything."""
    folder.mkdir(parents=True, exist_ok=True)
    multiprocessing.get_context("forkserver").set_forkserver_preload([actors.__name__])
    until = None if seconds is None else time.monotonic() + seconds
    known = {row["seed"] for row in outcomes(folder)}
    wanted = [seed for seed in range(seeds) if seed not in known]
    with tempfile.TemporaryDirectory(prefix="mlops-erasures-") as name:
        scratch = Path(name)
        cloud = up(scratch / "cloud")
        try:
            in_folder, on_cloud = FolderStore.filled(scratch), CloudStore.filled(cloud)
            for seed in wanted:
                if until is not None and time.monotonic() > until:
                    break
                store: Store = in_folder if (seed + 1) % CLOUD_EVERY else on_cloud
                store.put_back()
                row = schedule(store, seed, scratch)
                with (folder / _OUTCOMES).open("a") as file:
                    file.write(json.dumps(row) + "\n")
        finally:
            cloud.down(forget=True)
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
