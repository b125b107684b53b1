"""``python -m tests.campaign.turning.run FOLDER [slots]``: images that respond correctly at first and wrongly later, under traffic.

The response turns into a constant within all bounds or an error with status 200. Triggers: time, calls, a replaced process,
one instance of two. On SageMaker, or between slots on EKS. Images in ``turning.jsonl`` are not run again.
"""

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from examples.retail.loop import LoopError
from tests.campaign.candidates import images
from tests.campaign.page import marks, write
from tests.examples import models, test_eks_loop, test_rollouts

from mlops_local import cloud as local_cloud
from mlops_local.runners import EXTRA

PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
SEED = 20261129
WHAT = ("constant", "error")
# a rehearsal makes 6 calls within a second; a new fleet is called for longer, and more often
BY = {"time": (3, 6), "calls": (12, 40), "process": (12, 40), "instance": (12, 40)}
GOOD = 2.0
CLOCK_SCALE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployment that serves the images.

    Args:
        name: Name of the section and of the file of results.
        title: Title of the section.
        shop: Makes the deployment.
        description: Sentences on images that did not stay live, and on the deployment.
        argument: Command-line argument of the campaign.
    """

    name: str
    title: str
    shop: Callable[[local_cloud.Cloud, Path], Any]
    description: tuple[str, ...]
    argument: str = ""

    @property
    def results(self) -> str:
        """Name of the file of results."""
        return f"{self.name}.jsonl"


SAGEMAKER = Target(
    name="turning",
    title="Images that are right at first",
    shop=test_rollouts.Shop,
    description=(
        "with status 200, did not stay live: SageMaker rolled back during a bake, or the machine before the promotion.",
        f"An endpoint with golden requests, capture and a linear rollout; seed {SEED}, one amount each.",
    ),
)
SLOTS = Target(
    name="turning-slots",
    title="Images that are right at first, between slots",
    shop=test_eks_loop.Shop,
    description=(
        "with status 200, did not stay live: the weights were restored, or never changed.",
        f"A service on EKS with golden requests and a canary of 25 %, two pods a slot; seed {SEED}, one amount each.",
    ),
    argument=" slots",
)


def cells() -> Iterator[tuple[str, str]]:
    """Yield response and trigger, with a seeded amount."""
    random = np.random.default_rng(SEED)
    for what, (by, (low, high)) in itertools.product(WHAT, BY.items()):
        yield images.TURNS, f"{what}/{by}/{int(random.integers(low, high + 1))}"


def results(folder: Path, target: Target) -> list[dict[str, Any]]:
    """Return the results so far."""
    path = folder / target.results
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def roll_out(shop: Any, number: int, cell: tuple[str, str]) -> dict[str, Any]:
    """Approve an image, and return its result."""
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


def section(rows: list[dict[str, Any]], target: Target = SAGEMAKER) -> str:
    """Write the section of ``docs/campaign.md``."""
    begin, end = marks(target.name)
    stopped = [row for row in rows if row["kept"]]
    lines = [
        begin,
        f"## {target.title}",
        "",
        f"{len(stopped)} of {len(rows)} images that are right at first and then return a constant within all bounds, or an error",
        *target.description,
        "",
        f"`python -m tests.campaign.turning.run .mlops/campaign{target.argument}`",
        "",
        "| later response, its trigger and amount | outcome | found by | seconds |",
        "|---|---|---|---|",
    ]
    for row in rows:
        found = [
            name
            for name, words in (
                ("golden requests", "golden requests, sent again"),
                ("golden requests before it had traffic", "golden requests: "),
                ("captures", "captured answers had no"),
            )
            if words in row["reason"] and row["kept"]
        ]
        others = "another check" if row["kept"] else "nothing"
        lines.append(f"| `{row['cell']}` | {row['outcome']} | {', '.join(found) or others} | {row['seconds']} |")
    return "\n".join([*lines, "", end, ""])


def run(folder: Path, target: Target) -> None:
    """Run the images without a result, and write the page."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {row["cell"] for row in results(folder, target)}
    left = [cell for cell in cells() if cell[1] not in done]
    if left:
        os.environ[EXTRA] = images.serve_commands(left)
        with tempfile.TemporaryDirectory(prefix="mlops-turning-") as scratch:
            cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=CLOCK_SCALE)
            try:
                shop = target.shop(cloud, Path(scratch))
                shop.approve(GOOD)
                for number, cell in enumerate(left, 1):
                    with (folder / target.results).open("a") as stream:
                        stream.write(json.dumps(roll_out(shop, number, cell)) + "\n")
            finally:
                cloud.down(forget=True)
    write(PAGE, target.name, section(results(folder, target), target))


if __name__ == "__main__":
    run(Path(sys.argv[1]), SLOTS if sys.argv[2:] == ["slots"] else SAGEMAKER)
