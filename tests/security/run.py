"""``python -m tests.security.run FOLDER [MINUTES]``: every call of every role of two units on all resources of the other.

Blocks of one role and one resource run in a seeded order, and completed blocks are kept. `docs/campaign.md` has the
progress.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.campaign.page import write
from tests.security import units
from tests.security.attack import DENIED
from tests.security.calls import calls
from tests.security.cross_unit import SEED, Attempt, Pair
from tests.security.escalations import controls, escalate
from tests.security.report import NAME, section

from mlops_local import cloud as local_cloud
from mlops_runtime.layers.layer_wheels import build_layers

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "attacks.jsonl"


def main(folder: Path, minutes: float) -> list[dict[str, Any]]:
    """Deploy both units, make attempts until all are made or time is up, then the administrator's calls, and write the page."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / RESULTS
    done = {row["key"] for row in read(results)}
    list(build_layers(names=["monitor"]))
    deadline = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory() as scratch:
        assembly = units.synthesize_large(Path(scratch) / "assembly")
        cloud = local_cloud.up(Path(scratch) / "cloud")
        try:
            units.deploy(cloud, assembly)
            pair = Pair(cloud, assembly, units.LARGE)
            with results.open("a") as stream:
                for row in _rows(pair, done, deadline):
                    row["at"] = datetime.now(UTC).isoformat(timespec="seconds")
                    stream.write(json.dumps(row) + "\n")
                    stream.flush()
        finally:
            cloud.down()
    found = read(results)
    write(ROOT / "docs" / "campaign.md", NAME, section(found, load=os.getloadavg()[0]))
    return found


def read(results: Path) -> list[dict[str, Any]]:
    """Return the stored rows."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


def _rows(pair: Pair, done: set[str], deadline: float) -> Any:
    blocks = [
        (stack, role, target)
        for stack in pair.stacks
        for role in pair.roles[stack]
        for target in pair.callable(pair.other(stack))
    ]
    for stack, role, target in random.Random(SEED).sample(blocks, len(blocks)):
        key = f"{stack}/{role}/{target.logical_id}"
        if key in done:
            continue
        if time.monotonic() > deadline:
            break
        began = time.monotonic()
        answers: dict[str, Counter[str]] = {}
        for attempt, answer in pair.make(Attempt(unit=stack, role=role, call=call) for call in calls(target)):
            answers.setdefault(attempt.call.key, Counter())[answer] += 1
        yield {
            "key": key,
            "kind": target.kind,
            "role": f"{stack}/{role}",
            "of": len(blocks),
            "denied": sorted(name for name, found in answers.items() if set(found) == {DENIED}),
            "others": {name: next(iter(found)) for name, found in answers.items() if set(found) != {DENIED}},
            "seconds": round(time.monotonic() - began, 3),
        }
    for stack in pair.stacks:
        if f"escalations/{stack}" not in done:
            found = list(escalate(pair, stack))
            through = [[way, role, answer] for way, role, answer in found if answer != DENIED]
            yield {"key": f"escalations/{stack}", "escalations": len(found), "through": through}
    for stack in pair.stacks:  # deletions last
        if f"controls/{stack}" not in done:
            made = [[kind, name, answer] for (kind, name), answer in pair.controls(stack).items()]
            ways = dict(controls(pair, stack))  # one of them denies the administrator the key
            yield {"key": f"controls/{stack}", "ways": ways, "controls": made}


if __name__ == "__main__":
    place, *limits = sys.argv[1:]
    main(Path(place), float(limits[0]) if limits else 600.0)
