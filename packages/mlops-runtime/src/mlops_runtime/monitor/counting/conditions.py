"""Strata of rows by conditions: columns known ahead of the call, or the time of the call.

The key of a stratum has one part a condition, joined by ``|``: ``5 to 20|Mon``. Null is the part ``null``, a value that is not a
string ``%invalid``; ``%`` and ``|`` in strings are escaped as ``%25`` and ``%7C``.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Condition
from mlops_runtime.monitor.counting.baseline_cells import INVALID, NOT_A_NUMBER, Coded, Column, to_coded, to_numbers
from mlops_runtime.monitor.counting.dispersion import degrees_of_freedom

MAXIMUM_STRATA = 400
# with fewer than two of each week, season and chance cannot be separated; https://en.wikipedia.org/wiki/ISO_week_date
_TWO_SEASONS = np.timedelta64(2 * 52 * 7, "D")
# with fewer days, an hour's distribution cannot be separated from that of a single day
_DAYS_NEEDED = {"hour_of_week": (28, "use 'hour_of_day'"), "hour_of_day": (14, "leave it out")}
MINIMUM_FREEDOM = 20
# no string has this form: see `_escaped`
_NO_TEXT = "%invalid"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Codes = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]


class ConditionError(ValueError):
    """Conditions cannot be used with a model's columns or a training set's times; the message lists every problem."""


class RowKeys:
    """Finds the stratum of rows.

    Args:
        conditions: Conditions of the baseline.
        types: Type of each of the model's columns, ``number`` or ``category``, by name.
        keys: Keys of the baseline's strata, in order.

    Example:
        >>> keys = RowKeys([Condition(name="promoted", edges=(1.0,))], {"promoted": "number"}, ["below 1", "1 or more"])
        >>> keys.find({"promoted": [0, 1, None]}, None, 3).tolist()
        [0, 1, 2]
    """

    def __init__(self, conditions: Sequence[Condition], types: Mapping[str, str], keys: Sequence[str]) -> None:
        self._conditions, self._types = tuple(conditions), types
        self._position = {key: index for index, key in enumerate(keys)}

    @property
    def need_times(self) -> bool:
        """Whether rows need their calls' times."""
        return any(condition.kind != "column" for condition in self._conditions)

    def find(self, columns: Mapping[str, Column], times: Times | None, rows: int) -> Codes:
        """Return the index of each row's stratum; one past the last if the baseline has no such stratum.

        Args:
            columns: Values by column name.
            times: Each row's time, UTC; None if unknown.
            rows: Number of rows.
        """
        codes, keys = combine([part(c, self._types, columns, times, rows) for c in self._conditions], rows)
        unknown = len(self._position)
        return np.array([self._position.get(key, unknown) for key in keys], dtype=np.int64)[codes]


