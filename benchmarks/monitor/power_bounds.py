"""``python -m benchmarks.monitor.power_bounds [windows]``: how often any test could find the shifts that ours misses too often.

The windows of `power` with 5,000 rows, and of each one test that knows what a monitor cannot: the feature, its cell, and that the
share rose. It asks what ours asks (more than the margin, from a sample of 20,000), at all that one feature of the table has of the
significance, and pays for no other rule or cell. Of a share above a known one no test at that level finds more (Karlin and Rubin).
Of one hour among 168 it is the mean's, its deviation known; once for the hour that moved, once for all that may have.

See: Karlin and Rubin 1956, "The theory of decision procedures for distributions with monotone likelihood ratio", Annals of
Mathematical Statistics 27.
"""

import sys
from functools import partial
from statistics import NormalDist

import numpy as np
from benchmarks.monitor.campaign import SPEC, Ledger, columns, fit, percent
from benchmarks.monitor.hours import OF_AN_HOUR, Case
from benchmarks.monitor.power import BASELINE_ROWS, BASELINES
from benchmarks.monitor.windows import PAIRS, SHIFTS, independent

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, plain
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.rules import BIN_PART, excess_tail, margin_of
from mlops_runtime.monitor.spec import MonitorSpec

ROWS = 5_000
BOUNDED = ("dearest 1 % become 3 %", "a default in 5 %", "unseen level 2 % among 5,000")
MOVED = 1.5  # of one hour, in standard deviations
HOUR = Case(168, 8, 30)


def known_share(compared: Comparison, shift: str) -> tuple[float, float, float]:
    """Return the share that a shift raises: its rows in the baseline and in the window, and by how much it may rise.

    Args:
        compared: The shifted feature.
        shift: One of ``BOUNDED``.
    """
    n, spec = compared.baseline_rows, SPEC
    if compared.cells.new is not None:
        foreseen = (compared.feature.unseen_share or 0.0) * n
        return foreseen, float(compared.observed[compared.cells.new]), spec.minimum_share
    if compared.tails is not None and shift == BOUNDED[0]:
        a, b = float(compared.tails.expected[-1]), float(compared.tails.observed[-1])
    else:
        cell = int(np.searchsorted(np.array(compared.feature.edges), 0.5, side="right"))
        a, b = float(compared.expected[cell]), float(compared.observed[cell])
    within = MonitorSpec(minimum_effect=spec.minimum_effect * BIN_PART**2, minimum_share=spec.minimum_share)
    return a, b, margin_of(a / n, within)


def bounded(baseline: Baseline, shift: str, seed: int, windows: int) -> dict[str, int]:
    """Return in how many windows ours names the shifted feature, and the test that knows the share rejects."""
    names = [feature.name for feature in baseline.features]
    place = names.index(SHIFTS[shift])
    ours = bound = 0
    for index in range(windows):
        counts = count_columns(columns(independent(ROWS, 104_729 * (seed + 1) + index, shift)), baseline)
        decided = decide(baseline, counts, SPEC)
        ours += decided[place].drift.drifted
        compared = plain(baseline.features[place], counts.features[place])
        a, b, margin = known_share(compared, shift)
        p_value = excess_tail(b, compared.window_rows, a, compared.baseline_rows, margin=margin, effect=1.0)
        bound += p_value <= SPEC.significance / len(decided)
    return {"windows": windows, "ours": ours, "bound": bound}


def hour_bounds(case: Case, shift: float, significance: float) -> tuple[float, float]:
    """Return how often the mean of the hour that moved is found by a test that knows which, and by one that tries all.

    Example:
        >>> [round(bound, 3) for bound in hour_bounds(HOUR, 1.5, 0.01 / 30)]
        [0.998, 0.958]
    """
    normal, hour = NormalDist(), OF_AN_HOUR**2
    error = (hour + 1 / case.rows + (hour + 1 / case.rows) / case.times) ** 0.5
    apart = (shift - SPEC.minimum_effect**0.5) / error
    known, tried = (normal.cdf(apart + normal.inv_cdf(significance / tests)) for tests in (1, case.hours))
    return known, tried


def main() -> None:
    """Measure what is not measured yet and print one table."""
    each = max(1, (int(sys.argv[1]) if len(sys.argv) > 1 else 240) // BASELINES)
    ledger = Ledger("power_bounds")
    print("| shift, 5,000 rows | windows | ours | a test that knows which share rose |\n|---|---|---|---|")
    baselines = [fit(independent(BASELINE_ROWS, 611_953 + seed), pairs=PAIRS) for seed in range(BASELINES)]
    for shift in BOUNDED:
        parts = [
            ledger.measure(f"{shift} | {seed}/{each}", partial(bounded, baseline, shift, seed, each))
            for seed, baseline in enumerate(baselines)
        ]
        windows, ours, bound = (sum(part[name] for part in parts) for name in ("windows", "ours", "bound"))
        print(f"| {shift} | {windows} | {percent(ours, windows)} | {percent(bound, windows)} |", flush=True)
    known, tried = hour_bounds(HOUR, MOVED, SPEC.significance / 30)
    print(
        f"\none hour of 168 by {MOVED} deviations: {known:.1%} by a test that knows the hour, {tried:.1%} by one of all"
    )


if __name__ == "__main__":
    main()
