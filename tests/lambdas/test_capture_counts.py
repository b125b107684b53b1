"""The function that counts captures, with its table and buckets in this process (moto)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws
from tests.loaded_module import load_handler

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.capture import announcement_key, synthetic_id
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.counting.baseline import number_baseline
from mlops_runtime.monitor.counting.problems import OBJECT_TOO_LARGE

KEY = "capture/demand-forecast/AllTraffic/2017/08/07/10/a.jsonl"
BASELINE = Baseline(
    features=(number_baseline("price", np.arange(100, dtype=np.float32)),),
    rows=100,
    training_set_id="set-1",
    created="2017-08-01T00:00:00Z",
)
COUNTS = f"monitor/demand-forecast/counts/AllTraffic/2017/08/07/10/a.baseline-{content_hash(BASELINE)[:16]}.json"
LIVE = LivePointer(
    endpoint="demand-forecast", config="c", model="m", model_package_arn="arn:p/1", model_sha256="s", artifact_uri="s3://a",
    baseline_uri="s3://artifacts/baseline.json", baseline_sha256=content_hash(BASELINE), evaluation_uri="s3://e",
    training_set_id="set-1", spec_sha256="x", spec_uri="s3://x", execution="arn:e", since="2017-08-07T09:00:00Z",
    artifact_sha256="a" * 64, container_sha256="c" * 64,
)  # fmt: skip


class World:
    """The function and its resources."""

    def __init__(self) -> None:
        """Create buckets and table, then load the function as Lambda does."""
        self.s3, self.dynamodb = boto3.client("s3"), boto3.client("dynamodb")
        for bucket in ("artifacts", "captures"):
            self.s3.create_bucket(Bucket=bucket)
        self.dynamodb.create_table(
            TableName="rollout",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
        )
        self.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(BASELINE))
        self.module = load_handler("capture_counts")

    def deploy(self, live: LivePointer = LIVE) -> None:
        """Write the live pointer as the Deploy machine does."""
        row = {"endpoint": {"S": "demand-forecast"}, "live": {"S": canonical_json(live).decode()}}
        self.dynamodb.put_item(TableName="rollout", Item=row)

    def capture(self, key: str, prices: list[float], **metadata: str) -> None:
        """Put a capture object with one call per price."""
        lines = []
        for price in prices:
            side = {"observedContentType": "text/csv", "mode": "INPUT", "data": f"{price}\n", "encoding": "CSV"}
            event = {"eventId": "e", "inferenceTime": "2017-08-07T10:00:00Z", **metadata}
            lines.append(json.dumps({"captureData": {"endpointInput": side}, "eventMetadata": event}))
        self.s3.put_object(Bucket="captures", Key=key, Body="\n".join(lines).encode())

    def send(self, *keys: str) -> Any:
        """Deliver one message per key, as S3 -> EventBridge -> SQS does; "broken" is an invalid message."""
        return self.module.handler({"Records": [self.message(i, key) for i, key in enumerate(keys)]}, None)

    def message(self, number: int, key: str) -> dict[str, str]:
        """Return one SQS record. See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html."""
        detail = {
            "version": "0",
            "bucket": {"name": "captures"},
            "object": {"key": key, "size": 1},
            "reason": "PutObject",
        }
        event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
        return {"messageId": f"m{number}", "body": "{" if key == "broken" else json.dumps(event)}

    def counts(self, key: str = COUNTS) -> Counts:
        """Return the counts that the function wrote."""
        return from_json(Counts, self.s3.get_object(Bucket="artifacts", Key=key)["Body"].read())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The function and its resources."""
    for name, value in (
        ("ENDPOINT", "demand-forecast"),
        ("ROLLOUT_TABLE", "rollout"),
        ("ARTIFACTS_BUCKET", "artifacts"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield World()


def test_an_object_is_counted_against_the_live_baseline(world: World) -> None:
    """The counts have the capture's name and the baseline's hash."""
    world.deploy()
    world.capture(KEY, [1, 50, 99])
    assert world.send(KEY) == {"batchItemFailures": []}
    counts = world.counts()
    assert (counts.rows, counts.baseline_sha256) == (3, content_hash(BASELINE))


def test_synthetic_calls_are_left_out_and_their_number_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the number of excluded calls."""
    world.deploy()
    nonce = "0" * 32
    announced = announcement_key("demand-forecast", datetime(2017, 8, 7, 9, 59, tzinfo=UTC), 5, nonce)
    world.s3.put_object(Bucket="artifacts", Key=announced, Body=b"{}")
    world.capture(KEY, [1, 50, 99], inferenceId=synthetic_id(1, nonce))
    with caplog.at_level("INFO", logger="mlops.monitor"):
        assert world.send(KEY) == {"batchItemFailures": []}
    assert (world.counts().rows, world.counts().calls, world.counts().malformed) == (0, 0, 0)
    assert '"malformed": 0, "synthetic": 3}' in caplog.text


def test_calls_that_no_execution_announced_are_counted(world: World) -> None:
    """Calls with ids like the platform's count, even if announced for another endpoint."""
    world.deploy()
    announced = announcement_key("demand-other", datetime(2017, 8, 7, 9, 59, tzinfo=UTC), 5, "0" * 32)
    world.s3.put_object(Bucket="artifacts", Key=announced, Body=b"{}")
    world.capture(KEY, [1, 50, 99], inferenceId=synthetic_id(1, "0" * 32))
    world.send(KEY)
    assert (world.counts().rows, world.counts().synthetic, world.counts().unannounced) == (3, None, 3)


def test_an_object_that_is_delivered_again_is_counted_once(world: World) -> None:
    """SQS delivers at least once; the second count overwrites the same object."""
    world.deploy()
    world.capture(KEY, [1, 50])
    world.send(KEY)
    first = world.counts()
    world.send(KEY, KEY)
    listed = world.s3.list_objects_v2(Bucket="artifacts", Prefix="monitor/")["Contents"]
    assert (world.counts(), [entry["Key"] for entry in listed]) == (first, [COUNTS])


def test_counts_of_the_model_before_survive_a_delivery_after_a_promotion(world: World) -> None:
    """An object with calls of both models gets counts per baseline, however late its second delivery."""
    world.deploy()
    world.capture(KEY, [1, 50, 99])
    world.send(KEY)
    newer = replace(BASELINE, training_set_id="set-2")
    world.s3.put_object(Bucket="artifacts", Key="newer.json", Body=canonical_json(newer))
    live = replace(
        LIVE,
        baseline_uri="s3://artifacts/newer.json",
        baseline_sha256=content_hash(newer),
        since="2017-08-07T12:00:00Z",
    )
    world.deploy(live)
    world.send(KEY)
    after = world.counts(COUNTS.replace(content_hash(BASELINE)[:16], content_hash(newer)[:16]))
    assert (world.counts().rows, after.rows, after.earlier) == (3, 0, 3)


def test_an_object_that_is_too_large_is_told_by_name(world: World) -> None:
    """The object is not read and not retried; the counts contain the fix."""
    world.deploy()
    body = world.message(0, KEY)["body"].replace('"size": 1', f'"size": {(2 << 30) + 1}')
    assert world.module.handler({"Records": [{"messageId": "m", "body": body}]}, None) == {"batchItemFailures": []}
    counts = world.counts()
    assert (counts.rows, counts.malformed, counts.problems) == (0, 1, {OBJECT_TOO_LARGE(): 1})


def test_only_what_failed_is_delivered_again(world: World) -> None:
    """An invalid message and a missing object do not block the others."""
    world.deploy()
    world.capture(KEY, [1])
    missing = KEY.replace("a.jsonl", "gone.jsonl")
    assert world.send("broken", KEY, missing) == {
        "batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}]
    }
    assert world.counts().rows == 1


def test_before_the_first_rollout_nothing_is_counted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Without a baseline the state is logged and the message is deleted."""
    world.capture(KEY, [1])
    with caplog.at_level("INFO", logger="mlops.monitor"):
        assert world.send(KEY) == {"batchItemFailures": []}
    assert "message m0: NOT_YET_DEPLOYED" in caplog.text
    assert "Contents" not in world.s3.list_objects_v2(Bucket="artifacts", Prefix="monitor/")


def test_other_objects_are_left_alone(world: World) -> None:
    """Label objects in the same bucket are ignored."""
    world.deploy()
    assert world.send("labels/demand-forecast/2017/08/07/10/a.jsonl") == {"batchItemFailures": []}
    assert "Contents" not in world.s3.list_objects_v2(Bucket="artifacts", Prefix="monitor/")


class Queue:
    """The function's queue and its dead letters in SQS (moto), polled as by Lambda: failed messages return."""

    def __init__(self, world: World) -> None:
        """Create both queues; a message is tried three times."""
        self.world, self.sqs = world, boto3.client("sqs")
        self.dead = self.sqs.create_queue(QueueName="counts-dead")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "3"})
        attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
        self.url = self.sqs.create_queue(QueueName="counts", Attributes=attributes)["QueueUrl"]

    def send(self, *keys: str) -> None:
        """Send object events."""
        for number, key in enumerate(keys):
            self.sqs.send_message(QueueUrl=self.url, MessageBody=self.world.message(number, key)["body"])

    def poll(self) -> int:
        """Pass visible messages to the function until none is left; return the number of batches."""
        for batches in range(20):
            messages = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                return batches
            records = [{"messageId": m["MessageId"], "body": m["Body"]} for m in messages]
            answer = self.world.module.handler({"Records": records}, None)
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            for message in messages:
                if message["MessageId"] not in failed:
                    self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        raise AssertionError("a message comes back for ever")

    def redrive(self) -> int:
        """Move the dead letters back, as the console's redrive does."""
        moved = 0
        while messages := self.sqs.receive_message(QueueUrl=self.dead, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                self.sqs.send_message(QueueUrl=self.url, MessageBody=message["Body"])
                self.sqs.delete_message(QueueUrl=self.dead, ReceiptHandle=message["ReceiptHandle"])
                moved += 1
        return moved


def test_a_poisoned_message_ends_in_the_dead_letters_and_is_counted_once_when_it_is_redriven(world: World) -> None:
    """Its object is missing while the others are counted once. Fixed and redriven, it is counted too."""
    world.deploy()
    queue, poisoned = Queue(world), KEY.replace("a.jsonl", "late.jsonl")
    world.capture(KEY, [1, 2])
    queue.send(KEY, poisoned, KEY)
    assert queue.poll() == 3
    assert world.counts().rows == 2
    world.capture(poisoned, [3])
    assert queue.redrive() == 1
    assert queue.poll() == 1
    assert world.counts(COUNTS.replace("/a.", "/late.")).rows == 1
    listed = world.s3.list_objects_v2(Bucket="artifacts", Prefix="monitor/")["Contents"]
    assert len(listed) == 2
    assert queue.redrive() == 0


def test_objects_wait_in_the_dead_letters_while_the_baseline_is_not_the_approved_one(world: World) -> None:
    """Counting against a tampered baseline would be worse than counting later."""
    good = canonical_json(BASELINE)
    world.deploy(LIVE)
    world.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=good + b" ")
    queue = Queue(world)
    world.capture(KEY, [1, 2])
    queue.send(KEY)
    queue.poll()
    assert "Contents" not in world.s3.list_objects_v2(Bucket="artifacts", Prefix="monitor/")
    world.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=good)
    assert queue.redrive() == 1
    queue.poll()
    assert world.counts().rows == 2
