"""Embedded time in handlers: an object's event through rule and queue to a function, metrics, and time-to-live."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local.cloud import up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_local.cloud import Cloud

# returns what it received, its role, and which mlops_runtime it imported; every second message fails
HANDLER = """
import json, boto3, mlops_runtime
def handler(event, context):
    identity = boto3.client("sts").get_caller_identity()["Arn"]
    failures = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        key = body["detail"]["object"]["key"]
        if key.endswith("bad"):
            failures.append({"itemIdentifier": record["messageId"]})
            continue
        row = {"key": key, "time": body["time"], "sent": record["attributes"]["SentTimestamp"], "identity": identity,
               "runtime": mlops_runtime.WHICH, "detail": body["detail-type"]}
        boto3.client("s3").put_object(Bucket="stamps-out", Key=key, Body=json.dumps(row))
    return {"batchItemFailures": failures}
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start a cloud for this file: a season passes, in which hourly schedules of other files would run."""
    running = up(tmp_path_factory.mktemp("stamps"))
    yield running
    running.down()


def test_object_reaches_function_with_embedded_times(
    cloud: Cloud, make_function: Callable[..., str], wait_for: Callable[..., Any]
) -> None:
    """S3 to EventBridge to SQS to Lambda, under IAM, with partial batch responses and the zip's own mlops_runtime."""
    s3, sqs, events = cloud.client("s3"), cloud.client("sqs"), cloud.client("events")
    for bucket in ("stamps-in", "stamps-out"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket="stamps-in", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    queue = "arn:aws:sqs:us-east-1:000000000000:stamps"
    send = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
    }
    url = sqs.create_queue(
        QueueName="stamps",
        Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [send]}), "VisibilityTimeout": "60"},
    )["QueueUrl"]
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["stamps-in"]}, "object": {"key": [{"prefix": "capture/"}]}},
    }
    events.put_rule(Name="stamps", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="stamps", Targets=[{"Id": "q", "Arn": queue}])
    make_function(cloud, "stamps", {"handler.py": HANDLER, "mlops_runtime/__init__.py": "WHICH = 'of the zip'\n"})
    statements = [
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::stamps-out/*"},
        {
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": queue,
        },
    ]
    cloud.client("iam").put_role_policy(
        RoleName="stamps-role",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    cloud.client("lambda").create_event_source_mapping(
        FunctionName="stamps", EventSourceArn=queue, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    cloud.clock_jump(by=timedelta(days=30))
    now = cloud.clock()["epoch"]
    assert now - time.time() > 30 * 86_400 - 60
    for key in ("capture/good", "capture/bad", "other/good"):
        s3.put_object(Bucket="stamps-in", Key=key, Body=b"x")
    wait_for(lambda: s3.list_objects_v2(Bucket="stamps-out").get("KeyCount"))
    row = json.loads(s3.get_object(Bucket="stamps-out", Key="capture/good")["Body"].read())
    assert datetime.fromisoformat(row["time"]).timestamp() == pytest.approx(now, abs=5)
    assert int(row["sent"]) / 1000 == pytest.approx(now, abs=5)
    assert row["identity"].startswith("arn:aws:sts::000000000000:assumed-role/stamps-role/")
    assert (row["runtime"], row["detail"]) == ("of the zip", "Object Created")

    def counts() -> tuple[str, str]:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]

    assert wait_for(lambda: counts() == ("0", "1"))  # the failed message waits for its visibility timeout, in real time
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="stamps-out")["Contents"]] == ["capture/good"]


def test_metrics_and_events_are_stamped_with_embedded_time(cloud: Cloud, wait_for: Callable[..., Any]) -> None:
    """A value without a timestamp gets the embedded time, and stays after a season."""
    cloudwatch = cloud.client("cloudwatch")
    now = cloud.clock()["epoch"]
    cloudwatch.put_metric_data(Namespace="Stamps", MetricData=[{"MetricName": "M", "Value": 1.0}])
    cloud.clock_jump(by=timedelta(days=90))
    (point,) = cloudwatch.get_metric_statistics(
        Namespace="Stamps", MetricName="M", Period=3600, Statistics=["Sum"],
        StartTime=datetime.fromtimestamp(now - 86_400, UTC), EndTime=datetime.fromtimestamp(now + 86_400, UTC),
    )["Datapoints"]  # fmt: skip
    assert abs(point["Timestamp"].timestamp() - now) <= 3600


def test_objects_are_written_at_the_embedded_time(cloud: Cloud) -> None:
    """In a listing, a head, and a condition on it."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="stamps-written")
    cloud.clock_jump(by=timedelta(days=3))
    s3.put_object(Bucket="stamps-written", Key="k", Body=b"v")
    now = cloud.clock()["epoch"]
    (listed,) = s3.list_objects_v2(Bucket="stamps-written")["Contents"]
    assert listed["LastModified"].timestamp() == pytest.approx(now, abs=60)
    assert s3.head_object(Bucket="stamps-written", Key="k")["LastModified"].timestamp() == pytest.approx(now, abs=60)


def test_a_default_retention_begins_at_the_embedded_time(cloud: Cloud) -> None:
    """Objects written after a season are locked too."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="stamps-locked", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}
    s3.put_object_lock_configuration(
        Bucket="stamps-locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    cloud.clock_jump(by=timedelta(days=9))
    version = s3.put_object(Bucket="stamps-locked", Key="k", Body=b"v")["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket="stamps-locked", Key="k", VersionId=version)
    cloud.clock_jump(by=timedelta(days=2, seconds=1))
    s3.delete_object(Bucket="stamps-locked", Key="k", VersionId=version)


def test_dynamodb_lives_on_the_embedded_clock(cloud: Cloud) -> None:
    """Its timestamps, and so the deletion of expired rows, do not follow the real clock."""
    dynamodb = cloud.client("dynamodb")
    created = dynamodb.create_table(
        TableName="ttl", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
    )["TableDescription"]["CreationDateTime"]  # fmt: skip
    assert created.timestamp() == pytest.approx(cloud.clock()["epoch"], abs=5)
