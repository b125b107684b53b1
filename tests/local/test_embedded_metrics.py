"""The embedded metric format in output of functions and in log streams.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local.embedded_metrics import Datum, EmbeddedMetricError, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

HANDLER = """
import json
def handler(event, context):
    print(json.dumps(event))
    print("a line of its own")
"""


def document(metrics: list[dict[str, str]], dimensions: list[list[str]], **root: Any) -> dict[str, Any]:
    """Return an event with one directive."""
    directive = {"Namespace": "MLOps/demand", "Dimensions": dimensions, "Metrics": metrics}
    return {"_aws": {"Timestamp": 1_501_545_600_000, "CloudWatchMetrics": [directive]}, **root}


def test_each_dimension_set_is_a_metric_of_its_own() -> None:
    """Two sets, one of them empty; a list is several values; fields outside directives are only logged."""
    metrics = [{"Name": "Psi", "Unit": "None"}, {"Name": "Rows", "Unit": "Count"}]
    event = document(metrics, [["Endpoint"], []], Endpoint="e", Psi=[0.1, 0.2], Rows=3, more={"any": "thing"})
    assert read(json.dumps(event)) == [
        Datum("MLOps/demand", "Psi", {"Endpoint": "e"}, 1_501_545_600.0, "None", (0.1, 0.2)),
        Datum("MLOps/demand", "Rows", {"Endpoint": "e"}, 1_501_545_600.0, "Count", (3.0,)),
        Datum("MLOps/demand", "Psi", {}, 1_501_545_600.0, "None", (0.1, 0.2)),
        Datum("MLOps/demand", "Rows", {}, 1_501_545_600.0, "Count", (3.0,)),
    ]


@pytest.mark.parametrize("line", ["", "a text", '{"level": "INFO"}', '[INFO] {"_aws": {"CloudWatchMetrics": []}}'])
def test_other_lines_are_only_lines(line: str) -> None:
    """Plain text, an object without metrics, and one after other text."""
    assert read(line) == []


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ({"_aws": {"CloudWatchMetrics": []}}, "Timestamp"),
        (document([{"Name": "A"}], [["Endpoint"]], A=1), r"strings of the root object, got \['Endpoint'\]"),
        (document([{"Name": "A"}], [[]]), "metric 'A' must be a number or 1 to 100 of them, got None"),
        (document([{"Name": "A"}], [[]], A="1"), "got '1'"),
        (document([{"Name": "A"}], [[]], A=[1] * 101), "must be a number or 1 to 100"),
        (
            document([{"Name": f"A{i}"} for i in range(101)], [[]], **{f"A{i}": 1 for i in range(101)}),
            "at most 100 metrics",
        ),
        ({"_aws": {"Timestamp": 0, "CloudWatchMetrics": [{"Namespace": "N"}]}}, "Namespace, Dimensions and Metrics"),
        (
            {
                "_aws": {
                    "Timestamp": 0,
                    "CloudWatchMetrics": [{"Namespace": "AWS/Lambda", "Dimensions": [], "Metrics": []}],
                }
            },
            "a namespace that begins with AWS/ is AWS's own, got 'AWS/Lambda'",
        ),
    ],
)
def test_what_breaks_the_specification_makes_no_metric(event: dict[str, Any], problem: str) -> None:
    """A directive with a missing or an extra member is rejected as a whole."""
    with pytest.raises(EmbeddedMetricError, match=problem):
        read(json.dumps(event))


def _series(cloud: Cloud, name: str, dimensions: dict[str, str], at: datetime) -> list[float]:
    answer = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="MLOps/demand",
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=at - timedelta(hours=1),
        EndTime=at + timedelta(hours=1),
        Period=3600,
        Statistics=["Sum"],
    )
    return [point["Sum"] for point in answer["Datapoints"]]


def test_what_a_function_prints_becomes_a_metric_that_alarms_see(
    cloud: Cloud, make_function: Callable[..., str], wait_for: Callable[..., Any], unique: str
) -> None:
    """Printed by a real function, stored at the event's own timestamp, and evaluated by an alarm."""
    make_function(cloud, unique, {"handler.py": HANDLER})
    now = datetime.fromisoformat(cloud.clock()["now"]).astimezone(UTC)
    event = document([{"Name": "Drifted", "Unit": "Count"}], [["Endpoint"]], Endpoint=unique, Drifted=2)
    event["_aws"]["Timestamp"] = int(now.timestamp() * 1000)
    cloudwatch = cloud.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=unique, Namespace="MLOps/demand", MetricName="Drifted", Dimensions=[{"Name": "Endpoint", "Value": unique}],
        Statistic="Maximum", Period=3600, EvaluationPeriods=1, Threshold=1, TreatMissingData="ignore",
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )  # fmt: skip
    cloud.client("lambda").invoke(FunctionName=unique, Payload=json.dumps(event))
    assert wait_for(lambda: _series(cloud, "Drifted", {"Endpoint": unique}, now)) == [2.0]
    state = lambda: cloudwatch.describe_alarms(AlarmNames=[unique])["MetricAlarms"][0]["StateValue"]  # noqa: E731
    cloud.clock_jump(by=timedelta(minutes=2))
    wait_for(lambda: state() == "ALARM")


def test_what_is_put_into_a_log_stream_becomes_a_metric(cloud: Cloud, unique: str) -> None:
    """Like jobs with their own credentials; an invalid event does not affect the others."""
    logs, now = cloud.client("logs"), datetime.fromisoformat(cloud.clock()["now"]).astimezone(UTC)
    logs.create_log_group(logGroupName=unique)
    logs.create_log_stream(logGroupName=unique, logStreamName="s")
    event = document([{"Name": "Rows"}], [["Endpoint"]], Endpoint=unique, Rows=7)
    event["_aws"]["Timestamp"] = int(now.timestamp() * 1000)
    broken = document([{"Name": "Rows"}], [["Endpoint"]], Rows=7)
    events = [{"timestamp": int(now.timestamp() * 1000), "message": json.dumps(e)} for e in (broken, event)]
    logs.put_log_events(logGroupName=unique, logStreamName="s", logEvents=events)
    assert _series(cloud, "Rows", {"Endpoint": unique}, now) == [7.0]
