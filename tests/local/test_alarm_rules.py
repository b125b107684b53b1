"""Alarm states after AWS's own tables, and statistics against numpy."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.alarm_rules import decide, reason, statistic

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


def points(text: str) -> list[bool | None]:
    """Read a row of AWS's tables."""
    return [{"0": False, "X": True, "-": None}[word] for word in text.split()]


@pytest.mark.parametrize("missing", STATES)
@pytest.mark.parametrize(
    ("needed", "row", "expected"),
    [(3, row, states) for row, states in THREE_OF_THREE.items()]
    + [(2, row, states) for row, states in TWO_OF_THREE.items()],
)
def test_states_are_those_of_awss_tables(needed: int, row: str, expected: tuple[str | None, ...], missing: str) -> None:
    """Each row of the two tables of the page, for each way to treat missing data."""
    assert decide(points(row), periods=3, needed=needed, missing=missing) == expected[STATES[missing]]


@pytest.mark.parametrize("row", ["- - - - X", "- - - X -"])
def test_waits_while_the_next_datapoint_could_clear_it(row: str) -> None:
    """Three of three with only fresh breaching data does not alarm early, by the page's paragraph on premature transitions."""
    assert decide(points(row), periods=3, needed=3, missing="missing") is None


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    counts=st.lists(st.integers(1, 5), min_size=30, max_size=30),
    percent=st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.9, 100.0]),
)
def test_statistics_are_numpys(values: list[float], counts: list[int], percent: float) -> None:
    """Values with counts have the statistics of the values repeated that often."""
    stored = [{"Value": value, "Count": float(count)} for value, count in zip(values, counts, strict=False)]
    repeated = np.repeat(values, counts[: len(values)])
    expected = {
        "SampleCount": len(repeated),
        "Sum": repeated.sum(),
        "Average": repeated.mean(),
        "Minimum": repeated.min(),
        "Maximum": repeated.max(),
        f"p{percent:g}": np.percentile(repeated, percent),
    }
    assert {name: statistic(stored, name) for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_statistic_sets_count_as_published() -> None:
    """A statistic set adds its own count, sum and bounds, and has no percentile."""
    stored: list[dict[str, Any]] = [
        {"Value": 2.0, "_stat": {"SampleCount": 4.0, "Sum": 8.0, "Minimum": 1.0, "Maximum": 5.0}},
        {"Value": 12.0},
    ]
    found = [statistic(stored, name) for name in ("SampleCount", "Sum", "Average", "Minimum", "Maximum", "p99")]
    assert found == [5.0, 20.0, 4.0, 1.0, 12.0, None]
    assert statistic([], "Sum") is None


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
