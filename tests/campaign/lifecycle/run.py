"""``python -m tests.campaign.lifecycle.run FOLDER [MINUTES [STACK...]]``: cells without a result, each stack on its own cloud."""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.campaign.lifecycle.assemblies import STACKS
from tests.campaign.lifecycle.cells import CASES, Cell, cells
from tests.campaign.lifecycle.report import NAME, section
from tests.campaign.lifecycle.world import Lifecycle
from tests.campaign.page import write

from mlops_constructs import Profile
from mlops_local import cloud as local_cloud
from mlops_runtime.layers.layer_wheels import build_layers

ROOT = Path(__file__).resolve().parents[3]
SEED = 11
ROUND = 10  # cells of each case before the next stack


def main(folder: Path, minutes: float, stacks: Sequence[str] = STACKS) -> int:
    """Run cells until all are done or the time is up, then write the page; return the number of cells with problems."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "lifecycle.jsonl"
    done = {json.loads(line)["key"] for line in results.read_text().splitlines()} if results.exists() else set()
    list(build_layers(names=["monitor"]))
    deadline = time.monotonic() + minutes * 60
    worlds = [(stack, profile.value) for stack in stacks for profile in Profile]
    while worlds and time.monotonic() < deadline:
        stack, profile = min(worlds, key=lambda world: sum(key.startswith("/".join((*world, ""))) for key in done))
        with tempfile.TemporaryDirectory() as scratch:
            cloud = local_cloud.up(Path(scratch) / "cloud")
            try:
                world = Lifecycle(cloud, Path(scratch), stack, profile)
                every = cells(stack, profile, world.resources())
                left = [cell for cell in _shuffled(every) if cell.key not in done]
                some = [cell for case in CASES for cell in [c for c in left if c.case == case][:ROUND]]
                done |= _run(world, some, results, deadline, of=len(every))
            finally:
                cloud.down(forget=True)
        if len(some) == len(left):
            worlds.remove((stack, profile))
    found = [json.loads(line) for line in results.read_text().splitlines()]
    write(ROOT / "docs" / "campaign.md", NAME, section(found, load=os.getloadavg()[0]))
    return sum(bool(result["problems"]) for result in found)


def _run(world: Lifecycle, some: list[Cell], results: Path, deadline: float, *, of: int) -> set[str]:
    done = set()
    for cell in some:
        if time.monotonic() > deadline:
            break
        result = world.run(cell) | {"of": of, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        with results.open("a") as stream:
            stream.write(json.dumps(result) + "\n")
        done.add(cell.key)
        sys.stderr.write(f"{cell.key}: {result['outcome']} {result['seconds']} s {result['problems']}\n")
    return done


def _shuffled(every: list[Cell]) -> list[Cell]:
    """Shuffle cells by a seed, so that those done are a fair sample of all."""
    return random.Random(SEED).sample(every, len(every))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # its cloud ends with it
    place, *limits = sys.argv[1:]
    sys.exit(1 if main(Path(place), float(limits[0]) if limits else 600.0, limits[1:] or STACKS) else 0)
