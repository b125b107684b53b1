"""``python -m benchmarks.monitor.power_bounds [windows]``: how often any test could find the shifts that ours often misses.

The windows of `power` with 5,000 rows, and for each a test that knows what a monitor cannot: the feature, its cell, and
that the share rose. It tests the same hypothesis (a rise by more than the margin, from a sample of 20,000), at the
whole significance of one feature of the table, without paying for other rules or cells. For a rise above a known share
no test at that level has more power (Karlin and Rubin).

For one hour among 168 the bounds are of tests that know less and less, and decide on an hour by its own rows alone.
They know that values are normal, how hours differ, and that at most the mean of one hour moved. Hours are independent,
so each may be wrong in 1 - (1 - significance)^(1 / 168) of the windows. The unknown direction costs nothing: a mean at
the margin on one side hardly ever exceeds it on the other. With a known deviation, the test of the mean has the most
power (Karlin and Rubin). With a deviation learned from the hour's own rows, the verdict cannot depend on the unit of
the values; among those tests Student's t, non-central at the margin, has the most power (Lehmann and Romano, 6.4). A
deviation assumed equal for all hours makes prices of the night alarm.

See: Karlin and Rubin 1956, "The theory of decision procedures for distributions with monotone likelihood ratio", Annals
of Mathematical Statistics 27; Lehmann and Romano 2005, "Testing Statistical Hypotheses", third edition.
"""

import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
from benchmarks.monitor.campaign import SPEC, Ledger, columns, fit, percent
from benchmarks.monitor.hours import OF_AN_HOUR, Case
from benchmarks.monitor.power import BASELINE_ROWS, BASELINES
from benchmarks.monitor.windows import PAIRS, SHIFTS, independent
from scipy import stats

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, plain
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.rules import BIN_PART, excess_tail, margin_of
from mlops_runtime.monitor.spec import MonitorSpec

ROWS = 5_000
BOUNDED = ("dearest 1 % become 3 %", "a default in 5 %", "unseen level 2 % among 5,000")
MOVED = 1.5  # shift of one hour, in standard deviations
HOUR = Case(168, 8, 30)


def known_share(compared: Comparison, shift: str) -> tuple[float, float, float]:
    """Return the share that a shift raises: its rows in baseline and window, and the largest rise that is allowed.

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
    """Return in how many windows ours reports the shifted feature, and in how many the test that knows the share rejects."""
    names = [feature.name for feature in baseline.features]
    place = names.index(SHIFTS[shift])
    ours = bound = 0
    for index in range(windows):
        counts = count_columns(columns(independent(ROWS, 104_729 * (seed + 1) + index, shift)), baseline)
        decided = decide(baseline, counts, SPEC)
        ours += decided[place].drifted
        compared = plain(baseline.features[place], counts.features[place])
        a, b, margin = known_share(compared, shift)
        p_value = excess_tail(b, compared.window_rows, a, compared.baseline_rows, margin=margin, effect=1.0)
        bound += p_value <= SPEC.significance / len(decided)
    return {"windows": windows, "ours": ours, "bound": bound}


@dataclass(frozen=True, slots=True)
class HourBounds:
    """How often the shifted mean of one hour can be found.

    Args:
        known: By a test that knows the hour and its deviation.
        tried: By a test of all hours with known deviations.
        learned: By a test of all hours that learns each deviation from the hour's rows.
        halved: By ``learned`` with half of the significance; the other half is for any other change.
    """

    known: float
    tried: float
    learned: float
    halved: float


def hour_bounds(case: Case, shift: float, significance: float) -> HourBounds:
    """Return how often the shifted mean of an hour is found by tests that know less and less.

    Example:
        >>> bounds = hour_bounds(HOUR, 1.5, 0.01 / 30)
        >>> round(bounds.known, 3), round(bounds.tried, 3), round(bounds.learned, 3), round(bounds.halved, 3)
        (0.998, 0.958, 0.943, 0.923)
    """
    one = 1 - (1 - significance) ** (1 / case.hours)
    margin, moved = (by / error_of(case) for by in (SPEC.minimum_effect**0.5, shift))
    known, tried = (float(stats.norm.sf(stats.norm.isf(level) + margin - moved)) for level in (significance, one))
    learned, halved = (float(stats.nct.sf(critical(case, level), freedom_of(case), moved)) for level in (one, one / 2))
    return HourBounds(known, tried, learned, halved)


def error_of(case: Case) -> float:
    """Return the standard error of the difference between an hour's mean and the baseline's, in standard deviations."""
    one = OF_AN_HOUR**2 + 1 / case.rows
    return float((one + one / case.times) ** 0.5)


def freedom_of(case: Case) -> int:
    """Return the degrees of freedom of an hour's deviation: its rows in baseline and window less two means."""
    return (case.times + 1) * case.rows - 2


def critical(case: Case, level: float) -> float:
    """Return the critical value of an hour's Student's t: exceeded in ``level`` of windows whose mean is at the margin."""
    return float(stats.nct.isf(level, freedom_of(case), SPEC.minimum_effect**0.5 / error_of(case)))


def main() -> None:
    """Measure the missing results and print one table."""
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
    found = hour_bounds(HOUR, MOVED, SPEC.significance / 30)
    print(f"\none hour of 168 by {MOVED} deviations: {found}")


if __name__ == "__main__":
    main()
