"""``python -m benchmarks.monitor.retail_year``: days and weeks of November and December against a baseline of weeks 9 to 43.

The number that fires, compared with the whole baseline, and given conditions known ahead: promotion, discount depth,
week of the month. Then prices in cents instead of dollars from one window on, which must be reported in that window.
"""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.monitor.campaign import Ledger, fit, percent, tally
from benchmarks.monitor.windows import WEEKS, Rows, clusters_of, columns, retail

from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.paired_strata import pair_strata
from mlops_runtime.monitor.spec import MonitorSpec

CONDITIONS = (
    Condition(name="promoted", edges=(0.5,)),
    Condition(name="depth", edges=(0.1, 0.2, 0.3, 0.4)),
    Condition(name="week_of_month", kind="week_of_month"),
)
NOVEMBER = np.datetime64("2017-11-01").astype("datetime64[D]").astype(np.int64)
PRICES = ("sales_value", "unit_price", "basket_value")


def baseline_of(rows: Rows, by: str) -> Baseline:
    """Return the baseline of weeks 9 to 43.

    Args:
        rows: Rows of the whole year.
        by: Clusters: ``day`` or ``week``.
    """
    known = rows.take((rows.week >= WEEKS[0]) & (rows.week <= WEEKS[1]))
    assert known.week.min() == WEEKS[0]
    assert known.week.max() == WEEKS[1]
    assert known.day.max() < NOVEMBER
    return fit(known.table, clusters=clusters_of(known, by), conditions=CONDITIONS, times=times_of(known))


def times_of(rows: Rows) -> np.ndarray:
    """Return each row's hour as a time."""
    times: np.ndarray = rows.hour.astype("datetime64[h]").astype("datetime64[s]")
    return times


def windows(rows: Rows, by: str, *, since: int = 0) -> list[Rows]:
    """Return the days or complete weeks of November and December.

    Args:
        rows: Rows of the whole year.
        by: ``day`` or ``week``.
        since: First window. Default: the first of November, or the first week that begins after it.
    """
    late = rows.take((rows.day >= NOVEMBER) & (rows.week < 53))
    keys = getattr(late, by)
    found = [late.take(keys == key) for key in np.unique(keys) if key >= since]
    return [window for window in found if by == "day" or len(np.unique(window.day)) >= 7]


def compared(rows: Rows, by: str, *, given: bool) -> dict[str, Any]:
    """Measure the number of windows that fire, and their features."""
    baseline = baseline_of(rows, by)
    judged, uncovered = [], []
    names: Counter[str] = Counter()
    for window in windows(rows, by):
        counts = count_columns(columns(window.table), baseline, times=times_of(window))
        verdicts = decide(baseline, counts, MonitorSpec(), given_conditions=given)
        judged.append(verdicts)
        names.update(one.name for one in verdicts if one.drifted)
        uncovered.append(sum(pair_strata(baseline, counts).uncovered.values()) / len(window))
    return asdict(tally(judged)) | {"names": dict(names.most_common()), "uncovered": float(np.mean(uncovered))}


def unit_error(rows: Rows, by: str, *, given: bool, share: float) -> dict[str, Any]:
    """Measure in how many windows a price in cents is reported; each window is the first of an error of its own."""
    baseline = baseline_of(rows, by)
    found, trials = Counter[str](), 0
    random = np.random.default_rng(1)
    for window in windows(rows, by):
        trials += 1
        wrong = random.random(len(window)) < share
        table = window.table
        for name in PRICES:
            values = np.where(wrong, 100.0, 1.0) * table.column(name).to_numpy()
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, mask=np.isnan(values)))
        counts = count_columns(columns(table), baseline, times=times_of(window))
        decided = decide(baseline, counts, MonitorSpec(), given_conditions=given)
        found.update(
            one.name
            for one in decided
            if one.drifted and one.name in PRICES and (one.rule in ("out_of_range", "tail") or share == 1)
        )
    return {"windows": trials, "found": dict(found)}


def main() -> None:
    """Measure the missing results and print two tables."""
    ledger, rows = Ledger("retail_year"), retail()
    print(
        "| windows of November and December | compared | fire | fire twice in three | rows not covered | most often |"
    )
    print("|---|---|---|---|---|---|")
    for by in ("day", "week"):
        for given in (False, True):
            conditions = "given promotion, depth, week of month" if given else "plain"
            found = ledger.measure(f"{by} | {conditions}", lambda by=by, given=given: compared(rows, by, given=given))
            names = ", ".join(f"{name} {number}" for name, number in list(found["names"].items())[:5])
            fire = percent(found["fired"], found["windows"]), percent(found["persisted"], found["runs"])
            uncovered = f"{found['uncovered']:.1%}" if given else "-"
            print(
                f"| {found['windows']} {by}s | {conditions} | {fire[0]} | {fire[1]} | {uncovered} | {names} |",
                flush=True,
            )
    print(
        "\n| prices in cents | compared | named in the first window: "
        + " | ".join(PRICES)
        + " |\n|---|---|---|---|---|"
    )
    for by, share, given in (("day", 1.0, False), ("day", 1.0, True), ("day", 0.02, False), ("day", 0.02, True)):
        conditions = "given conditions" if given else "plain"
        key = f"cents | {by} | {share} | {conditions}"
        found = ledger.measure(
            key, lambda by=by, share=share, given=given: unit_error(rows, by, given=given, share=share)
        )
        cells = [percent(found["found"].get(name, 0), found["windows"]) for name in PRICES]
        print(f"| {share:.0%} of the rows, {found['windows']} {by}s | {conditions} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
