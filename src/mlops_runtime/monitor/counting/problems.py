"""What could not be counted, by name and how often: bounded, and still the same in whatever order parts are added.

Names may hold what a caller made up. Those that hold the smallest CRC-32 are kept: a name that a part had to drop is one that
the whole would have dropped too, so that what is kept has its exact count.
"""

from collections.abc import Mapping

from mlops_runtime.contracts.monitor import Counts
from mlops_runtime.monitor.counting.cells import level_crc

MAXIMUM = 100
OTHERS = "other problems"
# how those begin that are of a whole line or row
_UNREADABLE = ("line ", "input ", "row ")


def bounded(problems: Mapping[str, int]) -> dict[str, int]:
    """Return at most 100 problems by name, and the others as one.

    Args:
        problems: How often each came.

    Example:
        >>> bounded({"line is not JSON": 2})
        {'line is not JSON': 2}
    """
    names = [name for name in problems if name != OTHERS]
    if len(names) > MAXIMUM:
        names = sorted(names, key=lambda name: (level_crc(name), name))[:MAXIMUM]
    kept = {name: problems[name] for name in sorted(names)}
    others = sum(problems.values()) - sum(kept.values())
    return {**kept, OTHERS: others} if others else kept


def is_unreadable(problem: str) -> bool:
    """Return whether a problem is one of a line or row that was left out.

    Example:
        >>> is_unreadable("row has 3 values instead of 4"), is_unreadable("inferenceTime is not a time")
        (True, False)
    """
    return problem.startswith(_UNREADABLE)


def unreadable_rows(counts: Counts) -> int:
    """Return how many rows could not be read; a line of which no row is known counts as one.

    Args:
        counts: A window's. Those of an earlier version name no problems, and know only lines.
    """
    return max(counts.malformed, sum(times for name, times in (counts.problems or {}).items() if is_unreadable(name)))


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
