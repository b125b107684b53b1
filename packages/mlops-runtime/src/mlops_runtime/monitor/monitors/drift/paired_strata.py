"""Match the window's strata with the baseline's; sparse hours of the week are matched as hours of the day."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_runtime.contracts.monitor import Baseline, Condition, Counts, Stratum
from mlops_runtime.monitor.counting.counts import add_strata

# a stratum with fewer baseline rows is too imprecise for its weight in the window
MINIMUM_STRATUM_ROWS = 50
NOT_IN_BASELINE = "not in the baseline"


@dataclass(frozen=True, slots=True)
class PairedStrata:
    """Matched and unmatched strata of a window.

    Args:
        pairs: Matched strata of the baseline and of the window.
        uncovered: Number of rows of each stratum with too few baseline rows, by key, and of strata that are not in the baseline.
    """

    pairs: tuple[tuple[Stratum, Stratum], ...]
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
