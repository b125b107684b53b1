"""Alarm evaluation: metric math, and states by AWS's own tables.

Unsupported expressions are rejected.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local import alarm_evaluation
from mlops_local.alarm_evaluation import decide, reason

if TYPE_CHECKING:
    from collections.abc import Mapping


STATES = {"missing": 0, "ignore": 1, "breaching": 2, "notBreaching": 3}
KEEP = None

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
# "0" is not breaching, "X" breaching, "-" missing; missing, ignore, breaching, notBreaching
THREE_OF_THREE = {
    "0 - X - X": ("OK", "OK", "OK", "OK"),
    "0 - - - -": ("OK", "OK", "OK", "OK"),
    "- - - - -": ("INSUFFICIENT_DATA", KEEP, "ALARM", "OK"),
    "0 X X - X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "- - X - -": ("ALARM", KEEP, "ALARM", "OK"),
}
TWO_OF_THREE = {
    "0 - X - X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0 0 X 0 X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0 - X - -": ("OK", "OK", "ALARM", "OK"),
    "- - - - 0": ("OK", "OK", "ALARM", "OK"),
    "- - - X -": ("ALARM", KEEP, "ALARM", "OK"),
}


def stat(name: str, *, period: int = 60, **query: Any) -> dict[str, Any]:
    """Return a query of one metric."""
    metric = {"Namespace": "N", "MetricName": name, "Dimensions": []}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": period, "Stat": "Sum"}, "ReturnData": False} | query


def compute(expression: str, **series: list[float | None]) -> list[float | None]:
    """Evaluate an expression over metrics of the given datapoints."""
    queries = [{"Id": "e", "Expression": expression}, *map(stat, series)]
    assert alarm_evaluation.problems(queries) == []
    return alarm_evaluation.evaluate(queries, lambda metric: series[metric["Metric"]["MetricName"]])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b * 2 - 1", [2.0, None, None]),
        ("(a + b) * -2", [-4.0, None, None]),
        ("a / (b - 1)", [None, None, None]),
        ("FILL(a, 0) + 1", [2.0, 3.0, 1.0]),
        ("IF(FILL(b, 0) >= 1, a, 7)", [1.0, 7.0, 7.0]),
        ("a == 2", [0.0, 1.0, None]),
        ("IF(2 > 1, a, 0)", [1.0, 2.0, None]),
    ],
)
def test_computes_each_period(expression: str, expected: list[float | None]) -> None:
    """No result where a side has no datapoint or the divisor is zero; FILL replaces a missing one."""
    assert compute(expression, a=[1.0, 2.0, None], b=[1.0, None, None]) == expected


# a Tuesday: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html has Monday as 1
_TUESDAY = datetime(2017, 8, 8, 22, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("HOUR(TIME_SERIES(1))", [22.0, 23.0, 0.0, 1.0]),
        ("DAY(TIME_SERIES(1))", [2.0, 2.0, 3.0, 3.0]),
        ("HOUR(a)", [22.0, 23.0, 0.0, 1.0]),
        ("EPOCH(a) - 1502229600", [0.0, 3600.0, 7200.0, 10800.0]),
        ("IF(a > 0, EPOCH(a) >= 1502240400, 0)", [None, 0.0, None, 1.0]),
        ("TIME_SERIES(7) + a", [None, 8.0, None, 9.0]),
        ("IF(HOUR(TIME_SERIES(1)) >= 23 OR HOUR(TIME_SERIES(1)) < 1, a, 1)", [1.0, 1.0, None, 1.0]),
        (
            "IF((DAY(TIME_SERIES(1)) == 2 OR DAY(TIME_SERIES(1)) == 4) AND (HOUR(TIME_SERIES(1)) < 23), a, 9)",
            [None, 9, 9, 9],
        ),
    ],
)
def test_hours_and_days_are_read_off_the_periods(expression: str, expected: list[float | None]) -> None:
    """In UTC, of the start of each period; no result where the chosen branch has no datapoint."""
    queries = [{"Id": "e", "Expression": expression}, stat("a", period=3600)]
    starts = [_TUESDAY + 3600 * hour for hour in range(4)]
    assert alarm_evaluation.evaluate(queries, lambda _: [None, 1.0, None, 2.0], starts) == expected


_LEAF = st.sampled_from(["a", "b", "2", "0.5"])
_EXPRESSION = st.recursive(
    _LEAF,
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
)


@given(expression=_EXPRESSION, a=st.integers(-5, 5), b=st.integers(-5, 5))
def test_agrees_with_python(expression: str, a: int, b: int) -> None:
    """Arithmetic equals Python's, and a division by zero gives no result."""
    try:
        expected: float | None = eval(expression, {"a": float(a), "b": float(b)})  # noqa: S307 - of our own making
    except ZeroDivisionError:
        expected = None
    (got,) = compute(f"{expression} + 0 * a", a=[float(a)], b=[float(b)])
    assert got == expected or (got is not None and expected is not None and math.isclose(got, expected))


