"""``python -m tests.campaign.faults.run FOLDER [MINUTES]``: the cells that are not done yet, on an embedded cloud of its own."""

import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.campaign.faults.cells import cells
from tests.campaign.faults.report import section, write
from tests.campaign.faults.world import Faults

from mlops_local import cloud as local_cloud

ROOT = Path(__file__).resolve().parents[3]
CLOCK_SCALE = 120.0  # half a second of a bake for the calls that are its evidence


def main(folder: Path, minutes: float) -> int:
    """Run cells until all are done or time is up, then write the page; returns the number of cells with problems."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "faults.jsonl"
    done = {json.loads(line)["key"] for line in results.read_text().splitlines()} if results.exists() else set()
    left = [cell for cell in cells() if cell.key not in done]
    deadline = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory() as scratch:
        cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=CLOCK_SCALE)
        try:
            world = Faults(cloud, Path(scratch))
            for number, cell in enumerate(left, 1):
                if time.monotonic() > deadline:
                    break
                result = world.run(cell) | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
                with results.open("a") as stream:
                    stream.write(json.dumps(result) + "\n")
                sys.stderr.write(f"{number}/{len(left)} {cell.key}: {result['outcome']} {result['problems']}\n")
        finally:
            cloud.down()
    found = [json.loads(line) for line in results.read_text().splitlines()]
    write(ROOT / "docs" / "campaign.md", section(found, total=len(cells()), load=os.getloadavg()[0]))
    return sum(bool(result["problems"]) for result in found)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 600.0) else 0)
