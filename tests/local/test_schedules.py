"""Schedules of the embedded cloud: their times, and the deliveries of a jump."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local.schedules import occurrence

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

NOON = datetime(2017, 11, 30, 12, tzinfo=UTC)  # a Thursday


# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("rate(1 minute)", "UTC", "2017-11-30T12:01:00"),
        ("rate(7 days)", "UTC", "2017-12-07T12:00:00"),
        ("cron(0 12 * * ? *)", "UTC", "2017-12-01T12:00:00"),
        ("cron(0/15 * * * ? *)", "UTC", "2017-11-30T12:15:00"),
        ("cron(0 18 ? * MON-FRI *)", "UTC", "2017-11-30T18:00:00"),
        ("cron(0 8 1 * ? *)", "UTC", "2017-12-01T08:00:00"),
        ("cron(0 0 L * ? *)", "UTC", "2017-12-31T00:00:00"),
        ("cron(0 9 * * ? *)", "America/New_York", "2017-11-30T14:00:00"),
        ("at(2017-12-24T18:00:00)", "Europe/Berlin", "2017-12-24T17:00:00"),
        ("at(2017-11-30T12:00:00)", "UTC", None),
        ("every now and then", "UTC", None),
    ],
)
def test_first_time_after_noon(expression: str, zone: str, expected: str | None) -> None:
    """Rates count from their creation, cron and at follow the calendar of their time zone."""
    noon = NOON.timestamp()
    found = occurrence(expression, created=noon, after=noon, zone=zone)
    assert (None if found is None else datetime.fromtimestamp(found, UTC).replace(tzinfo=None).isoformat()) == expected


def test_times_of_a_rate_stay_on_its_grid() -> None:
    """The time after an occurrence is the next one, whatever the fraction of a second of the creation."""
    created, times = 1_512_043_200.123456, []
    for _ in range(1000):
        times.append(occurrence("rate(5 minutes)", created=created, after=times[-1] if times else created))
    assert times == pytest.approx([created + 300 * (index + 1) for index in range(1000)], abs=1e-3)


def queue(cloud: Cloud, name: str, service: str) -> tuple[str, str]:
    """Make a queue that a service may send to; return its URL and ARN."""
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return cloud.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"], arn


def received(cloud: Cloud, url: str) -> list[dict[str, Any]]:
    """Receive all messages of a queue, in the order they were sent, each with its timestamp as ``sent``."""
    sqs, found = cloud.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["SentTimestamp"]).get(
        "Messages"
    ):
        for message in messages:
            found.append({**json.loads(message["Body"]), "sent": int(message["Attributes"]["SentTimestamp"]) / 1000})
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_jump_delivers_every_occurrence_in_order(cloud: Cloud) -> None:
    """Two rules over three hours: each event has its own time, equal to the queue's timestamp."""
    url, arn = queue(cloud, "occurrences", "events.amazonaws.com")
    events = cloud.client("events")
    rules = {"hourly": "cron(0 * * * ? *)", "half": "cron(30 * * * ? *)"}
    for name, expression in rules.items():
        events.put_rule(Name=name, ScheduleExpression=expression)
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    start = datetime.fromtimestamp(cloud.clock()["epoch"], UTC)
    cloud.clock_jump(to=(start + timedelta(hours=1)).replace(minute=15, second=0, microsecond=0))
    received(cloud, url)
    first = datetime.fromtimestamp(cloud.clock()["epoch"], UTC).replace(second=0, microsecond=0)
    cloud.clock_jump(by=timedelta(hours=3))
    for name in rules:
        events.remove_targets(Rule=name, Ids=["q"])
        events.delete_rule(Name=name)
    found = received(cloud, url)
    expected = [first + timedelta(minutes=15 + 30 * index) for index in range(6)]
    assert [event["time"] for event in found] == [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in expected]
    assert [event["resources"][0].rpartition("/")[2] for event in found] == ["half", "hourly"] * 3
    assert [event["sent"] for event in found] == pytest.approx([moment.timestamp() for moment in expected], abs=2)
    assert {(event["source"], event["detail-type"]) for event in found} == {("aws.events", "Scheduled Event")}


