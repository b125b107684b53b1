"""Windows of a generated project: alarms of windows without drift, and days until raised prices alarm.

Twelve weeks of training, eight weeks of calls without drift, then four in which every price is 30 % higher. Days and
weeks vary randomly, and weekends differ from other days. ``python -m benchmarks.monitor.project_windows [SEEDS]``
prints a line per case.
"""

import itertools
import sys
from typing import Any

import numpy as np

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline import cluster_codes, fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.spec import MonitorSpec

SPEC = MonitorSpec()
TRAINED, QUIET, RISEN = 84, 56, 28  # days
Columns = dict[str, Any]


def calls(random: np.random.Generator, days: int, a_day: int, week_spread: float, risen_from: int) -> Columns:
    """Return the calls of some days: a price and a kind."""
    day = np.repeat(np.arange(days), a_day)
    effect = random.normal(0, 0.05, days) + np.repeat(random.normal(0, week_spread, days // 7 + 2), 7)[:days]
    weekend = (day % 7) > 4
    price = np.exp(1 + effect[day] + 0.15 * weekend + random.normal(0, 0.4, len(day)))
    kind = np.where(random.random(len(day)) < 0.3 + 0.2 * weekend, "b", "a")
    return {"day": day, "price": np.where(day >= risen_from, 1.3, 1.0) * price, "kind": kind}


def drifted(baseline: Baseline, found: Columns, first: int, end: int) -> set[str]:
    """Return the features that drift in a window of days."""
    inside = (found["day"] >= first) & (found["day"] < end)
    columns = {"price": found["price"][inside], "kind": found["kind"][inside].tolist()}
    return {each.name for each in decide(baseline, count_columns(columns, baseline), SPEC) if each.drifted}


def watch(baseline: Baseline, found: Columns, span: int) -> tuple[int, int, int | None]:
    """Return false alarms, windows without drift, and days of raised prices until the alarm; decided every day."""
    history: list[tuple[int, set[str]]] = []
    alarms = windows = 0
    after = None
    for end in range(span, QUIET + RISEN + 1):
        names, apart, start = drifted(baseline, found, end - span, end), [], end - span
        for before, earlier in reversed(history):
            if before <= start and len(apart) < SPEC.of_windows - 1:
                apart.append(earlier)
                start = before - span
        history.append((end, names))
        is_alarm = any(sum(name in one for one in apart) + 1 >= SPEC.alarm_windows for name in names)
        if end <= QUIET:
            alarms, windows = alarms + is_alarm, windows + 1
        elif is_alarm and after is None:
            after = end - QUIET
    return alarms, windows, after


def main(seeds: int) -> None:
    """Print each case."""
    for a_day, spread, cluster, window in itertools.product((40, 400), (0.0, 0.08), ("week", "day"), (1, 2, 7)):
        span = max(window, -(-SPEC.minimum_rows // a_day))  # too few calls: the window is extended backwards
        alarms, windows, days = 0, 0, []
        for seed in range(seeds):
            random = np.random.default_rng(seed)
            trained = calls(random, TRAINED, a_day, spread, TRAINED)
            day = trained.pop("day")
            baseline = fit_baseline(
                {"price": trained["price"], "kind": trained["kind"].tolist()},
                types={"price": "number", "kind": "category"},
                training_set_id="t",
                created="2026-01-01T00:00:00Z",
                clusters=cluster_codes((day // 7 if cluster == "week" else day).tolist()),
            )
            found = calls(random, QUIET + RISEN, a_day, spread, QUIET)
            more, of, after = watch(baseline, found, span)
            alarms, windows = alarms + more, windows + of
            days.append("never" if after is None else str(after))
        print(
            f"{a_day} calls a day, weeks differ by {spread:.0%}, clusters of a {cluster}, windows of {span} days: "
            f"{alarms} of {windows} quiet windows alarm; days until risen prices do: {', '.join(days)}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
