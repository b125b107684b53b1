"""Notifications of a unit reach people, with the unit's own key and with an external one, and none is lost."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from tests.topic_queue import subscribe_queue

from mlops_constructs import BusinessUnit, Network, Profile
from mlops_constructs.drift_alarms.drift_alarms import NOTIFIED, define_messages
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.key_policy import Place, shared_key_statements
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.chat_notification import ChatNotification, NotificationContent
from mlops_runtime.contracts.events import DetailType, event_source

ACCOUNT, REGION = "000000000000", "us-east-1"
PLACE = Place(partition="aws", region=REGION, account=ACCOUNT)
ROOT = {
    "Sid": "Root",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
NETWORK = {
    "vpc_id": "vpc-0f3a5c7e9b1d2f4a6",
    "availability_zones": ["us-east-1a"],
    "subnet_ids": ["subnet-01a2b3c4d5e6f7089"],
}


def notification(reason: str) -> ChatNotification:
    """Return the message that chats show."""
    return ChatNotification(content=NotificationContent(description=reason, next_steps=("look",)))


class Unit(cdk.Stack):
    """A unit whose topic receives monitor findings."""

    def __init__(self, scope: cdk.App, id: str, *, key: str | None) -> None:
        super().__init__(scope, id, env=cdk.Environment(account=ACCOUNT, region=REGION))
        unit = BusinessUnit(
            self,
            "Unit",
            name=id.lower(),
            profile=Profile.DEVELOPMENT,
            network=Network.from_shared_vpc(**NETWORK),
            encryption_key=None if key is None else kms.Key.from_key_arn(self, "Key", key),
        )
        chats = sns.Topic(self, "Chats", master_key=unit.key, enforce_ssl=True)
        place: dict[str, Any] = {"business_unit": unit, "endpoint_name": "forecast", "outcomes": NOTIFIED}
        define_messages(self, "Reported", topic=unit.topic, **place)
        define_messages(self, "Chat", topic=chats, is_chat=True, **place)
        cdk.CfnOutput(self, "Topic", value=unit.topic.topic_arn)
        cdk.CfnOutput(self, "Channel", value=chats.topic_arn)
        cdk.CfnOutput(self, "Bus", value=unit.bus.event_bus_name)
        cdk.CfnOutput(self, "KeyArn", value=unit.key.key_arn)
        cdk.CfnOutput(self, "DeadLetters", value=unit.dead_letter_queue.queue_url)


class DeployedUnit:
    """The deployed unit, and a queue subscribed to its topic."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path, name: str, key: str | None = None) -> None:
        self.cloud, self.name, self.assembly = cloud, name.lower(), folder / name
        app = cdk.App(outdir=str(self.assembly))
        Unit(app, name, key=key)
        app.synth()
        outputs = deployer.deploy(cloud, self.assembly)[name]
        self.topic, self.bus, self.key = outputs["Topic"], outputs["Bus"], outputs["KeyArn"]
        self.dead_letters = outputs["DeadLetters"]
        self.queue = self._subscribe("people", self.topic)
        self.chats = self._subscribe("chats", outputs["Channel"])

    def _subscribe(self, name: str, topic: str) -> str:
        sqs, sns = self.cloud.client("sqs"), self.cloud.client("sns")
        return subscribe_queue(sqs, sns, topic, f"{self.name}-{name}")

    def report(self, reason: str) -> None:
        """Put a monitor's report on the unit's bus."""
        detail = {
            "subject": "forecast", "outcome": NOTIFIED[0].value, "reason": reason,
            "attributes": {"advice": "look", "report_uri": "s3://reports/1"},
            "notification": to_dict(notification(reason)),
        }  # fmt: skip
        entry = {
            "Source": event_source(self.name), "DetailType": DetailType.MONITOR_REPORTED.value,
            "Detail": json.dumps(detail), "EventBusName": self.bus,
        }  # fmt: skip
        assert self.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    def read(self, url: str) -> list[str]:
        """Receive the messages of a queue."""
        sqs = self.cloud.client("sqs")
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in found]

    def lend(self, *statements: Mapping[str, Any]) -> None:
        """Write the key's policy: the account, and the given statements."""
        policy = json.dumps({"Version": "2012-10-17", "Statement": [ROOT, *statements]})
        self.cloud.client("kms").put_key_policy(KeyId=self.key, PolicyName="default", Policy=policy)


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory, cloud: local_cloud.Cloud) -> Iterator[DeployedUnit]:
    """A unit with its own key."""
    made = DeployedUnit(cloud, tmp_path_factory.mktemp("owned"), "Owned")
    yield made
    deployer.destroy(cloud, made.assembly)


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory, cloud: local_cloud.Cloud) -> Iterator[DeployedUnit]:
    """A unit with a platform team's key, whose policy admits the account, as a new key's does."""
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    made = DeployedUnit(cloud, tmp_path_factory.mktemp("lent"), "Lent", key)
    yield made
    made.lend(*shared_key_statements(PLACE))
    deployer.destroy(cloud, made.assembly)


