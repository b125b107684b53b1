"""``python -m benchmarks.monitor.promoted_days``: days given the promotions, with equal and separate variance of strata.

A grocer's deals change by the week, so rows sold at a deep discount differ more between days than all other rows.
First, days of weeks without drift against a baseline without those weeks: each four of weeks 9 to 43 left out, and
random halves of these weeks. Then shifts in those days. Then November and December: which days fire if strata are
assumed to vary alike, and, for each finding, on how many of the baseline's days of the same combination that feature
was as far from all other weeks, by counts of days alone without any design effect. A distance is the chi-square over
the rows, less its expectation by degrees of freedom.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.monitor.campaign import SPEC, Ledger, Verdicts, columns, fit, percent, tally
from benchmarks.monitor.false_alarms import PLANTED, planted
from benchmarks.monitor.retail_year import CONDITIONS, baseline_of, times_of, windows
from benchmarks.monitor.windows import WEEKS, Rows, clusters_of, retail

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.counting.tail_cells import of_tenths
from mlops_runtime.monitor.monitors.drift.decision import decide

ALIKE, OWN = "alike", "each its own"
HALVES = 4
DAYS_OF_A_HALF = 120
PLANTED_DAYS = 12
# fewer rows of a combination do not describe a day
FEWEST_ROWS = 50

Wide = npt.NDArray[np.float64]


def alike(baseline: Baseline) -> Baseline:
    """Return a baseline that assumes equal variance of all strata."""

    def one(feature: FeatureBaseline) -> FeatureBaseline:
        return feature if feature.given is None else replace(feature, given=replace(feature.given, strata=None))

    patterns = baseline.null_patterns
    return replace(
        baseline,
        features=tuple(map(one, baseline.features)),
        null_patterns=None if patterns is None else one(patterns),
    )


def given_days(baseline: Baseline, days: Sequence[Rows]) -> dict[str, list[Verdicts]]:
    """Return the verdicts on days, by assumption about the variance of strata."""
    counted = [count_columns(columns(day.table), baseline, times=times_of(day)) for day in days]
    return {
        name: [decide(of, counts, SPEC, given_conditions=True) for counts in counted]
        for name, of in ((ALIKE, alike(baseline)), (OWN, baseline))
    }


def stable(rows: Rows) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Return the complete days of weeks 9 to 43, and the number of each row's seven-day week."""
    found = rows.take((rows.week >= WEEKS[0]) & (rows.week <= WEEKS[1]))
    return found, (found.day - found.day.min()) // 7


def left_out(rows: Rows, chosen: npt.NDArray[np.bool_], most: int) -> dict[str, Any]:
    """Measure how often days of some weeks fire against the days of the other weeks.

    Args:
        rows: Rows of the whole year.
        chosen: Numbers of the tested weeks; the others are the baseline.
        most: Maximum number of days.
    """
    known, week = stable(rows)
    other, rest = known.take(chosen[week]), known.take(~chosen[week])
    baseline = _fitted(rest)
    days = [other.take(other.day == day) for day in np.unique(other.day)][:most]
    return {name: asdict(tally(found)) for name, found in given_days(baseline, days).items()}


def power(rows: Rows, seed: int) -> dict[str, Any]:
    """Measure how often shifts are reported on days of weeks that the baseline does not contain."""
    known, week = stable(rows)
    random = np.random.default_rng(seed)
    chosen = random.random(int(week.max()) + 1) < 0.5
    other, baseline = known.take(chosen[week]), _fitted(known.take(~chosen[week]))
    days = random.choice(np.unique(other.day), PLANTED_DAYS, replace=False)
    found: Counter[str] = Counter()
    for day, shift in product(days, PLANTED):
        rows_of = other.take(other.day == day)
        table, name = planted(rows_of.table, shift, seed)
        for how, (verdicts,) in given_days(baseline, [replace(rows_of, table=table)]).items():
            found[f"{shift}, {how}"] += any(one.drifted and one.name == name for one in verdicts)
    return {"days": len(days), "found": dict(found)}


def _fitted(rows: Rows) -> Baseline:
    return fit(rows.table, clusters=clusters_of(rows, "day"), conditions=CONDITIONS, times=times_of(rows))


