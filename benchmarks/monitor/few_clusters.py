"""``python -m benchmarks.monitor.few_clusters [draws]``: windows of few clusters of real rows, with and without shifts.

Days, stores or households of grocery lines are drawn at random: a few dozen are the baseline, a window is one or a few
others. Default: 8 draws of at most 12 windows.
"""

import sys
from collections import Counter
from functools import partial

import numpy as np
import pyarrow as pa
from benchmarks.monitor.campaign import Ledger, fit, percent, verdicts
from benchmarks.monitor.windows import WEEKS, Rows, clusters_of, retail

from benchmarks.monitor import false_alarms

# kind of cluster, number in the baseline, number in a window
WINDOWS = {
    "one day": ("day", 42, 1),
    "7 days": ("day", 42, 7),
    "10 stores": ("store", 60, 10),
    "12 households": ("household", 60, 12),
    "30 households": ("household", 60, 30),
}
FLAG = "a flag from 1 to 57 %"
PLANTED = (FLAG, "price +20 %", "10 points of a category")
MINIMUM_ROWS = 200  # of a cluster
DRAWS, MOST = 8, 12
_FLAGGED = "couponed"


def flagged(rows: Rows) -> Rows:
    """Return rows with one more feature: whether a coupon was used, true in 1 % of them."""
    used = np.where(np.nan_to_num(rows.table.column("coupon_disc").to_numpy()) > 0, "yes", "no")
    column = pa.array(used).dictionary_encode()
    table = rows.table.append_column(_FLAGGED, column)
    return Rows(table, rows.household, rows.store, rows.day, rows.hour, rows.week)


def planted(window: pa.Table, shift: str, seed: int) -> tuple[pa.Table, str]:
    """Return a window with a shift, and the feature to be reported.

    Args:
        window: Its rows.
        shift: One of ``PLANTED``.
        seed: Seed of the changed rows.
    """
    if shift != FLAG:
        return false_alarms.planted(window, shift, seed)
    some = np.random.default_rng(seed).random(len(window)) < 0.57
    column = window.column(_FLAGGED).cast(pa.string()).to_numpy(zero_copy_only=False)
    moved = pa.array(np.where(some, "yes", column).tolist(), pa.string())
    return window.set_column(window.schema.get_field_index(_FLAGGED), _FLAGGED, moved), _FLAGGED


def measured(rows: Rows, kind: str, seed: int, most: int) -> dict[str, float]:
    """Return alarms of one kind of window against one baseline, skipped tests, and how often each shift is reported.

    Args:
        rows: Rows of `flagged`.
        kind: One of ``WINDOWS``.
        seed: Seed of the draw.
        most: Maximum number of windows.
    """
    by, known, size = WINDOWS[kind]
    clusters = clusters_of(rows, by)
    enough = np.flatnonzero(np.bincount(clusters) >= MINIMUM_ROWS)
    order = np.random.default_rng(seed).permutation(enough)
    before, rest = rows.take(np.isin(clusters, order[:known])), order[known:]
    baseline = fit(before.table, leave_out="store_id" if by == "store" else None, clusters=clusters_of(before, by))
    found: Counter[str] = Counter()
    for number in range(min(most, len(rest) // size)):
        window = rows.take(np.isin(clusters, rest[number * size : (number + 1) * size])).table
        quiet = verdicts(baseline, window)
        found["windows"] += 1
        found["fired"] += any(one.drifted for one in quiet)
        found["tests"] += len(quiet)
        found["untested"] += sum(one.untested is not None for one in quiet)
        for shift in PLANTED:
            moved, name = planted(window, shift, seed + number)
            found[shift] += any(one.drifted and one.name == name for one in verdicts(baseline, moved))
    return dict(found)


def row(kind: str, parts: list[dict[str, float]]) -> str:
    """Return one row of the table."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    windows = int(total["windows"])
    shown = ", ".join(f"{100 * total[shift] / windows:.0f}" for shift in PLANTED)
    untested = total["untested"] / total["tests"]
    return f"| {kind} | {windows} | {percent(int(total['fired']), windows)} | {untested:.1%} | {shown} % |"


def main() -> None:
    """Measure the missing results and print one table."""
    ledger, year = Ledger("few_clusters"), retail()
    rows = flagged(year.take((year.week >= WEEKS[0]) & (year.week <= WEEKS[1])))
    print(f"| window | windows | quiet, any alarm | not tested | found: {', '.join(PLANTED)} |\n|---|---|---|---|---|")
    for kind in WINDOWS:
        seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS)
        parts = [ledger.measure(f"{kind} | {seed}", partial(measured, rows, kind, seed, MOST)) for seed in seeds]
        print(row(kind, parts), flush=True)


if __name__ == "__main__":
    main()
