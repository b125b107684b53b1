"""Percentiles of model latency, compared with the preceding weeks and with limits.

CloudWatch returns percentiles by the hour. A window's percentile is approximated by the mean of its hours' percentiles, weighted by
calls: percentiles of hours cannot be combined exactly, and both sides of the comparison are computed in the same way. The
confidence interval is over hours, since calls of an hour share its load.
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
# the 99th percentile needs at least as many calls
MINIMUM_CALLS = 100
# minimum hours of a confidence interval
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
    """Return a window's calls and percentiles, with violations of limits and of the ratio to the four weeks before.

    A percentile is violated if the lower bound of its interval is above the limit; without an interval, if the percentile is. The
    weeks before are those of the live model if it had enough calls, else all: a new model's slowdown is reported once, by its first
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
    """Return the mean of a percentile over hours, weighted by calls, and its standard error (None with too few hours)."""
    known = [(hour.milliseconds[name], hour.calls) for hour in hours if name in hour.milliseconds and hour.calls]
    total = sum(calls for _, calls in known)
    if not total:
        return None, None
    mean = math.fsum(value * calls for value, calls in known) / total
    if len(known) < _MINIMUM_HOURS:
        return mean, None
    # standard error of a ratio of sums over hours, by linearisation
    squares = math.fsum((calls * (value - mean)) ** 2 for value, calls in known)
    return mean, math.sqrt(squares * len(known) / (len(known) - 1)) / total
