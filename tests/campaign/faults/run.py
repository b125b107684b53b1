"""``python -m tests.campaign.faults.run deploy|retrain|promotion FOLDER [MINUTES]``: runs the cells without a result."""

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.campaign.faults.cells import Cell
from tests.campaign.faults.deploy import DeployFaults
from tests.campaign.faults.promotion import PromotionFaults
from tests.campaign.faults.report import SECTIONS, section
from tests.campaign.faults.retrain import RetrainFaults
from tests.campaign.page import write

from mlops_local import cloud as local_cloud

PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
CLOCK_SCALE = 120.0  # half a second of a bake for the calls that are its evidence
CELLS_OF_A_CLOUD = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Location of a campaign's results, the world of its cells, and the number of accounts."""

    results: str
    world: Any
    accounts: int = 1


CAMPAIGNS = {
    "deploy": Campaign(results="faults.jsonl", world=DeployFaults),
    "retrain": Campaign(results="faults-retrain.jsonl", world=RetrainFaults),
    "promotion": Campaign(results="faults-promotion.jsonl", world=PromotionFaults, accounts=3),
}


def main(machine: str, folder: Path, minutes: float, page: Path = PAGE) -> int:
    """Run cells until all are done or the time is up, then write the page; return the number of cells with problems."""
    folder.mkdir(parents=True, exist_ok=True)
    results, deadline = folder / CAMPAIGNS[machine].results, time.monotonic() + minutes * 60
    cells, left = _run_some(CAMPAIGNS[machine], results, deadline)
    while left and time.monotonic() < deadline:
        cells, left = _run_some(CAMPAIGNS[machine], results, deadline)
    keys = {cell.key for cell in cells}
    found = [each for each in _read(results) if each["key"] in keys]
    write(page, SECTIONS[machine].name, section(machine, found, total=len(cells), load=os.getloadavg()[0]))
    return sum(bool(result["problems"]) for result in found)


def _run_some(campaign: Campaign, results: Path, deadline: float) -> tuple[list[Cell], int]:
    """Run some cells on a new cloud, because accumulated state slows a cloud; return all results and the number left."""
    done = {each["key"] for each in _read(results)}
    with tempfile.TemporaryDirectory() as scratch:
        cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=CLOCK_SCALE, account_count=campaign.accounts)
        try:
            world = campaign.world(cloud, Path(scratch))
            cells: list[Cell] = world.cells()
            left = [cell for cell in cells if cell.key not in done]
            for number, cell in enumerate(left[:CELLS_OF_A_CLOUD]):
                if time.monotonic() > deadline:
                    return cells, len(left) - number
                result = world.run(cell) | {"at": datetime.now(UTC).isoformat(timespec="seconds")}
                with results.open("a") as stream:
                    stream.write(json.dumps(result) + "\n")
                sys.stderr.write(f"{number + 1}/{len(left)} {cell.key}: {result['outcome']} {result['problems']}\n")
        finally:
            cloud.down(forget=True)
    return cells, max(0, len(left) - CELLS_OF_A_CLOUD)


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 600.0) else 0)
