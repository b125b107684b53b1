"""``python -m benchmarks.monitor.false_alarms [share]``: alarms of windows without drift, and detected shifts of the same size.

Independent rows; real retail rows split at random by household, store and day, so that whole clusters are in the
baseline or in a window; hours compared with the same hours of other weeks. The clusters of hours are visits, which a
week's promotions move together, or days, which account for that. ``share`` scales the number of windows. Default: 1, an
hour on one core.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.monitor.campaign import Ledger, Verdicts, fit, percent, tally, verdicts
from benchmarks.monitor.windows import (
    PAIRS,
    WEEKS,
    Rows,
    clusters_of,
    draws,
    independent,
    retail,
    split,
)

from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.monitor.monitors.drift.decision import hours_to_add
from mlops_runtime.monitor.spec import MonitorSpec

BASELINE_ROWS = 20_000
INDEPENDENT = {200: 50, 1_000: 50, 5_000: 40, 20_000: 25, 100_000: 10}
INDEPENDENT_BASELINES = 12
CLUSTERED = {1_000: 25, 5_000: 25, 20_000: 25, 100_000: 25}
SPLITS = 8
HOUR_SPLITS = 4
HOURS = 150
HOUR_ROWS = (200, 2_000)
# a household in an hour, or all purchases of a day
HOUR_CLUSTERS = ("visit", "day")
PLANTED = ("price +20 %", "10 points of a category", "5 % nulls")


def planted(rows: pa.Table, shift: str, seed: int) -> tuple[pa.Table, str]:
    """Return retail rows with a shift, and the feature to be reported.

    Args:
        rows: A window.
        shift: One of ``PLANTED``.
        seed: Seed of the changed rows.
    """
    some = np.random.default_rng(seed).random(len(rows))
    if shift == "price +20 %":
        name, values = "unit_price", rows.column("unit_price").to_numpy() * 1.2
        column = pa.array(values, mask=np.isnan(values))
    elif shift == "10 points of a category":
        name, column = "brand", rows.column("brand").cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
        national = column == "National"
        column[national & (some < 0.1 / max(0.1, national.mean()))] = "Private"
        column = pa.array(column.tolist(), type=pa.string())
    else:
        name, values = "quantity", rows.column("quantity").to_numpy()
        column = pa.array(values, mask=some < 0.05)
    return rows.set_column(rows.schema.get_field_index(name), name, column), name


def independent_rows(size: int, seed: int, windows: int) -> dict[str, Any]:
    """Measure windows of independent rows against one baseline."""
    baseline = fit(independent(BASELINE_ROWS, 7919 * seed + 1), pairs=PAIRS)
    found = [verdicts(baseline, independent(size, 7919 * seed + 2 + i)) for i in range(windows)]
    return asdict(tally(found))


def clustered_rows(rows: Rows, by: str, size: int, seed: int, windows: int) -> dict[str, Any]:
    """Measure windows of whole clusters against a baseline of other clusters, and planted shifts in the first of them."""
    known, other = split(rows, by, seed)
    baseline = fit(known.table, leave_out="store_id" if by == "store" else None, clusters=clusters_of(known, by))
    drawn = [window.table for window in islice(draws(other, by, size, seed), windows)]
    found = asdict(tally([verdicts(baseline, window) for window in drawn]))
    return found | _power([(window, {}) for window in drawn[:6]], seed, baseline)


def hours(rows: Rows, by: str, minimum_rows: int, seed: int, windows: int) -> dict[str, Any]:
    """Compare hours of some weeks, merged until there are enough rows, with the same hours of the other weeks.

    Args:
        rows: Retail rows.
        by: One of ``HOUR_CLUSTERS``.
        minimum_rows: Smallest number of rows of a window.
        seed: Seed of the random half of the weeks, and of the hours.
        windows: Number of windows.
    """
    spec = MonitorSpec(minimum_rows=minimum_rows)
    chosen = np.random.default_rng(seed).random(54) < 0.5
    known, other = rows.take(chosen[rows.week]), rows.take(~chosen[rows.week])
    visits = np.unique(known.household * 10**7 + known.hour, return_inverse=True)[1].astype(np.int64)
    clusters = visits if by == "visit" else clusters_of(known, by)
    condition = Condition(name="hour_of_week", kind="hour_of_week")
    baseline = fit(known.table, clusters=clusters, conditions=[condition], times=_times(known))
    by_hour = np.bincount(other.hour - other.hour.min())
    start = int(other.hour.min())
    present = np.flatnonzero(by_hour)
    found: list[Verdicts] = []
    drawn: list[Rows] = []
    for at in np.random.default_rng(seed).choice(present[present > spec.merge_hours], windows, replace=False):
        added = hours_to_add(int(by_hour[at]), by_hour[at - spec.merge_hours : at][::-1].tolist(), spec)
        window = other.take((other.hour <= start + at) & (other.hour >= start + at - added))
        found.append(verdicts(baseline, window.table, times=_times(window)))
        drawn.append(window)
    power = _power(
        [(window.table, {"times": _times(window)}) for window in drawn[:12]],
        seed,
        baseline,
    )
    # windows were drawn at random, so any two can count as the two windows before
    return asdict(tally(found)) | power | {"rows": float(np.mean([len(window) for window in drawn]))}


def _power(drawn: list[tuple[pa.Table, dict[str, Any]]], seed: int, baseline: Baseline) -> dict[str, Any]:
    found: dict[str, int] = defaultdict(int)
    for (window, more), shift in product(drawn, PLANTED):
        moved, name = planted(window, shift, seed)
        found[shift] += any(one.drifted and one.name == name for one in verdicts(baseline, moved, **more))
    return {"planted": len(drawn), "found": dict(found)}


def _times(rows: Rows) -> np.ndarray:
    times: np.ndarray = rows.hour.astype("datetime64[h]").astype("datetime64[s]")
    return times


def units(scale: float) -> Iterator[tuple[str, int | str, str, Callable[[], dict[str, Any]]]]:
    """Yield case, size, name and measurement of each unit of work."""
    for size, windows in INDEPENDENT.items():
        number = max(3, round(windows * scale))
        for seed in range(INDEPENDENT_BASELINES):
            yield "independent rows", size, f"{seed}/{number}", partial(independent_rows, size, seed, number)
    year = retail()
    stable = year.take((year.week >= WEEKS[0]) & (year.week <= WEEKS[1]))
    for by, (size, windows) in product(("household", "store", "day"), CLUSTERED.items()):
        for seed in range(max(1, round(SPLITS * scale))):
            yield f"retail rows by {by}", size, str(seed), partial(clustered_rows, stable, by, size, seed, windows)
    for by, rows, seed in product(HOUR_CLUSTERS, HOUR_ROWS, range(max(1, round(HOUR_SPLITS * scale)))):
        case = f"retail hours by {by}, same hour of the week"
        yield case, f">= {rows}", str(seed), partial(hours, stable, by, rows, seed, HOURS)


def row(case: str, size: int | str, parts: list[dict[str, Any]]) -> str:
    """Return one row of the table."""
    windows, fired, runs, persisted, silent = (
        sum(part[name] for part in parts) for name in ("windows", "fired", "runs", "persisted", "silent")
    )
    untested = sum(part["untested"] * part["windows"] for part in parts) / max(1, windows)
    trials = sum(part.get("planted", 0) for part in parts)
    power = ", ".join(
        f"{shift} {sum(part['found'].get(shift, 0) for part in parts) / trials:.0%}" for shift in PLANTED if trials
    )
    return (
        f"| {case} | {size} | {windows} | {percent(fired, windows)} | {percent(persisted, runs)} | {untested:.0%} "
        f"| {silent / max(1, windows):.0%} | {power or 'see power'} |"
    )


def main() -> None:
    """Measure the missing results and print one table."""
    ledger = Ledger("false_alarms")
    groups: dict[tuple[str, int | str], list[dict[str, Any]]] = defaultdict(list)
    for case, size, unit, measured in units(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        groups[case, size].append(ledger.measure(f"{case} | {size} | {unit}", measured))
    print(
        "| rows | n | windows | any alarm | after 2 of 3 | features not tested | windows not tested | planted and found |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (case, size), parts in groups.items():
        print(row(case, size, parts))


if __name__ == "__main__":
    main()
