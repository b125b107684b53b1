"""``python -m benchmarks.monitor.paired_conditions [runs]``: a pair of features whose correlation depends on the stratum.

One pair at the significance of one of thirty. Each stratum has its own correlation; clusters are days of 100 rows, a
day belongs to one stratum, and a window is 20 days. Windows without drift have the baseline's mix of strata or another
one; in the others the correlation of every second stratum is inverted. With and without the conditions, 200 windows,
one baseline for 20 of them.
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
WINDOWS = ("quiet", "quiet, another mix", "half turned round")
TYPES = {"price": "number", "units": "number", "kind": "category"}
RUNS, ROWS, DAYS, _OF_A_BASELINE = 200, 100, 20, 20


@dataclass(frozen=True, slots=True)
class Case:
    """A reference.

    Args:
        strata: Number of strata.
        days: Days in the baseline.
        noise: Standard deviation of each day's own mean; rows of a day correlate if above 0.
    """

    strata: int
    days: int
    noise: float


CASES = (Case(2, 60, 0.0), Case(2, 60, 0.3), Case(7, 140, 0.3))


def drawn(
    case: Case, days: int, window: str, random: np.random.Generator
) -> tuple[dict[str, npt.ArrayLike], npt.NDArray[np.int64]]:
    """Return columns of rows, and each row's day."""
    weights = np.ones(case.strata)
    if window == "quiet, another mix":
        weights[-1] = 4.0 * case.strata
    kind = random.choice(case.strata, size=days, p=weights / weights.sum())
    correlation = np.linspace(-0.1, 0.7, case.strata)[kind]
    if window == "half turned round":
        correlation = np.where(kind % 2, -correlation, correlation)
    of_day = np.repeat(np.arange(days), ROWS)
    r = correlation[of_day]
    price, rest = (random.normal(size=days * ROWS) for _ in range(2))
    units = r * price + np.sqrt(1 - r**2) * rest
    moves = random.normal(0, case.noise, size=(2, days))[:, of_day] if case.noise else np.zeros((2, 1))
    return {"price": price + moves[0], "units": units + moves[1], "kind": [f"k{k}" for k in kind[of_day]]}, of_day


def measured(case: Case, seed: int, runs: int) -> dict[str, int]:
    """Return the number of runs in which each window drifted, with and without the conditions."""
    random = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    baseline = None
    for run in range(runs):
        if baseline is None or run % _OF_A_BASELINE == 0:
            columns, days = drawn(case, case.days, "quiet", random)
            baseline = fit_baseline(
                columns, types=TYPES, training_set_id="t", created="2026-11-30T00:00:00Z", clusters=days,
                conditions=[Condition(name="kind")], pairs=[("price", "units")],
            )  # fmt: skip
        for window in WINDOWS:
            counts = count_columns(drawn(case, DAYS, window, random)[0], baseline)
            for given in (True, False):
                pair = decide(baseline, counts, SPEC, given_conditions=given)[-1]
                found[f"{window}{'' if given else ', without'}"] += pair.p_value <= SPEC.significance
    return dict(found) | {"runs": runs}


def row(case: Case, found: dict[str, int]) -> str:
    """Return one row of the table."""
    shown = " | ".join(
        f"{100 * found.get(window, 0) / found['runs']:.1f}; {100 * found.get(f'{window}, without', 0) / found['runs']:.1f} %"
        for window in WINDOWS
    )
    return f"| {case.strata} | {case.days} | {case.noise:g} | {shown} |"


def main() -> None:
    """Measure the missing results and print one table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    ledger = Ledger("paired_conditions")
    print(f"| strata | days | sd of a day's mean | {' | '.join(WINDOWS)} |\n|{'---|' * (3 + len(WINDOWS))}")
    for case in CASES:
        print(row(case, ledger.measure(f"{case} | {runs}", partial(measured, case, 1, runs))), flush=True)


if __name__ == "__main__":
    main()
