"""What could not be counted, by name and how often: bounded, and still the same in whatever order parts are added.

Names may hold what a caller made up. Those that hold the smallest CRC-32 are kept: a name that a part had to drop is one that
the whole would have dropped too, so that what is kept has its exact count. What cannot be read is bounded apart from the rest, so
that how many rows it is stays exact whatever else comes; and columns that are not the model's go before all others do.
"""

from collections.abc import Mapping

from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.monitor.counting.cells import level_crc

MAXIMUM = 100
OTHERS = "other problems"
OTHER_ROWS = "row cannot be read for another reason"
_KINDS = {"number": "number", "category": "text"}
# how those begin that are of a whole line or row
_UNREADABLE = ("line ", "input ", "row ")
# how those end whose names callers make up without end
_FOREIGN = "is not the model's"


def bounded(problems: Mapping[str, int]) -> dict[str, int]:
    """Return at most 100 problems by name of rows that were left out, and as many of what was not; the others of either as one.

    Args:
        problems: How often each came.

    Example:
        >>> bounded({"line is not JSON": 2})
        {'line is not JSON': 2}
    """
    of_rows = {name: times for name, times in problems.items() if is_unreadable(name)}
    rest = {name: times for name, times in problems.items() if name not in of_rows}
    return {**_bounded(of_rows, OTHER_ROWS), **_bounded(rest, OTHERS)}


def is_unreadable(problem: str) -> bool:
    """Return whether a problem is one of a line or row that was left out.

    Example:
        >>> is_unreadable("row has 3 values instead of 4"), is_unreadable("inferenceTime is not a time")
        (True, False)
    """
    return problem.startswith(_UNREADABLE)


def _bounded(problems: Mapping[str, int], others: str) -> dict[str, int]:
    names = [name for name in problems if name != others]
    if len(names) > MAXIMUM:
        names = sorted(names, key=lambda name: (name.endswith(_FOREIGN), level_crc(name), name))[:MAXIMUM]
    kept = {name: problems[name] for name in sorted(names)}
    left = sum(problems.values()) - sum(kept.values())
    return {**kept, others: left} if left else kept


def unreadable_rows(counts: Counts) -> int:
    """Return how many rows could not be read; a line of which no row is known counts as one.

    Args:
        counts: A window's. Those of an earlier version name no problems, and know only lines.
    """
    return max(counts.malformed, sum(times for name, times in (counts.problems or {}).items() if is_unreadable(name)))


def invalid_values(baseline: Baseline, counts: Counts) -> dict[str, int]:
    """Return how many values of each feature and of the prediction are of another type, by what is wrong with them.

    Args:
        baseline: Names and types.
        counts: Of an object or a window.
    """
    pairs = list(zip(baseline.features, counts.features, strict=True))
    if baseline.prediction is not None and counts.prediction is not None:
        pairs.append((baseline.prediction, counts.prediction))
    return {
        f"{feature.name}: value is no {_KINDS[feature.type]}": counted.invalid
        for feature, counted in pairs
        if counted.invalid
    }


def add(one: Mapping[str, int] | None, other: Mapping[str, int] | None) -> dict[str, int] | None:
    """Return the problems of both.

    Example:
        >>> add({"line is not JSON": 2}, {"line is not JSON": 1})
        {'line is not JSON': 3}
    """
    total = dict(one or {})
    for name, times in (other or {}).items():
        total[name] = total.get(name, 0) + times
    return bounded(total) or None
