"""Statistics of a period: compared with numpy, by CloudWatch's definitions, in GetMetricData and alarms."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.metric_statistics import extended_problem, statistic, statistic_problem

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

STORED = [{"Value": 100.0}, {"Value": 300.0, "Count": 2.0}, {"Value": 301.0}]


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    counts=st.lists(st.integers(1, 5), min_size=30, max_size=30),
    percent=st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.9, 100.0]),
)
def test_statistics_are_numpys(values: list[float], counts: list[int], percent: float) -> None:
    """Values with counts equal the values repeated that often."""
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
    """A statistic set adds its count, sum and bounds, and has no percentile."""
    stored: list[dict[str, Any]] = [
        {"Value": 2.0, "_stat": {"SampleCount": 4.0, "Sum": 8.0, "Minimum": 1.0, "Maximum": 5.0}},
        {"Value": 12.0},
    ]
    found = [statistic(stored, name) for name in ("SampleCount", "Sum", "Average", "Minimum", "Maximum", "p99")]
    assert found == [5.0, 20.0, 4.0, 1.0, 12.0, None]
    assert statistic([], "Sum") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PR(:300)", 75.0),
        ("PR(100:300)", 50.0),
        ("PR(301:)", 0.0),
        ("PR(:0)", 0.0),
        ("PR(99.5:1000)", 100.0),
        ("TC(:300)", 3.0),
        ("TC(100:300)", 2.0),
        ("TC(300:)", 1.0),
        ("TC(10%:90%)", 3.2),
        ("TC(80%:)", 0.8),
    ],
)
def test_ranges_exclude_their_lower_bound_and_include_the_upper(name: str, value: float) -> None:
    """By the page's definition of percentile ranks and trimmed counts."""
    assert statistic_problem(name) is None
    assert statistic(STORED, name) == pytest.approx(value)


def test_ranges_need_single_values_that_are_not_negative() -> None:
    """Like percentiles."""
    assert statistic([{"Value": -1.0}, {"Value": 5.0}], "PR(:3)") is None
    sets = [{"Value": 2.0, "_stat": {"SampleCount": 4.0, "Sum": 8.0, "Minimum": 1.0, "Maximum": 5.0}}]
    assert statistic(sets, "TC(:3)") is None
    assert statistic([], "PR(:3)") is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("PR", "a percentile such as p99, PR(:300) or TC(100:300) in the embedded cloud, got 'PR'"),
        ("PR(:)", "a percentile such as"),
        ("tm90", "a percentile such as"),
        ("WM(10%:90%)", "a percentile such as"),
        ("pr(:300)", "a percentile such as"),
        ("PR(:300%)", "a percentile rank, whose bounds are values of the metric"),
        ("TC(10%:300)", "a range whose bounds are both values or both percentages"),
        ("PR(300:100)", "a range whose lower bound is below the upper one"),
        ("TC(10%:110%)", "a range whose lower bound is below the upper one"),
    ],
)
def test_names_what_is_no_statistic(name: str, problem: str) -> None:
    """Neither GetMetricData nor an alarm accepts them."""
    assert str(statistic_problem(name)).startswith(problem)
    assert extended_problem(name) == statistic_problem(name)


@pytest.mark.parametrize("name", ["p99", "p99.9", "p100", "PR(100:2000)", "TC(10%:90%)", "TC(20%:80%)"])
def test_an_alarm_takes_ranks_of_values_and_counts_in_percent(name: str) -> None:
    """The statistics in botocore's model of PutMetricAlarm."""
    assert extended_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("PR(:300)", "a percentile rank with both bounds"),
        ("TC(100:300)", "a trimmed count with both bounds in percent"),
        ("TC(5%:90%)", "a trimmed count with both bounds in percent"),
        ("TC(10%:)", "a trimmed count with both bounds in percent"),
        ("Sum", "a percentile such as"),
    ],
)
def test_an_alarm_takes_less_than_get_metric_data(name: str, problem: str) -> None:
    """Statistics outside the model are rejected."""
    assert str(extended_problem(name)).startswith(problem)


def ask(cloud: Cloud, stat: str, **window: Any) -> list[float]:
    """Return the values of a metric of this file."""
    metric = {"Namespace": "Test", "MetricName": "Latency", "Dimensions": [{"Name": "File", "Value": __name__}]}
    query = {"Id": "asked", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}
    answer = cloud.client("cloudwatch").get_metric_data(MetricDataQueries=[query], **window)
    return [float(value) for value in answer["MetricDataResults"][0]["Values"]]


def test_get_metric_data_counts_values_below_a_limit(cloud: Cloud) -> None:
    """SampleCount, percentile rank and trimmed count of one minute; an unknown statistic is rejected with its position."""
    client, at = cloud.client("cloudwatch"), datetime.fromisoformat(cloud.clock()["now"])
    data = {"MetricName": "Latency", "Dimensions": [{"Name": "File", "Value": __name__}], "Timestamp": at}
    client.put_metric_data(
        Namespace="Test", MetricData=[{**data, "Values": [100.0, 300.0, 301.0], "Counts": [1, 2, 1]}]
    )
    window = {"StartTime": at - timedelta(minutes=2), "EndTime": at + timedelta(minutes=2)}
    found = {stat: ask(cloud, stat, **window) for stat in ("SampleCount", "PR(:300)", "TC(:300)")}
    assert found == {"SampleCount": [4.0], "PR(:300)": [75.0], "TC(:300)": [3.0]}
    with pytest.raises(
        ClientError, match=r"PR\(:5%\) for parameter MetricDataQueries.member.1.MetricStat.Stat is invalid"
    ):
        ask(cloud, "PR(:5%)", **window)


def test_an_alarm_watches_a_rank(cloud: Cloud) -> None:
    """Three of four calls took 0 to 300 ms: fewer than nine tenths."""
    client, dimensions = cloud.client("cloudwatch"), [{"Name": "File", "Value": "ranked"}]
    client.put_metric_alarm(
        AlarmName="ranked",
        Namespace="Test",
        MetricName="Latency",
        Dimensions=dimensions,
        ExtendedStatistic="PR(0:300)",
        Period=60,
        EvaluationPeriods=1,
        Threshold=90,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="notBreaching",
    )
    client.put_metric_data(
        Namespace="Test",
        MetricData=[{"MetricName": "Latency", "Dimensions": dimensions, "Values": [100.0, 400.0], "Counts": [3, 1]}],
    )
    cloud.clock_jump(by=timedelta(minutes=1))
    assert client.describe_alarms(AlarmNames=["ranked"])["MetricAlarms"][0]["StateValue"] == "ALARM"
