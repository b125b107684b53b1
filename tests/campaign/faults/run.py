"""``python -m tests.campaign.faults.run deploy|retrain FOLDER [MINUTES]``: the cells that are not done yet, on their own cloud."""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.campaign.faults.deploy import DeployFaults
from tests.campaign.faults.report import SECTIONS, section
from tests.campaign.faults.retrain import RetrainFaults
from tests.campaign.page import write

from mlops_local import cloud as local_cloud

ROOT = Path(__file__).resolve().parents[3]
CLOCK_SCALE = 120.0  # half a second of a bake for the calls that are its evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Where the results of one machine are kept, and the world that goes through its cells."""

    results: str
    world: Any


CAMPAIGNS = {
    "deploy": Campaign(results="faults.jsonl", world=DeployFaults),
    "retrain": Campaign(results="faults-retrain.jsonl", world=RetrainFaults),
}


def main(machine: str, folder: Path, minutes: float) -> int:
    """Run cells until all are done or time is up, then write the page; returns the number of cells with problems."""
    campaign = CAMPAIGNS[machine]
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / campaign.results
    done = {json.loads(line)["key"] for line in results.read_text().splitlines()} if results.exists() else set()
    with tempfile.TemporaryDirectory() as scratch:
        cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=CLOCK_SCALE)
        try:
            world = campaign.world(cloud, Path(scratch))
            cells = world.cells()
            left = [cell for cell in cells if cell.key not in done]
            deadline = time.monotonic() + minutes * 60
            for number, cell in enumerate(left, 1):
                if time.monotonic() > deadline:
                    break
                result = world.run(cell) | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
                with results.open("a") as stream:
                    stream.write(json.dumps(result) + "\n")
                sys.stderr.write(f"{number}/{len(left)} {cell.key}: {result['outcome']} {result['problems']}\n")
        finally:
            cloud.down(forget=True)
    found = [json.loads(line) for line in results.read_text().splitlines()]
    text = section(machine, found, total=len(cells), load=os.getloadavg()[0])
    write(ROOT / "docs" / "campaign.md", SECTIONS[machine].name, text)
    return sum(bool(result["problems"]) for result in found)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 600.0) else 0)
