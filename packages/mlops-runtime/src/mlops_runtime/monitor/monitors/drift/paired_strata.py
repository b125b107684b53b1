"""Matching of a window's strata with the baseline's, and contingency tables of pairs by stratum and for the window's mix.

Sparse hours of the week are matched as hours of the day.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts, PairBaseline, Stratum
from mlops_runtime.monitor.counting.counts import add_strata
from mlops_runtime.monitor.counting.pairs import MAXIMUM_STRATA_CELLS, pair_name, table_size

# a stratum with fewer baseline rows is too imprecise for its weight in the window
MINIMUM_STRATUM_ROWS = 50
NOT_IN_BASELINE = "not in the baseline"
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedStrata:
    """Matched and unmatched strata of a window."""

    pairs: tuple[tuple[Stratum, Stratum], ...]  # matched strata of the baseline and of the window
    # number of rows of each stratum with too few baseline rows, by key, and of strata that are not in the baseline
    uncovered: dict[str, int]


def pair_strata(baseline: Baseline, counts: Counts) -> PairedStrata:
    """Return the strata of the window that can be compared with the baseline's, and the rows of the others.

    An hour of the week with fewer than 50 baseline rows is compared as an hour of the day, with the baseline's rows of that hour on
    all days. If these are too few as well, or the stratum has no hour of the week, its rows are excluded.

    Example:
        >>> a, b = (Stratum(key="yes", rows=rows, features=()) for rows in (900, 40))
        >>> baseline = Baseline(features=(), rows=900, training_set_id="t", created="", strata=(a,))
        >>> new = Stratum(key="no", rows=7, features=())
        >>> window = Counts(baseline_sha256="b", rows=47, calls=47, features=(), first="", last="", strata=(b, new))
        >>> paired = pair_strata(baseline, window)
        >>> [(before.rows, after.rows) for before, after in paired.pairs], paired.uncovered
        ([(900, 40)], {'no': 7})
    """
    conditions = baseline.conditions or ()
    known = {stratum.key: stratum for stratum in baseline.strata or () if stratum.rows >= MINIMUM_STRATUM_ROWS}
    pairs, hardly = [], defaultdict(list)
    for stratum in counts.strata or ():
        if stratum.key in known:
            pairs.append((known[stratum.key], stratum))
        elif stratum.rows:
            hardly[by_hour_of_day(stratum.key, conditions)].append(stratum)
    uncovered: dict[str, int] = {}
    for hour, strata in hardly.items():
        before = [one for one in baseline.strata or () if by_hour_of_day(one.key, conditions) == hour]
        if hour is not None and sum(one.rows for one in before) >= MINIMUM_STRATUM_ROWS:
            pairs.append((add_strata(hour, before), add_strata(hour, strata)))
        else:
            uncovered |= {stratum.key: stratum.rows for stratum in strata}
    # counts have no strata for rows whose stratum is not in the baseline
    rest = counts.rows - sum(stratum.rows for stratum in counts.strata or ())
    if rest > 0:
        uncovered[NOT_IN_BASELINE] = rest
    return PairedStrata(tuple(pairs), uncovered)


def by_hour_of_day(key: str, conditions: Sequence[Condition]) -> str | None:
    """Return the key of a stratum with its hour of the week replaced by the hour of the day; None without an hour of the week.

    Example:
        >>> hour = Condition(name="when", kind="hour_of_week")
        >>> by_hour_of_day("yes|Tue 03h", [Condition(name="promoted"), hour]), by_hour_of_day("null", [hour])
        ('yes|03h', None)
    """
    parts = key.split("|")
    at = next((place for place, condition in enumerate(conditions) if condition.kind == "hour_of_week"), None)
    if at is None or " " not in parts[at]:
        return None
    parts[at] = parts[at].split(" ")[1]
    return "|".join(parts)


def stratum_tables(baseline: Baseline, counts: Counts, pair: PairBaseline) -> list[tuple[Wide, Wide]]:
    """Return a pair's counts in baseline and window, each of shape (cells,), for each stratum in which both have rows."""
    found = []
    for strata in pair_strata(baseline, counts).pairs:
        tables = [
            np.array(table.counts, dtype=np.float64)
            for stratum in strata
            for table in stratum.pairs or ()
            if (table.first, table.second) == (pair.first, pair.second)
        ]
        if len(tables) == len(strata) and all(table.any() for table in tables):
            found.append((tables[0], tables[1]))
    return found


def at_the_windows_mix(tables: Sequence[tuple[Wide, Wide]], cells: int) -> tuple[Wide, Wide]:
    """Return the baseline's table standardised to the window's strata, scaled to its effective rows, and the window's table.

    Example:
        >>> strata = [(np.array([30.0, 10.0]), np.array([0.0, 5.0])), (np.array([10.0, 10.0]), np.array([10.0, 5.0]))]
        >>> [table.round(2).tolist() for table in at_the_windows_mix(strata, 2)]
        [[18.95, 14.74], [10.0, 10.0]]
    """
    if not tables:
        return np.zeros(cells), np.zeros(cells)
    before, after = (np.stack(side) for side in zip(*tables, strict=True))
    n, m = before.sum(axis=1), after.sum(axis=1)
    weights = m / m.sum()
    worth = 1 / (weights**2 / n).sum()
    return (weights / n) @ before * worth, after.sum(axis=0)


def compared_without_conditions(baseline: Baseline) -> dict[str, int]:
    """Return the problem of each pair whose tables by stratum are too large to be stored.

    Example:
        >>> pair = PairBaseline(first="price", second="store", first_groups=(0, 1), second_groups=(0, 1), counts=(9, 0, 0, 9))
        >>> baseline = Baseline(features=(), rows=18, training_set_id="t", created="", pairs=(pair,))
        >>> compared_without_conditions(baseline)
        {}
    """
    if baseline.strata is None:
        return {}
    number, room = len(baseline.strata), f"all pairs together may have {MAXIMUM_STRATA_CELLS:,}"
    return {
        f"{pair_name(pair)} is compared without conditions: its tables of {number} strata have {table_size(pair) * number:,} "
        f"cells, and {room}; declare fewer pairs or fewer conditions": 1
        for pair in baseline.pairs or ()
        if pair.given is None
    }
