"""How CloudWatch turns points into datapoints, datapoints into an alarm's state, and a state into its reason.

Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html (M out of N) and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html (missing data).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Points = Sequence[float | None]

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (lambda value, threshold: value > threshold, "greater than"),
    "GreaterThanOrEqualToThreshold": (lambda value, threshold: value >= threshold, "greater than or equal to"),
    "LessThanThreshold": (lambda value, threshold: value < threshold, "less than"),
    "LessThanOrEqualToThreshold": (lambda value, threshold: value <= threshold, "less than or equal to"),
}


# claim: alarm-states-follow-awss-tables
def statistic(points: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return one statistic of the points of a period.

    Args:
        points: As MiniStack stores them: ``Value`` and its ``Count``, or a statistic set ``_stat``.
        name: ``SampleCount``, ``Average``, ``Sum``, ``Minimum``, ``Maximum``, or a percentile, ``p99``.

    Returns:
        ``None`` without points, and for a percentile of statistic sets, which CloudWatch cannot tell either.

    Example:
        >>> statistic([{"Value": 1.0}, {"Value": 3.0, "Count": 3.0}], "Average")
        2.5
    """
    sets = [point.get("_stat") for point in points]
    counts = [float(s["SampleCount"] if s else point.get("Count", 1.0)) for point, s in zip(points, sets, strict=True)]
    total = math.fsum(counts)
    if total <= 0:
        return None
    sums = math.fsum(
        float(s["Sum"]) if s else point["Value"] * n for point, s, n in zip(points, sets, counts, strict=True)
    )
    match name:
        case "SampleCount":
            return total
        case "Sum":
            return sums
        case "Average":
            return sums / total
        case "Minimum":
            return min(float(s["Minimum"]) if s else point["Value"] for point, s in zip(points, sets, strict=True))
        case "Maximum":
            return max(float(s["Maximum"]) if s else point["Value"] for point, s in zip(points, sets, strict=True))
    if any(sets):
        return None
    return _percentile(
        sorted((point["Value"], n) for point, n in zip(points, counts, strict=True)), float(name[1:]), total
    )


def _percentile(ordered: Sequence[tuple[float, float]], percent: float, total: float) -> float:
    """Interpolate between the two nearest ranks, each value as often as it was counted."""
    rank = percent / 100 * (total - 1)

    def value_at(index: float) -> float:
        seen = 0.0
        for value, count in ordered:
            seen += count
            if index < seen:
                return value
        return ordered[-1][0]

    low, share = value_at(math.floor(rank)), rank - math.floor(rank)
    return low + share * (value_at(math.floor(rank) + 1) - low)


def decide(breaching: Sequence[bool | None], *, periods: int, needed: int, missing: str) -> str | None:
    """Return the state that an alarm's datapoints call for.

    Args:
        breaching: Of the evaluation range, oldest first: whether each datapoint breaches, ``None`` where it is missing.
        periods: ``EvaluationPeriods``, N.
        needed: ``DatapointsToAlarm``, M.
        missing: ``TreatMissingData``.

    Returns:
        ``None`` to keep the present state.

    Example:
        >>> decide([False, None, True, None, None], periods=3, needed=2, missing="breaching")
        'ALARM'
    """
    real = [point for point in breaching if point is not None][-periods:]
    filled = periods - len(real)
    bad = sum(real) + (filled if missing == "breaching" else 0)
    if not real and missing in {"missing", "ignore"}:
        return "INSUFFICIENT_DATA" if missing == "missing" else None
    if bad >= needed:
        return "ALARM"
    if missing in {"breaching", "notBreaching"} or not all(real):
        return "OK"
    # only breaching ones and too few: ALARM when the oldest is at least as old as M, so that the next one cannot change it
    oldest = len(breaching) - list(breaching).index(True)
    return "ALARM" if missing == "missing" and oldest >= needed else None


def stamp(at: float) -> str:
    """Return a time as alarms write it, ``2019-10-02T17:04:40.989+0000``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def reason(
    alarm: Mapping[str, Any], points: Points, *, states: tuple[str, str], missing: str, started: float, now: float
) -> tuple[str, str]:
    """Return ``StateReason`` and ``StateReasonData`` in AWS's words.

    Args:
        alarm: The alarm's configuration.
        points: Datapoints of its evaluation range, oldest first.
        states: The old one and the new one.
        missing: How missing data are treated.
        started: When the last period began, epoch seconds.
        now: Epoch seconds.
    """
    periods, period = int(alarm["EvaluationPeriods"]), int(alarm["Period"])
    ages = range(len(points) - 1, -1, -1)
    real = [(value, started - age * period) for value, age in zip(points, ages, strict=True) if value is not None][
        -periods:
    ]
    data: dict[str, Any] = {
        "version": "1.0",
        "queryDate": stamp(now),
        "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        "period": period,
        "recentDatapoints": [value for value, _ in real],
        "threshold": alarm["Threshold"],
    }
    old, new = states
    if new == "INSUFFICIENT_DATA":
        text = f"Insufficient Data: {periods} datapoint{'s were' if periods > 1 else ' was'} unknown."
    elif not real:
        many = "s" if periods > 1 else ""
        text = (
            f"Threshold Crossed: no datapoints were received for {periods} period{many} and {periods} missing datapoint{many} "
            f"{'were' if many else 'was'} treated as [{missing[0].upper()}{missing[1:]}]."
        )
    else:
        data["startDate"] = stamp(real[0][1])
        needed = int(alarm.get("DatapointsToAlarm") or periods)
        shown = ", ".join(
            f"{value} ({datetime.fromtimestamp(start, UTC):%d/%m/%y %H:%M:%S})" for value, start in reversed(real)
        )
        verb = ("was" if len(real) == 1 else "were") + ("" if new == "ALARM" else " not")
        words = COMPARISONS[alarm["ComparisonOperator"]][1]
        least = needed if new == "ALARM" else periods - needed + 1
        text = (
            f"Threshold Crossed: {len(real)} out of the last {periods} datapoints [{shown}] {verb} {words} the threshold "
            f"({alarm['Threshold']}) (minimum {least} datapoint{'s' if least > 1 else ''} for {old} -> {new} transition)."
        )
    return text, json.dumps(data)