def test_scheduler_delivers_its_input_with_its_time(cloud: Cloud, wait_for: Callable[..., Any]) -> None:
    """Context attributes are replaced, and a one-time schedule is deleted after completion if configured.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    """
    url, arn = queue(cloud, "scheduled", "scheduler.amazonaws.com")
    iam = cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="scheduled", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    iam.put_role_policy(
        RoleName="scheduled", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [send]})
    )
    at = datetime.fromtimestamp(cloud.clock()["epoch"] + 3600, UTC).replace(microsecond=0, tzinfo=None)
    scheduler = cloud.client("scheduler")
    scheduler.create_schedule(
        Name="once",
        ScheduleExpression=f"at({at.isoformat()})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": arn,
            "RoleArn": role,
            "Input": '{"now": "<aws.scheduler.scheduled-time>", "of": "<aws.scheduler.schedule-arn>"}',
        },
    )
    cloud.clock_jump(by=timedelta(hours=2))
    (message,) = received(cloud, url)
    assert message["now"] == at.isoformat() + "Z"
    assert message["of"] == "arn:aws:scheduler:us-east-1:000000000000:schedule/default/once"
    assert wait_for(lambda: all(schedule["Name"] != "once" for schedule in scheduler.list_schedules()["Schedules"]))


def test_jump_waits_for_the_functions_of_each_occurrence(cloud: Cloud, make_function: Callable[..., str]) -> None:
    """Three days' runs of a slow function do not overlap, and end before the jump does."""
    code = "import time, boto3\ndef handler(event, context):\n    time.sleep(0.2)\n"
    code += (
        "    boto3.client('s3').put_object(Bucket='daily', Key=event['time'] + '/' + str(time.time_ns()), Body=b'')\n"
    )
    arn = make_function(cloud, "daily", {"handler.py": code})
    write = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::daily/*"}
    cloud.client("iam").put_role_policy(
        RoleName="daily-role",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [write]}),
    )
    cloud.client("s3").create_bucket(Bucket="daily")
    events = cloud.client("events")
    rule = events.put_rule(Name="daily", ScheduleExpression="cron(0 6 * * ? *)")["RuleArn"]
    events.put_targets(Rule="daily", Targets=[{"Id": "f", "Arn": arn}])
    cloud.client("lambda").add_permission(
        FunctionName="daily",
        StatementId="s",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    cloud.clock_jump(by=timedelta(days=3))
    keys = [item["Key"].split("/") for item in cloud.client("s3").list_objects_v2(Bucket="daily")["Contents"]]
    events.remove_targets(Rule="daily", Ids=["f"])
    events.delete_rule(Name="daily")
    assert len(keys) == 3
    assert sorted(keys) == sorted(keys, key=lambda key: int(key[1]))
    assert all(key[0].endswith("T06:00:00Z") for key in keys)


def test_template_in_a_past_year_is_on_the_embedded_clock(
    own_cloud: Callable[..., Cloud], wait_for: Callable[..., Any]
) -> None:
    """A rate and an alarm created by CloudFormation in 2017 run in 2017, and a jump does not evaluate the alarm until today."""
    cloud = own_cloud()
    cloud.clock_jump(to=datetime(2017, 1, 2, tzinfo=UTC))
    url, arn = queue(cloud, "past", "events.amazonaws.com")
    target = {"Id": "q", "Arn": arn}
    metric = {
        "Namespace": "Past",
        "MetricName": "M",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
    }
    resources = {
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {"ScheduleExpression": "rate(7 days)", "Targets": [target]},
        },
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"AlarmName": "past", "ComparisonOperator": "GreaterThanThreshold", **metric},
        },
    }
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName="past", TemplateBody=json.dumps({"Resources": resources}))
    wait_for(lambda: cloudformation.describe_stacks(StackName="past")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")
    assert wait_for(lambda: cloud.client("events").list_rules()["Rules"])
    cloud.clock_jump(by=timedelta(minutes=1))
    assert cloud.clock_jump(by=timedelta(days=15))["ran"] < 20
    assert [event["time"][:10] for event in received(cloud, url)] == ["2017-01-09", "2017-01-16"]
    found = cloud.client("cloudwatch").describe_alarms(AlarmNames=["past"])["MetricAlarms"][0]
    assert found["AlarmConfigurationUpdatedTimestamp"].year == 2017
