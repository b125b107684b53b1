"""Runs the campaign and goes on where it stopped: one JSON line a candidate, appended as soon as it is known.

``python -m tests.campaign.candidates.run <folder> [bad|good]`` runs a part by itself; `test_campaign.py` runs all of it.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.campaign.candidates import trained
from tests.campaign.candidates.catalogue import SEED, Bad, Good, bad_ones, good_ones
from tests.campaign.candidates.path import Way
from tests.campaign.candidates.world import CHAMPION_WEEK, splits

PARTS: dict[str, Callable[[], Iterable[Bad | Good]]] = {"bad": bad_ones, "good": good_ones}


def results(folder: Path, part: str) -> dict[str, dict[str, Any]]:
    """Return the results of a part so far, by the candidate's key."""
    path = folder / f"{part}-{SEED}.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return {line["key"]: line for line in map(json.loads, lines)}


def record(folder: Path, part: str, line: dict[str, Any]) -> None:
    """Append one result."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{part}-{SEED}.jsonl").open("a") as stream:
        stream.write(json.dumps(line, sort_keys=True) + "\n")


def champion() -> bytes:
    """Return what is live: the unit's own script on the set of week 30, as its pipeline trained it then."""
    return trained.by_script(splits(CHAMPION_WEEK).train).pack()


def run(folder: Path, part: str, say: Callable[[str], None]) -> None:
    """Take every candidate of a part along the way to traffic that has no result yet."""
    done = results(folder, part)
    cells = [cell for cell in PARTS[part]() if cell.key not in done]
    if not cells:
        return
    folder.mkdir(parents=True, exist_ok=True)
    live = folder / "champion.tar.gz"
    if not live.is_file():
        live.write_bytes(champion())
    way = Way(live.read_bytes(), folder)
    try:
        for cell in cells:
            started = time.monotonic()
            found = way.judge(cell, cell.make())
            seconds = round(time.monotonic() - started, 2)
            line = {"key": cell.key, "week": cell.week, **dataclasses.asdict(found), "seconds": seconds}
            record(folder, part, line)
            say(f"{cell.key}: {found.layer or 'passed'} after {seconds} s {found.reason[:80]}")
    finally:
        way.stop()


if __name__ == "__main__":
    for chosen in sys.argv[2:] or PARTS:
        run(Path(sys.argv[1]), chosen, lambda text: print(text, flush=True))  # noqa: T201
