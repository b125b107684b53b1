"""``python -m benchmarks.monitor.power [windows]``: shifts found in windows of independent rows, and their reported features.

Each shift of `windows.SHIFTS` at several sizes; then the delay until a slow rise is found. Default: 40 windows per shift.
"""

import sys
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.monitor.campaign import Ledger, fit, percent, verdicts
from benchmarks.monitor.windows import PAIRS, SHIFTS, independent

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.monitors.drift.persistence import is_persistent
from mlops_runtime.monitor.spec import MonitorSpec

BASELINE_ROWS = 20_000
SIZES = (200, 1_000, 5_000, 20_000)
BASELINES = 8
# rise of a price per window, and rows of a window
RAMPS = ((0.01, 5_000), (0.02, 5_000), (0.05, 5_000), (0.02, 1_000))
RAMP_WINDOWS = 40


def shifted(baseline: Baseline, shift: str, size: int, seed: int, windows: int) -> dict[str, Any]:
    """Measure how often a shift is found and its feature reported, and by which rule."""
    found = named = 0
    rules: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for index in range(windows):
        judged = verdicts(baseline, independent(size, 104_729 * (seed + 1) + index, shift))
        drifted = {one.name: one for one in judged if one.drifted}
        found += bool(drifted)
        named += SHIFTS[shift] in drifted
        rules.update(str(one.rule) for name, one in drifted.items() if name == SHIFTS[shift])
        others.update(name for name in drifted if name != SHIFTS[shift])
    return {"windows": windows, "found": found, "named": named, "rules": dict(rules), "others": dict(others)}


def delay(baseline: Baseline, slope: float, size: int, seed: int) -> dict[str, Any]:
    """Measure in which window the drift of a rising price is first detected, and first persists."""
    spec = MonitorSpec()
    past: list[Any] = []
    seen: int | None = None
    for index in range(RAMP_WINDOWS):
        rows = independent(size, 15_485_863 + 977 * seed + index)
        price = rows.column("n10").to_numpy(zero_copy_only=False) * (1 + slope * (index + 1))
        column = pa.array(price, mask=np.isnan(price))
        judged = verdicts(baseline, rows.set_column(rows.schema.get_field_index("n10"), "n10", column))
        one = next(one for one in judged if one.name == "n10")
        if one.drifted and seen is None:
            seen = index + 1
        if is_persistent(one, past[-2:], spec):
            return {"seen": seen, "persists": index + 1}
        past.append(judged)
    return {"seen": seen, "persists": None}


def shift_row(shift: str, baselines: list[Baseline], each: int, ledger: Ledger) -> str:
    """Return the row of one shift: how often its feature is reported at each size."""
    cells, rules, others, total = [], Counter[str](), Counter[str](), 0
    for size in SIZES:
        parts = [
            ledger.measure(f"{shift} | {size} | {seed}/{each}", partial(shifted, baseline, shift, size, seed, each))
            for seed, baseline in enumerate(baselines)
        ]
        trials = sum(part["windows"] for part in parts)
        cells.append(percent(sum(part["named"] for part in parts), trials))
        for part in parts:
            rules.update(part["rules"])
            others.update(part["others"])
        total += trials
    besides = ", ".join(f"{name} {number / total:.0%}" for name, number in others.most_common(2)) or "-"
    return f"| {shift} | {' | '.join(cells)} | {', '.join(name for name, _ in rules.most_common(2))} | {besides} |"


def ramp_row(slope: float, size: int, baselines: list[Baseline], ledger: Ledger) -> str:
    """Return the row of one slow rise: medians of its first detection and of persistence."""
    parts = [
        ledger.measure(f"ramp {slope} | {size} | {seed}", partial(delay, baseline, slope, size, seed))
        for seed, baseline in enumerate(baselines)
    ]
    seen, persists = (float(np.median([part[name] or RAMP_WINDOWS for part in parts])) for name in ("seen", "persists"))
    at = [f"+{slope * window:.0%}, window {window:.0f}" for window in (seen, persists)]
    return f"| {slope:.0%} | {size} | {at[0]} | {at[1]} |"


def main() -> None:
    """Measure the missing results and print two tables."""
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    ledger = Ledger("power")
    baselines = [fit(independent(BASELINE_ROWS, 611_953 + seed), pairs=PAIRS) for seed in range(BASELINES)]
    each = max(1, windows // BASELINES)
    print("| shift | " + " | ".join(f"n = {size}" for size in SIZES) + " | by rule | named besides |")
    print("|---|" + "---|" * (len(SIZES) + 2))
    for shift in SHIFTS:
        print(shift_row(shift, baselines, each, ledger), flush=True)
    print("\n| price rises a window | rows | first seen at | persists at |\n|---|---|---|---|")
    for slope, size in RAMPS:
        print(ramp_row(slope, size, baselines, ledger), flush=True)


if __name__ == "__main__":
    main()
