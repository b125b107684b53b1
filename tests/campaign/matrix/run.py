"""``python -m tests.campaign.matrix.run FOLDER [MINUTES]``: the cells that are not done yet, in one process."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from tests.campaign.deploy import Deploy
from tests.campaign.functions import load_handlers, tables, world_maker
from tests.campaign.machine import Run
from tests.campaign.matrix.cells import Cell, crash_cells, fault_cells, reached, run_cell
from tests.campaign.matrix.report import NAME, section
from tests.campaign.page import write

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "campaign.md"
RESULTS = "matrix.jsonl"


def all_cells(runs: dict[str, Run]) -> list[Cell]:
    """Return the cells of faults and of crashes, one after the other: any beginning is a fair sample of both."""
    pairs = chain.from_iterable(zip_longest(fault_cells(runs), crash_cells(runs)))
    return [cell for cell in pairs if cell is not None]


def main(folder: Path, minutes: float, page: Path = PAGE) -> int:
    """Run cells until all are done or time is up, then write the page; returns the number of cells with problems."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / RESULTS
    found = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    with ExitStack() as stack:
        current = stack.enter_context(tables())
        make = world_maker(current, load_handlers(current))
        runs = reached(make)
        cells, done = all_cells(runs), {each["key"] for each in found}
        left = [cell for cell in cells if cell.key not in done]
        found += _go_through(make, left, results, time.monotonic() + minutes * 60)
    write(page, NAME, section(found, cells, load=os.getloadavg()[0]))
    return sum(bool(each["problems"]) for each in found)


def _go_through(
    make: Callable[..., Deploy], left: Sequence[Cell], results: Path, deadline: float
) -> list[dict[str, Any]]:
    found = []
    for number, cell in enumerate(left, 1):
        if time.monotonic() > deadline:
            break
        started = time.process_time()
        result = asdict(run_cell(make, cell)) | {"key": cell.key, "kind": cell.kind, "state": cell.state}
        result |= {"scenario": cell.scenario, "seconds": round(time.process_time() - started, 2)}
        found.append(result | {"at": datetime.now(UTC).isoformat(timespec="seconds")})
        with results.open("a") as stream:
            stream.write(json.dumps(found[-1]) + "\n")
        if result["problems"] or number % 100 == 0:
            sys.stderr.write(f"{number}/{len(left)} {cell.key}: {result['outcome']} {result['problems']}\n")
    return found


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 600.0) else 0)
