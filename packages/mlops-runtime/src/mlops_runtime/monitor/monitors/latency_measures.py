"""How long the model takes, by percentile, against the weeks before and against limits.

CloudWatch keeps a metric's distribution by the hour. A window's percentile is here the mean of its hours', weighted by their calls:
percentiles of hours do not add up to one of the window, and what is compared is made in the same way on both sides. The hours are
also what the interval is of, since calls of one hour share its load.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.contracts.monitor_report import LatencyResult, Measured
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window

PERCENTILES = ("p50", "p95", "p99")
BASELINE_WEEKS = 4
# fewer calls have no 99th percentile
MINIMUM_CALLS = 100
# an interval of fewer hours would be a guess
_MINIMUM_HOURS = 3
_NORMAL = 1.959963984540054  # quantile 0.975


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyHour:
    """One hour's calls and the percentiles of their latency in milliseconds, by ``p50``, ``p95`` and ``p99``."""

    hour: datetime
    calls: int
    milliseconds: Mapping[str, float]


def measure_latency(
    hours: Sequence[LatencyHour], window: Window, spec: MonitorSpec, *, since: datetime
) -> LatencyResult:
    """Return a window's calls and percentiles, and which are too high: above their limit, or too far above the four weeks before.

    A percentile is violated when the lower end of its interval is too high; without an interval, when it is itself. The weeks
    before are the live model's, or where it did not serve then, all of them: a new model's step is reported once, by its first
    window.

    Example:
        >>> from datetime import UTC
        >>> window = Window(datetime(2017, 8, 7, 0, tzinfo=UTC), datetime(2017, 8, 7, 1, tzinfo=UTC))
        >>> hour = LatencyHour(hour=window.start, calls=500, milliseconds={"p50": 4.0, "p95": 9.0, "p99": 30.0})
        >>> spec = MonitorSpec(latency_limits={"p99": 25})
        >>> [m.name for m in measure_latency([hour], window, spec, since=window.start).metrics if m.violated]
        ['p99']
    """
    now = [hour for hour in hours if window.holds(hour.hour)]
    before = [hour for hour in hours if hour.hour < window.start]
    own = [hour for hour in before if hour.hour >= since]
    if sum(hour.calls for hour in own) >= MINIMUM_CALLS:
        before = own
    calls = sum(hour.calls for hour in now)
    measured = tuple(_percentile(name, now, before, spec, calls) for name in PERCENTILES) if calls else ()
    return LatencyResult(calls=calls, metrics=measured)


def _percentile(
    name: str, now: Sequence[LatencyHour], before: Sequence[LatencyHour], spec: MonitorSpec, calls: int
) -> Measured:
    value, spread = _mean(name, now)
    baseline, _ = _mean(name, before) if sum(hour.calls for hour in before) >= MINIMUM_CALLS else (None, None)
    low = None if value is None or spread is None else max(0.0, value - _NORMAL * spread)
    limits = [spec.latency_limits[name]] if name in spec.latency_limits else []
    if baseline:
        limits.append(baseline * spec.maximum_latency_ratio)
    limit = min(limits, default=None)
    violated = None
    if value is not None and limit is not None and calls >= MINIMUM_CALLS:
        violated = (value if low is None else low) > limit
    return Measured(
        name=name,
        value=value,
        low=low,
        high=None if value is None or spread is None else value + _NORMAL * spread,
        baseline=baseline,
        limit=limit,
        rows=calls,
        violated=violated,
    )


def _mean(name: str, hours: Sequence[LatencyHour]) -> tuple[float | None, float | None]:
    """Return the mean of a percentile over hours by their calls, and its standard error (None for too few hours)."""
    known = [(hour.milliseconds[name], hour.calls) for hour in hours if name in hour.milliseconds and hour.calls]
    total = sum(calls for _, calls in known)
    if not total:
        return None, None
    mean = math.fsum(value * calls for value, calls in known) / total
    if len(known) < _MINIMUM_HOURS:
        return mean, None
    # of a ratio of sums over hours, by linearisation
    squares = math.fsum((calls * (value - mean)) ** 2 for value, calls in known)
    return mean, math.sqrt(squares * len(known) / (len(known) - 1)) / total
