"""``python -m tests.campaign.turning.run FOLDER``: images that are right at first and then are not, each approved under traffic.

What turns is the answer, a constant within all bounds or an error under status 200. By what: time, calls, a process that is
replaced, one instance of two. What is in ``turning.jsonl`` is not run again.
"""

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from examples.retail.loop import LoopError
from tests.campaign.candidates import images
from tests.campaign.page import marks, write
from tests.examples import models
from tests.examples.test_rollouts import Shop

from mlops_local import cloud as local_cloud
from mlops_local.runners import EXTRA

PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
NAME, RESULTS = "turning", "turning.jsonl"
SEED = 20261129
WHAT = ("constant", "error")
# a rehearsal makes 6 calls within a second; a new fleet is asked for longer, and more often
BY = {"time": (3, 6), "calls": (12, 40), "process": (12, 40), "instance": (12, 40)}
GOOD = 2.0
CLOCK_SCALE = 60.0


def cells() -> Iterator[tuple[str, str]]:
    """Yield what turns and by what, with an amount that follows from the seed."""
    random = np.random.default_rng(SEED)
    for what, (by, (low, high)) in itertools.product(WHAT, BY.items()):
        yield images.TURNS, f"{what}/{by}/{int(random.integers(low, high + 1))}"


def results(folder: Path) -> list[dict[str, Any]]:
    """Return what was run so far."""
    path = folder / RESULTS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def roll_out(shop: Shop, number: int, cell: tuple[str, str]) -> dict[str, Any]:
    """Approve one, and return what became of it."""
    began, live = time.monotonic(), shop.loop.live()
    try:
        shop.approve(3.0 + number / 8, image=models.faulty_image(*cell))
    except LoopError as error:
        assert "ended FAILED" in str(error), error
    record = shop.loop.audit()[-1]
    return {
        "cell": cell[1],
        "outcome": record.outcome.value,
        "reason": record.reason[:600],
        "kept": shop.loop.live() == live,
        "seconds": round(time.monotonic() - began, 1),
    }


def section(rows: list[dict[str, Any]]) -> str:
    """Write the section of ``docs/campaign.md``."""
    begin, end = marks(NAME)
    stopped = [row for row in rows if row["kept"]]
    lines = [
        begin,
        "## Images that are right at first",
        "",
        f"{len(stopped)} of {len(rows)} images that are right at first and then answer a constant within all bounds, or an error",
        "under status 200, did not stay live: SageMaker rolled back in a bake, or the machine before the promotion.",
        f"An endpoint with golden requests, capture and a linear rollout; seed {SEED}, one amount each.",
        "",
        "`python -m tests.campaign.turning.run .mlops/campaign`",
        "",
        "| what it turns to, by what, at which amount | outcome | what found it | seconds |",
        "|---|---|---|---|",
    ]
    for row in rows:
        found = [
            name
            for name, words in (
                ("golden requests", "golden requests, asked again"),
                ("captures", "captured answers had no"),
            )
            if words in row["reason"] and row["kept"]
        ]
        others = "another check" if row["kept"] else "nothing"
        lines.append(f"| `{row['cell']}` | {row['outcome']} | {', '.join(found) or others} | {row['seconds']} |")
    return "\n".join([*lines, "", end, ""])


def run(folder: Path) -> None:
    """Run what has no result yet, and write the page."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {row["cell"] for row in results(folder)}
    left = [cell for cell in cells() if cell[1] not in done]
    if left:
        os.environ[EXTRA] = images.serve_commands(left)
        with tempfile.TemporaryDirectory(prefix="mlops-turning-") as scratch:
            cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=CLOCK_SCALE)
            try:
                shop = Shop(cloud, Path(scratch))
                shop.approve(GOOD)
                for number, cell in enumerate(left, 1):
                    with (folder / RESULTS).open("a") as stream:
                        stream.write(json.dumps(roll_out(shop, number, cell)) + "\n")
            finally:
                cloud.down(forget=True)
    write(PAGE, NAME, section(results(folder)))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
