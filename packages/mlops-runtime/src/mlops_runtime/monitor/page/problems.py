"""What could not be read or used, as people read it: the most frequent first, and whether it is much."""

import re

from mlops_runtime.contracts.monitor import MonitorReport

_NAMED = 3
_MANY = 0.01  # of the rows and what could not be read


def problems(report: MonitorReport) -> list[tuple[str, int]]:
    """Return the problems of a report, the most frequent first; a baseline that cannot be used is said elsewhere.

    Args:
        report: The run's.
    """
    found = [(name, times) for name, times in (report.problems or {}).items() if name != report.baseline_flaw]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def problems_text(report: MonitorReport) -> str:
    """Return the three most frequent problems with how often each came, and how many other kinds there are.

    Args:
        report: The run's.

    Returns:
        A sentence without its period; empty where there is no problem.
    """
    found = problems(report)
    named = [f"{name} ({times:,})" for name, times in found[:_NAMED]]
    more = len(found) - _NAMED
    return "; ".join([*named, f"{more} more {'kind' if more == 1 else 'kinds'}"] if more > 0 else named)


def are_many(report: MonitorReport) -> bool:
    """Return whether any problem came for more than one in a hundred of the rows.

    Args:
        report: The run's.
    """
    found = problems(report)
    return bool(found) and found[0][1] > _MANY * (report.rows + found[0][1])


def short_flaw(flaw: str) -> str:
    """Return why a baseline cannot be used, without where it lies and its hashes.

    Example:
        >>> short_flaw("the baseline s3://artifacts/baseline.json was changed: it has SHA-256 1a, approved was 2b")
        'the baseline was changed'
    """
    return re.sub(r"^the baseline s3://\S+ ", "the baseline ", flaw).partition(":")[0]
