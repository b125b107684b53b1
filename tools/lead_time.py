"""Sum the table of docs/lead_time.md: ``python tools/lead_time.py`` prints the sums, ``--write`` updates them in the page.

Each row has a step's minimum, likely and maximum seconds. The tool reports the sums of all minima, likely values and maxima (every
step at its best or worst at once), and the 5th, 50th and 95th percentile of the sum of independent triangular distributions, drawn
with a fixed seed.
"""

import argparse
import random
import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "lead_time.md"
MARKS = ("<!-- sums -->\n", "<!-- end of sums -->\n")
GOAL = 7200  # two hours
SEED, DRAWS = 2017, 20_000
# sums to which a part of the path adds; CI does not run for a retraining started by an alarm
PATHS = {
    "CI": ("commit to full traffic", "commit to promotion"),
    "Retrain": ("commit to full traffic", "commit to promotion", "alarm to full traffic", "alarm to promotion"),
    "Deploy": (
        "commit to full traffic",
        "commit to promotion",
        "alarm to full traffic",
        "alarm to promotion",
        "approval to full traffic",
    ),
    "After": ("commit to promotion", "alarm to promotion"),
}
_ROW = re.compile(r"\| (\w+) \| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \| ([^|]+) \|")


@dataclass(frozen=True, slots=True)
class Step:
    """One row: part of the path, step, its seconds, and their source."""

    part: str
    name: str
    least: int
    likely: int
    most: int
    source: str


def read_steps(page: str) -> list[Step]:
    """Return the rows of the page's table.

    Example:
        >>> read_steps("| CI | tests | 360 | 516 | 900 | measured |")[0].likely
        516
    """
    rows = (match.groups() for line in page.splitlines() if (match := _ROW.fullmatch(line)))
    return [
        Step(part, name, int(least), int(likely), int(most), source) for part, name, least, likely, most, source in rows
    ]


def percentiles(steps: list[Step]) -> tuple[float, float, float, float]:
    """Return the 5th, 50th and 95th percentile of the sum, and the share of draws within the goal."""
    generator = random.Random(SEED)  # noqa: S311 # a simulation
    sums = sorted(sum(generator.triangular(step.least, step.most, step.likely) for step in steps) for _ in range(DRAWS))
    within = sum(total <= GOAL for total in sums) / DRAWS
    return sums[DRAWS // 20], sums[DRAWS // 2], sums[DRAWS - DRAWS // 20], within


def summary(steps: list[Step]) -> str:
    """Return the table of sums, in minutes."""
    paths = dict.fromkeys(path for part in ("CI", "Retrain", "Deploy") for path in PATHS[part])
    lines = [
        "| path | all at their least | all likely | all at their most | 5 % | median | 95 % | draws within two hours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in paths:
        chosen = [step for step in steps if path in PATHS[step.part]]
        bounds = [_minutes(sum(getattr(step, name) for step in chosen)) for name in ("least", "likely", "most")]
        low, middle, high, within = percentiles(chosen)
        cells = [path, *bounds, *map(_minutes, (low, middle, high)), _share(within)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def with_summary(page: str) -> str:
    """Return the page with the sums between its marks."""
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}{summary(read_steps(page))}{MARKS[1]}{after}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _share(within: float) -> str:
    # the draws are independent: they exclude days on which all steps are slow
    return f"{100 * within:.1f} %" if within < 0.999 else "over 99.9 %"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="put the sums into the page")
    text = PAGE.read_text()
    if parser.parse_args().write:
        PAGE.write_text(with_summary(text))
    print(summary(read_steps(text)))
