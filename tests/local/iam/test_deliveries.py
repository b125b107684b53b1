"""EventBridge delivers only what the targets' policies allow."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

ACCOUNT = "000000000000"


@pytest.fixture
def logged(cloud, wait_for):
    """Wait until the embedded cloud has logged a string: it logs undelivered events."""
    return lambda text: wait_for(lambda: text in cloud.log_path.read_text())


@pytest.fixture
def deliver(cloud, unique):
    """Route an event to a new queue with a policy and a key; return a function that reads the arrived messages."""
    events, sqs = cloud.client("events"), cloud.client("sqs")

    def route(policy: dict | None, key: str | None = None, **target: str) -> Callable[[], list[dict]]:
        attributes = {"KmsMasterKeyId": key} if key else {}
        url = sqs.create_queue(QueueName=unique, Attributes=attributes)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
        if policy is not None:
            document = {"Version": "2012-10-17", "Statement": [{**policy, "Resource": arn}]}
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(document)})
        events.put_rule(Name=unique, EventPattern=json.dumps({"source": [unique]}))
        events.put_targets(Rule=unique, Targets=[{"Id": "queue", "Arn": arn, **target}])
        events.put_events(Entries=[{"Source": unique, "DetailType": "x", "Detail": "{}"}])
        return lambda: sqs.receive_message(QueueUrl=url).get("Messages", [])

    return route


def policy_for(rule: str) -> dict:
    """The queue policy that CDK generates for a rule's target."""
    return {
        "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/{rule}"}},
    }  # fmt: skip


def test_a_rule_delivers_to_a_queue_whose_policy_names_it(deliver, wait_for, unique):
    """The rule's ARN is aws:SourceArn."""
    assert len(wait_for(deliver(policy_for(unique)))) == 1


@pytest.mark.parametrize("policy", [None, policy_for("another")])
def test_a_queue_without_a_policy_for_the_rule_gets_nothing(deliver, logged, unique, policy):
    """The event is dropped as on AWS, and the log has the reason."""
    messages = deliver(policy)
    logged(f"no resource-based policy of arn:aws:sqs:us-east-1:{ACCOUNT}:{unique} allows")
    assert messages() == []


def test_an_encrypted_queue_needs_a_key_policy_for_the_service(deliver, logged, wait_for, cloud, unique):
    """The default key policy allows the account, not the service."""
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    messages = deliver(policy_for(unique), key)
    logged(f"no key policy of {key} allows kms:GenerateDataKey to events.amazonaws.com")
    assert messages() == []
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Resource": "*",
             "Action": ["kms:Decrypt", "kms:GenerateDataKey"]}  # fmt: skip
    kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    assert len(wait_for(deliver(policy_for(unique), key))) == 1


def test_a_target_with_a_role_needs_its_permission(cloud, logged, make_role, allow, unique):
    """A bus is a target with a role: without events:PutEvents nothing arrives there."""
    events = cloud.client("events")
    bus = events.create_event_bus(Name=unique)["EventBusArn"]
    role = make_role(service="events.amazonaws.com")
    events.put_rule(Name=unique, EventPattern=json.dumps({"source": [unique]}))
    events.put_targets(Rule=unique, Targets=[{"Id": "bus", "Arn": bus, "RoleArn": role}])
    events.put_events(Entries=[{"Source": unique, "DetailType": "x", "Detail": "{}"}])
    logged(f"events:PutEvents on resource: {bus} because")


@pytest.mark.parametrize(("source", "is_assumed"), [("schedule-group/default", True), ("schedule/default/*", False)])
def test_a_schedule_is_its_group_to_a_role(cloud, make_role, allow, unique, source, is_assumed):
    """The role's trust may name the group, never the schedule.

    See: https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    """
    url = cloud.client("sqs").create_queue(QueueName=unique)["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{unique}"
    trust = {"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:scheduler:us-east-1:{ACCOUNT}:{source}"}}}
    role = make_role(allow("sqs:SendMessage", queue), service="scheduler.amazonaws.com", trust=trust)
    now = datetime.fromisoformat(cloud.clock()["now"])
    cloud.client("scheduler").create_schedule(
        Name=unique,
        ActionAfterCompletion="DELETE",
        FlexibleTimeWindow={"Mode": "OFF"},
        ScheduleExpression=f"at({now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S})",
        Target={"Arn": queue, "RoleArn": role, "Input": "{}"},
    )
    cloud.clock_jump(by=timedelta(minutes=2))

    assert len(cloud.client("sqs").receive_message(QueueUrl=url).get("Messages", [])) == int(is_assumed)
