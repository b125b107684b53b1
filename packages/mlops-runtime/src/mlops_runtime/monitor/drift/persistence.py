"""One window in a hundred without drift may say there is some; two of three do not.

And a window of few rows takes in hours before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mlops_runtime.contracts.monitor import FeatureDrift, MonitorReport
from mlops_runtime.monitor.spec import MonitorSpec


def persist(
    features: Sequence[FeatureDrift],
    earlier: Iterable[MonitorReport],
    spec: MonitorSpec,
    *,
    start: datetime | None = None,
) -> tuple[FeatureDrift, ...]:
    """Return the features with ``persistent``: those that drift in this window and in enough of the last ones.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html (M out of N data points).

    Args:
        features: This window's verdicts.
        earlier: Reports of windows before it that decided against the same baseline, newest first.
        spec: ``alarm_windows`` and ``of_windows``.
        start: When this window's first row may be from, hours merged into it included. Windows that share rows with a later one
            say the same thing twice and are passed over. Default: the windows share none.

    Example:
        >>> price = FeatureDrift(name="price", psi=0.2, p_value=1e-9, drifted=True)
        >>> persist([price], [], MonitorSpec())[0].persistent
        False
        >>> persist([price], [], MonitorSpec(alarm_windows=1))[0].persistent
        True
    """
    windows = _apart(earlier, spec.of_windows - 1, start)
    return tuple(replace(one, persistent=is_persistent(one, windows, spec)) for one in features)


def is_persistent(feature: FeatureDrift, earlier: Iterable[Sequence[FeatureDrift]], spec: MonitorSpec) -> bool:
    """Return whether a feature that drifts also drifted in enough of the windows before.

    Args:
        feature: This window's verdict on it.
        earlier: All verdicts of each earlier window that counts, at most ``of_windows - 1``.
        spec: ``alarm_windows``.
    """
    if not feature.drifted:
        return False
    agreeing = sum(any(one.name == feature.name and one.drifted for one in window) for window in earlier)
    return agreeing + 1 >= spec.alarm_windows


def hours_to_add(rows: int, before: Iterable[int], spec: MonitorSpec) -> int:
    """Return how many hours before a window are to be added to it so that it has ``minimum_rows``.

    If all that may be added are too few, all are: the report then says how many rows there are in them. A window without any row
    gets none, since silence is not to be filled up.

    Args:
        rows: Rows of the window.
        before: Rows of each hour before it, the newest first, hours without rows included.
        spec: ``minimum_rows`` and ``merge_hours``.

    Example:
        >>> hours_to_add(120, [50, 0, 40, 90], MonitorSpec(minimum_rows=200))
        3
    """
    if rows == 0:
        return 0
    added = 0
    for found in before:
        if rows >= spec.minimum_rows or added == spec.merge_hours:
            break
        rows += found
        added += 1
    return added


def _apart(earlier: Iterable[MonitorReport], most: int, start: datetime | None) -> list[tuple[FeatureDrift, ...]]:
    """Return the verdicts of the newest windows that share no hour with a later one."""
    found: list[tuple[FeatureDrift, ...]] = []
    for report in earlier:
        if len(found) == most:
            break
        if start is not None:
            if datetime.fromisoformat(report.window_until) > start:
                continue
            start = datetime.fromisoformat(report.window_from) - timedelta(hours=report.hours_merged or 0)
        found.append(report.features)
    return found