def check(conditions: Sequence[Condition], types: Mapping[str, str], times: Times | None) -> None:
    """Check that conditions can be used.

    Args:
        conditions: The conditions to check.
        types: Type of each of the model's columns by name.
        times: Times of the rows of a training set; None without times.

    Raises:
        ConditionError: With every duplicate condition, column that the model does not have, invalid or superfluous edges, missing
            times, ``week_of_year`` with times of fewer than two years, ``hour_of_week`` with fewer than 28 days, and
            ``hour_of_day`` with fewer than 14.
    """
    problems = []
    names = [condition.name for condition in conditions]
    problems += [
        f"condition {name!r} is given twice; give it once" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for condition in conditions:
        where = f"condition {condition.name!r}"
        if condition.kind == "column":
            if condition.name not in types:
                allowed = ", ".join(map(repr, types)) or "none"
                problems.append(f"{where} must be one of the model's columns, which are {allowed}; or give it a kind")
            elif condition.edges and types[condition.name] == "category":
                problems.append(f"{where} is text and has edges {condition.edges}; leave them out")
        elif condition.edges:
            problems.append(f"{where} of kind {condition.kind!r} has edges {condition.edges}; leave them out")
        if list(condition.edges) != sorted(set(condition.edges)) or not np.isfinite(condition.edges).all():
            problems.append(f"{where} must have finite edges that rise, got {condition.edges}")
        if condition.kind != "column" and (times is None or np.isnat(times).all()):
            problems.append(f"{where} of kind {condition.kind!r} needs the rows' times; name their column as timestamp")
        elif condition.kind == "week_of_year" and times is not None:
            known = times[~np.isnat(times)]
            span = known.max() - known.min()
            if span < _TWO_SEASONS:
                problems.append(
                    f"{where} of kind 'week_of_year' needs two seasons, 728 days, got {span.astype('timedelta64[D]').astype(int)}; "
                    "use 'week_of_month', or a column with the cause of the season"
                )
        elif condition.kind in _DAYS_NEEDED and times is not None:
            needed, instead = _DAYS_NEEDED[condition.kind]
            days = len(np.unique(times[~np.isnat(times)].astype("datetime64[D]")))
            if days < needed:
                problems.append(
                    f"{where} of kind {condition.kind!r} needs rows of {needed} days, got {days}; {instead}"
                )
    if problems:
        raise ConditionError("; ".join(problems))


def check_clusters(conditions: Sequence[Condition], clusters: Codes, strata: Codes) -> None:
    """Check that there are enough clusters to estimate their variation: hours result in many strata with few clusters each.

    Args:
        conditions: The baseline's conditions.
        clusters: Code of each row's cluster, from 0.
        strata: Code of each row's stratum, from 0.

    Raises:
        ConditionError: If strata of hours leave the clusters fewer than 20 residual degrees of freedom.

    Example:
        >>> hours, by_hour = np.arange(48) % 24, [Condition(name="hour", kind="hour_of_day")]
        >>> check_clusters(by_hour, np.arange(48), hours)
        >>> check_clusters(by_hour, np.arange(24), hours[:24])
        Traceback (most recent call last):
        mlops_runtime.monitor.counting.conditions.ConditionError: conditions must leave 20 clusters more than strata, got 24 ...
    """
    freedom = degrees_of_freedom(clusters, strata)
    if freedom < MINIMUM_FREEDOM and any(condition.kind in _DAYS_NEEDED for condition in conditions):
        number, of = len(np.unique(clusters)), len(np.unique(strata))
        raise ConditionError(
            f"conditions must leave {MINIMUM_FREEDOM} clusters more than strata, got {number} clusters in {of} strata, which leave "
            f"{freedom:.0f}; train on more of them, or use fewer conditions"
        )


def strata_of(
    conditions: Sequence[Condition],
    types: Mapping[str, str],
    columns: Mapping[str, Column],
    times: Times | None,
    rows: int,
) -> list[str]:
    """Return the keys of the rows' strata, sorted.

    Raises:
        ConditionError: If there are more than 400, with the condition that has the most values.
    """
    parts = [part(condition, types, columns, times, rows) for condition in conditions]
    keys = sorted(set(combine(parts, rows)[1]))
    if len(keys) > MAXIMUM_STRATA:
        sizes = [len(np.unique(codes)) for codes, _ in parts]
        most = int(np.argmax(sizes))
        fix = "give it fewer edges" if conditions[most].kind == "column" else "use day_of_week"
        raise ConditionError(
            f"conditions may make {MAXIMUM_STRATA} strata, got {len(keys)}: condition {conditions[most].name!r} has {sizes[most]} "
            f"values; {fix}, or leave it out"
        )
    return keys


def part(
    condition: Condition, types: Mapping[str, str], columns: Mapping[str, Column], times: Times | None, rows: int
) -> tuple[Codes, Sequence[str]]:
    """Return the condition's part of each row's key as a code, and the string of each code."""
    if condition.kind != "column":
        return _time_part(condition.kind, np.full(rows, np.datetime64("NaT")) if times is None else times)
    values = columns[condition.name]
    if types[condition.name] == "category":
        coded: Coded = to_coded(values)[0]
        codes = np.where(coded.codes < 0, len(coded.levels), coded.codes)
        codes[coded.codes == INVALID] = len(coded.levels) + 1
        return codes, [*map(_escaped, coded.levels), "null", _NO_TEXT]
    numbers = to_numbers(values)
    if not condition.edges:
        distinct, codes = np.unique(numbers, return_inverse=True)
        apart = {NOT_A_NUMBER: "invalid", np.inf: "infinite"}
        return codes.astype(np.int64), ["null" if np.isnan(n) else apart.get(n, f"{n:.9g}") for n in distinct.tolist()]
    edges = np.array(condition.edges, dtype=np.float32)
    codes = np.searchsorted(edges, numbers, side="right").astype(np.int64)
    codes[np.isnan(numbers)] = len(edges) + 1
    codes[numbers == NOT_A_NUMBER] = len(edges) + 2
    codes[np.isposinf(numbers)] = len(edges) + 3
    shown = [f"{edge:.12g}" for edge in condition.edges]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    return codes, [f"below {shown[0]}", *between, f"{shown[-1]} or more", "null", "invalid", "infinite"]


def combine(parts: Sequence[tuple[Codes, Sequence[str]]], rows: int) -> tuple[Codes, list[str]]:
    """Return each row's key as a code, and the distinct keys."""
    codes, keys = np.zeros(rows, dtype=np.int64), [""]
    for index, (own, texts) in enumerate(parts):
        present, codes = np.unique(codes * len(texts) + own, return_inverse=True)
        pairs = [divmod(code, len(texts)) for code in present.tolist()]
        keys = [texts[low] if index == 0 else f"{keys[high]}|{texts[low]}" for high, low in pairs]
    return codes.astype(np.int64), keys


def _time_part(kind: str, times: Times) -> tuple[Codes, Sequence[str]]:
    seconds = times.astype("datetime64[s]")
    missing = np.isnat(seconds)
    codes, texts = _CALENDAR[kind](np.where(missing, np.datetime64(0, "s"), seconds))
    return np.where(missing, len(texts), codes), [*texts, "null"]


def _weekday(times: Times) -> Codes:
    # 1970-01-01 was a Thursday
    return (times.astype("datetime64[D]").astype(np.int64) + 3) % 7


def _hour_of_week(times: Times) -> tuple[Codes, list[str]]:
    hours = times.astype("datetime64[h]").astype(np.int64) % 24
    return _weekday(times) * 24 + hours, [f"{day} {hour:02d}h" for day in _DAYS for hour in range(24)]


def _hour_of_day(times: Times) -> tuple[Codes, list[str]]:
    return times.astype("datetime64[h]").astype(np.int64) % 24, [f"{hour:02d}h" for hour in range(24)]


def _day_of_week(times: Times) -> tuple[Codes, list[str]]:
    return _weekday(times), list(_DAYS)


def _week_of_month(times: Times) -> tuple[Codes, list[str]]:
    day = times.astype("datetime64[D]") - times.astype("datetime64[M]").astype("datetime64[D]")
    return day.astype(np.int64) // 7, [f"week {week}" for week in range(1, 6)]


def _week_of_year(times: Times) -> tuple[Codes, list[str]]:
    """Return ISO 8601 weeks: the week of a day belongs to the year of its Thursday."""
    thursday = times.astype("datetime64[D]") + (3 - _weekday(times)).astype("timedelta64[D]")
    first = thursday.astype("datetime64[Y]").astype("datetime64[D]")
    return (thursday - first).astype(np.int64) // 7, [f"week {week:02d}" for week in range(1, 54)]


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("|", "%7C")


_CALENDAR: dict[str, Callable[[Any], tuple[Codes, list[str]]]] = {
    "hour_of_day": _hour_of_day,
    "hour_of_week": _hour_of_week,
    "day_of_week": _day_of_week,
    "week_of_month": _week_of_month,
    "week_of_year": _week_of_year,
}
