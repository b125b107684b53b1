"""``python -m benchmarks.monitor.hours [runs]``: rows whose mean varies with the hour, compared given the hour.

One feature at the significance of one of thirty. Each hour also has a random mean of its own (sd 0.1): hours are
clusters, and a window contains every hour once. Shifts: every hour moves, one hour moves, or half of them go up and
half down, which cancels without conditions. 40 runs.
"""

import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from benchmarks.monitor.campaign import Ledger

from mlops_runtime.contracts.monitor import Condition
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.spec import MonitorSpec

SPEC = MonitorSpec(significance=0.01 / 30)
SHIFTS = ("quiet", "all +0.3 sd", "one hour +1.5 sd", "half +0.5, half -0.5 sd")
RUNS = 40
OF_AN_HOUR = 0.1


@dataclass(frozen=True, slots=True)
class Case:
    """A reference and its windows.

    Args:
        hours: Number of distinct hours: 24 of a day, or 168 of a week.
        times: Repetitions of each hour in the reference.
        rows: Rows per hour.
    """

    hours: int
    times: int
    rows: int


CASES = (Case(24, 14, 210), Case(24, 14, 2_000), Case(168, 4, 210), Case(168, 8, 30))


def drawn(case: Case, times: int, shift: str, random: np.random.Generator) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return values in the order of hours, and the hour of each as a string."""
    hour = np.arange(case.hours)
    moved = {
        "quiet": np.zeros(case.hours),
        "all +0.3 sd": np.full(case.hours, 0.3),
        "one hour +1.5 sd": np.where(hour == case.hours // 3, 1.5, 0.0),
        "half +0.5, half -0.5 sd": np.where(hour % 2, 0.5, -0.5),
    }[shift]
    means = np.sin(2 * np.pi * hour / case.hours) + moved + random.normal(0, OF_AN_HOUR, (times, case.hours))
    values = means[..., None] + random.normal(size=(times, case.hours, case.rows))
    return values.ravel(), np.tile(np.repeat([f"{at:03d}" for at in hour], case.rows), times).tolist()


def measured(case: Case, seed: int, runs: int) -> dict[str, int]:
    """Return the number of runs in which each shift was found, one baseline per run."""
    random = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(runs):
        values, hours = drawn(case, case.times, "quiet", random)
        baseline = fit_baseline(
            {"x": values, "hour": hours},
            types={"x": "number", "hour": "category"},
            training_set_id="t",
            created="2026-11-29T00:00:00Z",
            clusters=np.repeat(np.arange(case.times * case.hours), case.rows),
            conditions=[Condition(name="hour")],
        )
        for shift in SHIFTS:
            window, at = drawn(case, 1, shift, random)
            verdict = decide(baseline, count_columns({"x": window, "hour": at}, baseline), SPEC)
            # the step-down would count null patterns too, as a second feature
            found[shift] += next(one.p_value <= SPEC.significance for one in verdict if one.name == "x")
    return {shift: found[shift] for shift in SHIFTS} | {"runs": runs}


def row(case: Case, found: dict[str, int]) -> str:
    """Return one row of the table."""
    shown = " | ".join(f"{100 * found[shift] / found['runs']:.0f} %" for shift in SHIFTS)
    return f"| {case.hours} | {case.times} | {case.rows} | {shown} |"


def main() -> None:
    """Measure the missing results and print one table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    ledger = Ledger("hours")
    print(f"| hours | times in the reference | rows of each | {' | '.join(SHIFTS)} |\n|{'---|' * (3 + len(SHIFTS))}")
    for case in CASES:
        print(row(case, ledger.measure(f"{case} | {runs}", partial(measured, case, 1, runs))), flush=True)


if __name__ == "__main__":
    main()
