"""Human-readable numbers, times and intervals."""

import math
import re
from datetime import datetime

from mlops_runtime.contracts.monitor_report import Measured, MonitorReport


def percent(share: float) -> str:
    """Return a share in percent: two digits below ten, whole percents above.

    Example:
        >>> percent(0.0123), percent(0.314), percent(0.0)
        ('1.2 %', '31 %', '0 %')
    """
    value = 100 * share
    if value == 0:
        return "0 %"
    if abs(value) < 0.095:
        return f"{value:.1g} %"
    return f"{value:.1f} %" if abs(value) < 9.95 else f"{value:.0f} %"


def number(value: float) -> str:
    """Return a number to three digits, large ones whole.

    Example:
        >>> number(4.0951), number(0.000123), number(12345.6), number(5.0)
        ('4.1', '0.000123', '12,346', '5')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def change(before: float, after: float) -> str:
    """Return the change of a number, with its percentage if both values are positive.

    Example:
        >>> change(4.1, 4.59), change(4.0, 2.0), change(-0.1, 0.4)
        ('rose 12 %, from 4.1 to 4.59', 'fell 50 %, from 4 to 2', 'rose from -0.1 to 0.4')
    """
    verb = "rose" if after > before else "fell"
    relative = f" {percent(abs(after / before - 1))}," if before > 0 and after > 0 else ""
    return f"{verb}{relative} from {number(before)} to {number(after)}"


def interval(measured: Measured) -> str:
    """Return a metric's value with its interval.

    Example:
        >>> interval(Measured(name="wape", value=0.4123, low=0.391, high=0.43))
        '0.412, 0.391 to 0.43'
    """
    if measured.value is None:
        return "unknown"
    if measured.low is None or measured.high is None:
        return number(measured.value)
    return f"{number(measured.value)}, {number(measured.low)} to {number(measured.high)}"


def seconds(text: str) -> str:
    """Return a string with its times truncated to the second.

    Example:
        >>> seconds("a rollout ended FAILED at 2017-08-08T11:41:54.406000Z")
        'a rollout ended FAILED at 2017-08-08T11:41:54Z'
    """
    return re.sub(r"(T\d\d:\d\d:\d\d)\.\d+", r"\1", text)


def p_text(p_value: float) -> str:
    """Return a p-value.

    Example:
        >>> p_text(0.034), p_text(0.0), p_text(3.2e-12), p_text(1.0)
        ('0.034', 'below 1e-100', '3e-12', '1')
    """
    if p_value <= 1e-100:
        return "below 1e-100"
    return f"{p_value:.0e}" if p_value < 0.0001 else f"{p_value:.2g}"


def value_text(measured: Measured, value: float | None) -> str:
    """Return a value of a metric: rates in percent, others to three digits.

    Example:
        >>> rate = Measured(name="null_rate", value=0.012)
        >>> value_text(rate, rate.value), value_text(rate, None)
        ('1.2 %', '')
    """
    if value is None:
        return ""
    if not math.isfinite(value):
        return "infinite"
    return percent(value) if measured.name.endswith(("_rate", "_share", "coverage")) else number(value)


def interval_text(measured: Measured) -> str:
    """Return a value with its interval.

    Example:
        >>> interval_text(Measured(name="wape", value=0.41, low=0.39, high=0.43))
        '0.41 (0.39 to 0.43)'
    """
    if measured.value is None:
        return "not defined"
    value = value_text(measured, measured.value)
    if measured.low is None or measured.high is None:
        return value
    return f"{value} ({value_text(measured, measured.low)} to {value_text(measured, measured.high)})"


def moment(at: str) -> str:
    """Return a time to the minute, or the string unchanged if it is not a time.

    Example:
        >>> moment("2017-08-07T06:00:00Z")
        '2017-08-07 06:00'
    """
    try:
        return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M}"
    except ValueError:
        return at


def window_hours(report: MonitorReport) -> float:
    """Return the length of a report's window in hours."""
    span = datetime.fromisoformat(report.window_until) - datetime.fromisoformat(report.window_from)
    return span.total_seconds() / 3600


def hours_text(hours: float) -> str:
    """Return a number of hours, whole days as days.

    Example:
        >>> hours_text(1), hours_text(168), hours_text(30)
        ('1 hour', '7 days', '30 hours')
    """
    count, unit = (hours / 24, "day") if hours >= 24 and hours % 24 == 0 else (hours, "hour")
    return f"{count:g} {unit}{'' if count == 1 else 's'}"
