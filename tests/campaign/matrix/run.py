"""``python -m tests.campaign.matrix.run deploy|slots|retrain FOLDER [MINUTES]``: runs the cells without a result."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.campaign.matrix.cells import Cell, Result, all_cells, reached
from tests.campaign.matrix.machines import MACHINES
from tests.campaign.matrix.report import SECTIONS, section
from tests.campaign.page import write

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "campaign.md"
RESULTS = {"deploy": "matrix.jsonl", "slots": "matrix-slots.jsonl", "retrain": "matrix-retrain.jsonl"}


def main(name: str, folder: Path, minutes: float, page: Path = PAGE) -> int:
    """Run cells until all are done or the time is up, then write the page; return the number of cells with problems."""
    folder.mkdir(parents=True, exist_ok=True)
    machine, results = MACHINES[name], folder / RESULTS[name]
    found = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    with machine.world() as make:
        runs = reached(make, machine.scenarios)
        cells, done = all_cells(machine.faults(runs), machine.crashes(runs)), {each["key"] for each in found}
        left = [cell for cell in cells if cell.key not in done]
        run = partial(machine.runner.run, make)
        found += _go_through(run, left, results, time.monotonic() + minutes * 60)
    write(page, SECTIONS[name].name, section(name, found, cells, load=os.getloadavg()[0]))
    keys = {cell.key for cell in cells}
    return sum(bool(each["problems"]) for each in found if each["key"] in keys)


def _go_through(
    run: Callable[[Cell], Result], left: Sequence[Cell], results: Path, deadline: float
) -> list[dict[str, Any]]:
    found = []
    for number, cell in enumerate(left, 1):
        if time.monotonic() > deadline:
            break
        started = time.process_time()
        result = asdict(run(cell)) | {"key": cell.key, "kind": cell.kind, "state": cell.state}
        result |= {"scenario": cell.scenario, "seconds": round(time.process_time() - started, 2)}
        found.append(result | {"at": datetime.now(UTC).isoformat(timespec="seconds")})
        with results.open("a") as stream:
            stream.write(json.dumps(found[-1]) + "\n")
        if result["problems"] or number % 100 == 0:
            sys.stderr.write(f"{number}/{len(left)} {cell.key}: {result['outcome']} {result['problems']}\n")
    return found


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 600.0) else 0)
