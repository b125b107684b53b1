"""Run the campaign and resume it: one JSON line per candidate, appended as soon as its result is known.

``python -m tests.campaign.candidates.run <folder> [part]`` runs a part by itself; `test_campaign.py` runs all of it.
"""

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tests.campaign.candidates import trained
from tests.campaign.candidates.catalogue import SEED, Bad, Good, bad_ones, base, good_ones
from tests.campaign.candidates.path import Way
from tests.campaign.candidates.world import CHAMPION_WEEK, fresh, splits

from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.serving.onnx_model import load_archive

APART = "apart"
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
    """Return the champion: the model of the unit's own script on the set of week 30, as its pipeline trained it."""
    return trained.by_script(splits(CHAMPION_WEEK).train).pack()


def run(folder: Path, part: str, echo: Callable[[str], None]) -> None:
    """Take every candidate of a part without a result through the layers before traffic."""
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
            echo(f"{cell.key}: {found.layer or 'passed'} after {seconds} s {found.reason[:80]}")
    finally:
        way.stop()


def run_apart(folder: Path) -> None:
    """Measure how far every bad candidate that passed is from the good model it was derived from, on weeks no gate saw."""
    bad, done = results(folder, "bad"), results(folder, APART)
    for cell in bad_ones():
        if cell.key in bad and bad[cell.key]["layer"] is None and cell.key not in done:
            record(folder, APART, {"key": cell.key, "share": _apart(cell)})


def _apart(cell: Bad) -> float:
    """Return the share of forecasts of later weeks that differ by more than 1 % and 0.01 units."""
    table, answers = fresh(cell.week).holdout, []
    for archive in (base(cell.week, cell.seed).pack(), cell.make().archive):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "model.tar.gz"
            path.write_bytes(archive)
            model = load_archive(path)
        answers.append(model.predict(model_input(table, model.signature)))
    good, ours = answers
    return round(float((~np.isclose(ours, good, rtol=0.01, atol=0.01)).mean()), 4)


if __name__ == "__main__":
    for chosen in sys.argv[2:] or PARTS:
        run(Path(sys.argv[1]), chosen, lambda text: print(text, flush=True))  # noqa: T201
    run_apart(Path(sys.argv[1]))