def test_expressions_build_on_expressions() -> None:
    """An expression may use another one's id."""
    queries: list[dict[str, Any]] = [
        {"Id": "e", "Expression": "half + 1"},
        {"Id": "half", "Expression": "m / 2", "ReturnData": False},
        stat("m"),
    ]
    assert alarm_evaluation.problems(queries) == []
    assert alarm_evaluation.evaluate(queries, lambda _: [4.0]) == [3.0]
    assert (alarm_evaluation.period(queries), alarm_evaluation.watched(queries)["Id"]) == (60, "e")


@pytest.mark.parametrize(
    ("queries", "problem"),
    [
        ([{"Id": "e", "Expression": "m ^ 2"}, stat("m")], "'^' in expression 'm ^ 2' is not in the embedded cloud"),
        ([{"Id": "e", "Expression": "METRICS()"}, stat("m")], "function METRICS in expression"),
        (
            [{"Id": "e", "Expression": "m AND m OR m"}, stat("m")],
            "AND and OR side by side in 'm AND m OR m' need parentheses",
        ),
        ([{"Id": "e", "Expression": "m NOT m"}, stat("m")], "has an unexpected 'NOT'"),
        ([{"Id": "e", "Expression": "TIME_SERIES(m)"}, stat("m")], "TIME_SERIES takes a number"),
        ([{"Id": "e", "Expression": "m + HOUR(1)"}, stat("m")], "HOUR takes a time series, got a number"),
        ([{"Id": "e", "Expression": "FILL(m, REPEAT)"}, stat("m")], "REPEAT in expression"),
        ([{"Id": "e", "Expression": "FILL(m, m)"}, stat("m")], "FILL takes a number"),
        ([{"Id": "e", "Expression": "IF(m, 1)"}, stat("m")], "IF takes 3 arguments, got 2"),
        ([{"Id": "e", "Expression": "(m"}, stat("m")], "needs ')', got its end"),
        ([{"Id": "e", "Expression": "m +"}, stat("m")], "needs a number, an id or '(', got its end"),
        ([{"Id": "e", "Expression": "other"}, stat("m")], "expressions refer to other, which is not an Id of Metrics"),
        (
            [{"Id": "e", "Expression": "f + m"}, {"Id": "f", "Expression": "e", "ReturnData": False}, stat("m")],
            "none on itself",
        ),
        ([{"Id": "E", "Expression": "m"}, stat("m")], "Id must begin with a lower-case letter, got 'E'"),
        ([stat("m"), stat("m")], "Id m is not unique"),
        ([stat("m")], "exactly one element of Metrics must return data, got 0"),
        ([stat("m", period=60, ReturnData=True), stat("n", period=300)], "all of one period, got periods [60, 300]"),
        ([stat("m", AccountId="1", ReturnData=True)], "AccountId of m is not in the embedded cloud"),
    ],
)
def test_fails_on_what_it_does_not_know(queries: list[Mapping[str, Any]], problem: str) -> None:
    """Each problem is reported by name."""
    assert re.search(re.escape(problem), "; ".join(alarm_evaluation.problems(queries)))


def points(text: str) -> list[bool | None]:
    """Parse a row of AWS's tables."""
    return [{"0": False, "X": True, "-": None}[word] for word in text.split()]


@pytest.mark.parametrize("missing", STATES)
@pytest.mark.parametrize(
    ("needed", "row", "expected"),
    [(3, row, states) for row, states in THREE_OF_THREE.items()]
    + [(2, row, states) for row, states in TWO_OF_THREE.items()],
)
def test_states_are_those_of_awss_tables(needed: int, row: str, expected: tuple[str | None, ...], missing: str) -> None:
    """Each row of the page's two tables, for each treatment of missing data."""
    assert decide(points(row), periods=3, needed=needed, missing=missing) == expected[STATES[missing]]


@pytest.mark.parametrize("row", ["- - - - X", "- - - X -"])
def test_waits_while_the_next_datapoint_could_clear_it(row: str) -> None:
    """Three of three with only fresh breaching data does not alarm early, by the page's paragraph on premature transitions."""
    assert decide(points(row), periods=3, needed=3, missing="missing") is None


def test_reason_is_in_awss_words() -> None:
    """The reason of the page's example event, word by word.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """
    alarm = {
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": 50.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "Statistic": "Average",
    }
    text, data = reason(
        alarm,
        [None, None, 99.50160229693434],
        states=("OK", "ALARM"),
        missing="missing",
        started=1570035540.0,
        now=1570035880.985,
    )
    assert text == (
        "Threshold Crossed: 1 out of the last 1 datapoints [99.50160229693434 (02/10/19 16:59:00)] was greater than "
        "the threshold (50.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert json.loads(data) == {
        "version": "1.0",
        "queryDate": "2019-10-02T17:04:40.985+0000",
        "startDate": "2019-10-02T16:59:00.000+0000",
        "statistic": "Average",
        "period": 300,
        "recentDatapoints": [99.50160229693434],
        "threshold": 50.0,
    }
