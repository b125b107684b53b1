"""Metrics of queues on the embedded cloud: which queues report, which metrics, and from when."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud

VISIBLE = "ApproximateNumberOfMessagesVisible"
IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
DELAYED = "ApproximateNumberOfMessagesDelayed"


def queue(cloud: Cloud, name: str, *, metric: str = VISIBLE, is_watched: bool = True, **attributes: str) -> str:
    """Make a queue, and an alarm like this project's dead-letter alarms; return the queue's URL."""
    if is_watched:
        cloud.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/SQS",
            MetricName=metric,
            Dimensions=[{"Name": "QueueName", "Value": name}],
            Statistic="Maximum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            TreatMissingData="notBreaching",
        )
    return str(cloud.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def points(cloud: Cloud, name: str, metric: str = VISIBLE) -> list[tuple[datetime, float]]:
    """Return a queue's reported values of the last day, by minute, oldest first."""
    now = datetime.fromisoformat(cloud.clock()["now"])
    found = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName=metric,
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=now - timedelta(days=1),
        EndTime=now,
        Period=60,
        Statistics=["Maximum", "SampleCount"],
    )["Datapoints"]
    assert {each["SampleCount"] for each in found} <= {1.0}
    return sorted((each["Timestamp"].astimezone(UTC), each["Maximum"]) for each in found)


def state(cloud: Cloud, name: str) -> str:
    """Return the state of a queue's alarm."""
    return str(cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"])


def test_a_queue_reports_each_minute_until_six_hours_after_it_was_used(cloud: Cloud) -> None:
    """From a quarter of an hour after it became active; a message keeps it active, and a waiting one triggers its alarm."""
    sqs, name = cloud.client("sqs"), "reporting"
    url = queue(cloud, name)
    cloud.clock_jump(by=timedelta(hours=1))
    assert (points(cloud, name), state(cloud, name)) == ([], "OK")
    sqs.send_message(QueueUrl=url, MessageBody="waits")
    woken = datetime.fromisoformat(cloud.clock()["now"])
    cloud.clock_jump(by=timedelta(minutes=15))
    assert (points(cloud, name), state(cloud, name)) == ([], "OK")
    cloud.clock_jump(by=timedelta(minutes=3))
    first, waiting = points(cloud, name)[0]
    assert timedelta(minutes=14) <= first - woken < timedelta(minutes=16)
    assert (waiting, state(cloud, name)) == (1.0, "ALARM")

    cloud.clock_jump(by=timedelta(hours=8))
    seen = points(cloud, name)
    assert [later - earlier for (earlier, _), (later, _) in pairwise(seen)] == [timedelta(minutes=1)] * (len(seen) - 1)
    assert (len(seen) > 480, state(cloud, name)) == (True, "ALARM")

    sqs.purge_queue(QueueUrl=url)
    emptied = datetime.fromisoformat(cloud.clock()["now"])
    cloud.clock_jump(by=timedelta(minutes=20))
    assert (points(cloud, name)[-1][1], state(cloud, name)) == (0.0, "OK")
    cloud.clock_jump(by=timedelta(hours=10))
    last, _ = points(cloud, name)[-1]
    assert timedelta(hours=5, minutes=58) <= last - emptied <= timedelta(hours=6)


def test_what_a_redrive_leaves_is_reported(cloud: Cloud) -> None:
    """No call names the dead-letter queue: the source's message exceeded its receive count."""
    sqs = cloud.client("sqs")
    dead = queue(cloud, "letters")
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    cloud.clock_jump(by=timedelta(hours=7))  # that call made it active
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    source = queue(cloud, "read", is_watched=False, RedrivePolicy=redrive)
    sqs.send_message(QueueUrl=source, MessageBody="fails")
    assert sqs.receive_message(QueueUrl=source, VisibilityTimeout=0)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=source)
    cloud.clock_jump(by=timedelta(minutes=20))
    assert (points(cloud, "letters")[-1][1], state(cloud, "letters")) == (1.0, "ALARM")


@pytest.mark.parametrize(("metric", "attributes"), [(IN_FLIGHT, {}), (DELAYED, {"DelaySeconds": "600"})])
def test_messages_that_wait_for_something_are_reported_while_there_are_some(
    cloud: Cloud, metric: str, attributes: dict[str, str]
) -> None:
    """Messages in flight or delayed; zero is not reported for them, unlike for visible messages."""
    sqs, name = cloud.client("sqs"), f"waits-{metric[-7:]}"
    url = queue(cloud, name, metric=metric, **attributes)
    sqs.send_message(QueueUrl=url, MessageBody="waits")
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=600)
    cloud.clock_jump(by=timedelta(minutes=20))
    assert (points(cloud, name, metric)[-1][1], state(cloud, name)) == (1.0, "ALARM")
    reported = len(points(cloud, name, metric))
    sqs.purge_queue(QueueUrl=url)
    cloud.clock_jump(by=timedelta(minutes=20))
    others: list[Any] = [points(cloud, name, other) for other in (IN_FLIGHT, DELAYED) if other != metric]
    assert (len(points(cloud, name, metric)), others) == (reported, [[]])
    assert (points(cloud, name)[-1][1], state(cloud, name)) == (0.0, "OK")


def test_a_queue_that_no_alarm_watches_has_no_metrics(cloud: Cloud) -> None:
    """Metrics would cost time, and are only for alarms."""
    url = queue(cloud, "unwatched", is_watched=False)
    cloud.client("sqs").send_message(QueueUrl=url, MessageBody="waits")
    cloud.clock_jump(by=timedelta(hours=1))
    assert points(cloud, "unwatched") == []


def test_a_queue_that_is_made_again_becomes_active_anew(cloud: Cloud) -> None:
    """Its first metrics come after a quarter of an hour like those of any queue, although its namesake had some."""
    sqs, name = cloud.client("sqs"), "again"
    sqs.send_message(QueueUrl=queue(cloud, name), MessageBody="waits")
    cloud.clock_jump(by=timedelta(minutes=20))
    reported = len(points(cloud, name))
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    cloud.clock_jump(by=timedelta(minutes=2))
    sqs.send_message(QueueUrl=queue(cloud, name), MessageBody="waits")
    cloud.clock_jump(by=timedelta(minutes=10))
    assert (len(points(cloud, name)), reported > 0) == (reported, True)
    cloud.clock_jump(by=timedelta(minutes=10))
    assert len(points(cloud, name)) > reported
