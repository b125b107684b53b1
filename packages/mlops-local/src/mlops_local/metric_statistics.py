"""CloudWatch's statistics of a period, and which of them GetMetricData and alarms accept.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ministack.services import cloudwatch as cw

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p\d{1,2}(\.\d+)?|p100")
_NUMBER = r"\d{1,20}(?:\.\d{1,10})?%?"
_RANGE = re.compile(rf"(?P<kind>PR|TC)\((?P<low>{_NUMBER})?:(?P<high>{_NUMBER})?\)")
_FORMS = "a percentile such as p99, PR(:300) or TC(100:300)"
# bounds that an alarm accepts for a trimmed count
_LEAST_PERCENT, _MOST_PERCENT = 10.0, 90.0


def statistic_problem(name: str) -> str | None:
    """Return why GetMetricData rejects a statistic, or ``None``.

    Example:
        >>> statistic_problem("PR(:300)")
        >>> statistic_problem("PR")
        "a percentile such as p99, PR(:300) or TC(100:300) in the embedded cloud, got 'PR'"
    """
    # claim: ranks-and-counts-of-values
    if name in STATISTICS or _PERCENTILE.fullmatch(name):
        return None
    found = _RANGE.fullmatch(name)
    if found is None or (found["low"] is None and found["high"] is None):
        return f"{_FORMS} in the embedded cloud, got {name!r}"
    low, high = found["low"], found["high"]
    if found["kind"] == "PR" and "%" in name:
        return f"a percentile rank, whose bounds are values of the metric and not percentages, got {name!r}"
    if low is not None and high is not None and (low.endswith("%") is not high.endswith("%")):
        return f"a range whose bounds are both values or both percentages, got {name!r}"
    least, most = _bounds(found)
    if least >= most or ("%" in name and high is not None and most > 100):
        return f"a range whose lower bound is below the upper one, got {name!r}"
    return None


def extended_problem(name: str) -> str | None:
    """Return why an alarm rejects an extended statistic, or ``None``: alarms accept fewer than GetMetricData.

    Example:
        >>> extended_problem("PR(100:300)"), extended_problem("p99")
        (None, None)
        >>> extended_problem("PR(:300)")
        "a percentile rank with both bounds in an alarm, got 'PR(:300)'"
    """
    # claim: alarms-take-fewer-statistics
    problem = f"{_FORMS} in the embedded cloud, got {name!r}" if name in STATISTICS else statistic_problem(name)
    found = _RANGE.fullmatch(name)
    if problem is not None or found is None:
        return problem
    if found["kind"] == "PR":
        if found["low"] is None or found["high"] is None:
            return f"a percentile rank with both bounds in an alarm, got {name!r}"
        return None
    low, high = _bounds(found)
    is_percent = "%" in name and found["low"] is not None and found["high"] is not None
    if not is_percent or low < _LEAST_PERCENT or high > _MOST_PERCENT:
        return f"a trimmed count with both bounds in percent, from 10 % to 90 %, in an alarm, got {name!r}"
    return None


def _bounds(found: re.Match[str]) -> tuple[float, float]:
    low, high = found["low"], found["high"]
    return (-math.inf if low is None else float(low.rstrip("%")), math.inf if high is None else float(high.rstrip("%")))


# claim: statistics-of-a-period
def statistic(points: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return one statistic of the datapoints of a period.

    Args:
        points: As MiniStack stores them: ``Value`` and its ``Count``, or a statistic set ``_stat``.
        name: ``SampleCount``, ``Average``, ``Sum``, ``Minimum``, ``Maximum``, a percentile (``p99``), a percentile rank
            (``PR(:300)``) or a trimmed count (``TC(100:300)``, ``TC(10%:90%)``).

    Returns:
        ``None`` without datapoints, and for ranks and counts over statistic sets or negative values, which CloudWatch
        cannot compute either.

    Example:
        >>> statistic([{"Value": 1.0}, {"Value": 3.0, "Count": 3.0}], "Average")
        2.5
        >>> statistic([{"Value": 1.0}, {"Value": 3.0, "Count": 3.0}], "PR(:1)")
        25.0
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
    if any(sets) or min(point["Value"] for point in points) < 0:
        return None
    ordered = sorted((point["Value"], n) for point, n in zip(points, counts, strict=True))
    return _ranged(ordered, name, total) if "(" in name else _percentile(ordered, float(name[1:]), total)


def _ranged(ordered: Sequence[tuple[float, float]], name: str, total: float) -> float:
    """Return a percentile rank or a trimmed count: "exclusive on the lower bound and inclusive on the upper bound"."""
    # claim: ranks-and-counts-of-values
    found = _RANGE.fullmatch(name)
    if found is None:
        raise ValueError(f"statistic must be one of those of statistic_problem, got {name!r}")
    kind, (low, high) = found["kind"], _bounds(found)
    if "%" in name:  # interpolated: "can return a decimal instead of an integer"
        return total * (min(high, 100.0) - max(low, 0.0)) / 100
    inside = math.fsum(count for value, count in ordered if low < value <= high)
    return 100 * inside / total if kind == "PR" else inside


def _percentile(ordered: Sequence[tuple[float, float]], percent: float, total: float) -> float:
    """Interpolate between the two nearest ranks, weighting each value by its count."""
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


def _read_or_refuse(read: Any, params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
    """GetMetricData: reject an unknown statistic, for which MiniStack would return the average."""
    # claim: ranks-and-counts-of-values
    queries = cbor_data.get("MetricDataQueries") if is_cbor or is_json else None
    for number, query in enumerate(queries or [], 1):
        stat = (query.get("MetricStat") or {}).get("Stat")
        problem = None if stat is None or stat in STATISTICS else statistic_problem(stat)
        if problem is not None:
            where = f"MetricDataQueries.member.{number}.MetricStat.Stat"
            message = (
                f"The value {stat} for parameter {where} is invalid: it must be {', '.join(STATISTICS)} or {problem}"
            )
            return cw._error("ValidationError", message, 400, use_json=is_json, use_cbor=is_cbor)
    return read(params, cbor_data, is_cbor, is_json)


def install() -> None:
    """Add percentile ranks and trimmed counts to GetMetricData."""
    value = cw._stat_value

    def stat_value(stats: Any, stat_name: str, points: Any = None) -> Any:
        # claim: ranks-and-counts-of-values
        return statistic(points or [], stat_name) if _RANGE.fullmatch(stat_name) else value(stats, stat_name, points)

    cw._stat_value = stat_value
    cw._get_metric_data = partial(_read_or_refuse, cw._get_metric_data)