@pytest.fixture
def logged(cloud: local_cloud.Cloud, wait_for: Callable[..., Any]) -> Callable[[str], Any]:
    """Wait until the embedded cloud's log contains a text."""
    return lambda text: wait_for(lambda: text in cloud.log_path.read_text())


def test_a_report_reaches_people(owned: DeployedUnit, wait_for: Callable[..., Any]) -> None:
    """From the bus through rule and encrypted topic to a subscriber: EventBridge sends no source keys there."""
    owned.report("prices moved")

    (message,) = wait_for(lambda: owned.read(owned.queue))
    assert "prices moved" in message


def test_a_report_reaches_chats(owned: DeployedUnit, wait_for: Callable[..., Any]) -> None:
    """Chats get only the event's notification, as JSON, whatever it contains."""
    owned.read(owned.chats)
    reported = 'a column "<price>"\nmoved'
    owned.report(reported)

    (body,) = wait_for(lambda: owned.read(owned.chats))
    assert json.loads(json.loads(body)["Message"]) == to_dict(notification(reported))
    assert wait_for(lambda: owned.read(owned.queue))


def test_what_the_topic_refuses_is_a_dead_letter(owned: DeployedUnit, wait_for: Callable[..., Any]) -> None:
    """The rule's target has the unit's dead-letter queue, which admits the rule by name."""
    sns = owned.cloud.client("sns")
    policy = sns.get_topic_attributes(TopicArn=owned.topic)["Attributes"]["Policy"]
    document = json.loads(policy)
    document["Statement"] = [s for s in document["Statement"] if "events.amazonaws.com" not in json.dumps(s)]
    refusing = json.dumps(document)
    sns.set_topic_attributes(TopicArn=owned.topic, AttributeName="Policy", AttributeValue=refusing)
    try:
        owned.report("the topic refuses")
        (letter,) = wait_for(lambda: owned.read(owned.dead_letters))
    finally:
        sns.set_topic_attributes(TopicArn=owned.topic, AttributeName="Policy", AttributeValue=policy)

    assert json.loads(letter)["detail"]["reason"] == "the topic refuses"
    assert owned.read(owned.queue) == []


def test_what_the_bus_cannot_encrypt_is_a_dead_letter(owned: DeployedUnit, wait_for: Callable[..., Any]) -> None:
    """The bus's own dead-letter queue admits the bus by name."""
    kms_client = owned.cloud.client("kms")
    policy = kms_client.get_key_policy(KeyId=owned.key, PolicyName="default")["Policy"]
    document = json.loads(policy)
    document["Statement"].append({
        "Effect": "Deny", "Principal": {"Service": "events.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*",
        "Condition": {"Null": {"kms:EncryptionContext:aws:events:event-bus:arn": "false"}},
    })  # fmt: skip
    kms_client.put_key_policy(KeyId=owned.key, PolicyName="default", Policy=json.dumps(document))
    try:
        owned.report("the bus cannot")
        (letter,) = wait_for(lambda: owned.read(owned.dead_letters))
    finally:
        kms_client.put_key_policy(KeyId=owned.key, PolicyName="default", Policy=policy)

    assert json.loads(letter)["detail"]["reason"] == "the bus cannot"
    assert owned.read(owned.queue) == []


def test_a_key_without_the_statements_loses_a_report_and_the_log_says_why(
    lent: DeployedUnit, logged: Callable[[str], Any]
) -> None:
    """Neither the bus nor its dead-letter queue can encrypt, which the warning describes."""
    lent.lend()
    lent.report("lost")

    logged(
        f"event on arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{lent.bus} not processed: no key policy of {lent.key}"
    )
    logged(f"dead letter to arn:aws:sqs:{REGION}:{ACCOUNT}:{lent.dead_letters.rpartition('/')[2]} refused")
    assert lent.read(lent.queue) == lent.read(lent.dead_letters) == []


@pytest.mark.parametrize("key", ["aws:SourceAccount", "aws:SourceArn"])
def test_a_condition_on_what_eventbridge_does_not_send_stops_the_topic(
    lent: DeployedUnit, logged: Callable[[str], Any], key: str
) -> None:
    """A seemingly safer statement fails: the bus sends both keys for itself, but a rule sends neither to an encrypted topic."""
    value = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:*"}[key]
    statements = shared_key_statements(PLACE)
    (events,) = (s for s in statements if s["Sid"] == "Events")
    events["Condition"] = {"StringLike": {key: value}}
    lent.lend(*statements)
    lent.report("conditioned")

    logged(f"delivery to {lent.topic} refused: no key policy of {lent.key} allows kms:GenerateDataKey to events")
    assert lent.read(lent.queue) == []


def test_with_the_printed_statements_a_report_reaches_people(lent: DeployedUnit, wait_for: Callable[..., Any]) -> None:
    """The key gets exactly the statements that the warning prints."""
    lent.lend(*shared_key_statements(PLACE))
    lent.report("arrived")

    (message,) = wait_for(lambda: lent.read(lent.queue))
    assert "arrived" in message