def late_days(rows: Rows) -> dict[str, Any]:
    """Return every finding of November and December, with its rank among the days of the baseline."""
    baseline = baseline_of(rows, "day")
    days = windows(rows, "day")
    verdicts = given_days(baseline, days)
    known, week = stable(rows)
    at = {int(day): int(week[known.day == day][0]) for day in np.unique(known.day)}
    before = [(of, _counted(baseline, known.take(known.day == day))) for day, of in at.items()]
    found = []
    for place, day in enumerate(days):
        for which, one in enumerate(verdicts[ALIKE][place]):
            if not one.drifted:
                continue
            own = verdicts[OWN][place][which]
            text = one.description or ""
            key = text.rsplit(", at ", 1)[1].removesuffix(" among others") if ", at " in text else None
            rank = None
            if key is not None and which < len(baseline.features):
                rank = ranked(baseline.features[which], key, _counted(baseline, day), before)
            found.append(
                {
                    "day": str(np.datetime64(int(day.day[0]), "D")),
                    "feature": one.name,
                    "said": text,
                    ALIKE: one.p_value,
                    OWN: own.p_value,
                    "fires": own.drifted,
                    "rank": rank,
                }
            )
    return {"findings": found, "days": len(days)} | {name: asdict(tally(of)) for name, of in verdicts.items()}


def _counted(baseline: Baseline, rows: Rows) -> Counts:
    return count_columns(columns(rows.table), baseline, times=times_of(rows))


def ranked(feature: FeatureBaseline, key: str, day: Counts, before: Sequence[tuple[int, Counts]]) -> list[int]:
    """Return the number of baseline days on which a feature is as far from other weeks as on this day, and of all days.

    Args:
        feature: Compared feature, by its individually tested cells.
        key: The combination of conditions.
        day: The day.
        before: Week and counts of each baseline day.
    """
    tables = [(week, table) for week, counts in before for table in _cells(feature, key, counts)]
    (own,) = _cells(feature, key, day)
    distance = _distance(own, np.sum([table for _, table in tables], axis=0))
    others = [_distance(table, np.sum([t for w, t in tables if w != week], axis=0)) for week, table in tables]
    return [sum(one >= distance for one in others), len(others)]


def _cells(feature: FeatureBaseline, key: str, counts: Counts) -> Iterator[Wide]:
    for stratum in counts.strata or ():
        one = next((one for one in stratum.features if one.name == feature.name), None)
        if stratum.key == key and one is not None and sum(one.counts) >= FEWEST_ROWS:
            yield of_tenths(feature, np.array(one.counts, dtype=np.float64))


def _distance(day: Wide, others: Wide) -> float:
    share = others / others.sum()
    some = share * day.sum() >= 1
    expected = share[some] * day.sum()
    return float((((day[some] - expected) ** 2 / expected).sum() - some.sum() + 1) / day.sum())


def main() -> None:
    """Measure the missing results and print three tables."""
    ledger, rows = Ledger("promoted_days"), retail()
    weeks = int(stable(rows)[1].max()) + 1
    quiet = {"each four weeks left out": [np.arange(weeks) // 4 == at for at in range(-(-weeks // 4))]}
    quiet |= {f"{HALVES} halves of the weeks": [np.random.default_rng(s).random(weeks) < 0.5 for s in range(HALVES)]}
    print("| quiet days | strata vary | fire | fire twice in three |\n|---|---|---|---|")
    for case, chosen in quiet.items():
        parts = [
            ledger.measure(f"{case} | {at}", lambda some=some: left_out(rows, some, DAYS_OF_A_HALF))
            for at, some in enumerate(chosen)
        ]
        for how in (ALIKE, OWN):
            fired, of, twice, runs = (
                sum(one[how][name] for one in parts) for name in ("fired", "windows", "persisted", "runs")
            )
            print(f"| {case}: {of} | {how} | {percent(fired, of)} | {percent(twice, runs)} |", flush=True)
    planted_in = [ledger.measure(f"planted | {seed}", lambda seed=seed: power(rows, seed)) for seed in range(HALVES)]
    print("\n| planted in a quiet day | alike | each its own |\n|---|---|---|")
    for shift in PLANTED:
        of = sum(one["days"] for one in planted_in)
        cells = [percent(sum(one["found"][f"{shift}, {how}"] for one in planted_in), of) for how in (ALIKE, OWN)]
        print(f"| {shift} | {' | '.join(cells)} |")
    late = ledger.measure("November and December", lambda: late_days(rows))
    for how in (ALIKE, OWN):
        one = late[how]
        fire, twice = percent(one["fired"], one["windows"]), percent(one["persisted"], one["runs"])
        print(f"\n{late['days']} days, {how}: {fire} fire, {twice} twice in three")
    print(
        "\n| day | finding, strata alike | p | p, each its own | as far: days of the baseline |\n|---|---|---|---|---|"
    )
    for one in late["findings"]:
        rank = "-" if one["rank"] is None else f"{one['rank'][0]} of {one['rank'][1]}"
        fires = " **fires**" if one["fires"] else ""
        print(f"| {one['day']} | {one['feature']}: {one['said']} | {one[ALIKE]:.1e} | {one[OWN]:.1e}{fires} | {rank} |")


if __name__ == "__main__":
    main()
