"""Event buses of several accounts and Regions."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mlops_local.accounts import CloudAccount
from mlops_local.cloud import Cloud

BUILD, STAGING = "111111111111", "222222222222"
_number = itertools.count(1)


@dataclass
class Bus:
    """A bus whose events go to a queue."""

    place: CloudAccount
    name: str

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:events:{self.place.region}:{self.place.number}:event-bus/{self.name}"

    @property
    def queue(self) -> str:
        """URL of the queue."""
        return str(self.place.client("sqs").get_queue_url(QueueName=self.name)["QueueUrl"])

    def received(self) -> list[dict[str, Any]]:
        """Return the events that arrived since the last call."""
        found = self.place.client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        for row in found.get("Messages", []):
            self.place.client("sqs").delete_message(QueueUrl=self.queue, ReceiptHandle=row["ReceiptHandle"])
        return [json.loads(row["Body"]) for row in found.get("Messages", [])]

    def send_on(self, target: "Bus", role: str | None) -> None:
        """Let a rule forward all `mlops` events to another bus."""
        events = self.place.client("events")
        name = f"to-{target.name}"
        events.put_rule(Name=name, EventBusName=self.name, EventPattern=json.dumps({"source": ["mlops"]}))
        arguments = {"RoleArn": role} if role else {}
        events.put_targets(Rule=name, EventBusName=self.name, Targets=[{"Id": "t", "Arn": target.arn, **arguments}])

    def put(self, **entry: Any) -> dict[str, Any]:
        """Put an event on the bus as its account's root."""
        row = {"Source": "mlops", "DetailType": "Released", "Detail": '{"n": 1}', "EventBusName": self.name, **entry}
        return dict(self.place.client("events").put_events(Entries=[row])["Entries"][0])


@pytest.fixture
def make_bus(cloud: Cloud) -> Callable[..., Bus]:
    """Make a bus with a queue for the events of some accounts: ``make_bus(BUILD, "eu-west-1", account=[STAGING])``."""

    def make(owner: str, region: str = "us-east-1", **pattern: list[str]) -> Bus:
        bus = Bus(cloud.at(owner, region), f"bus{next(_number)}")
        events, sqs = bus.place.client("events"), bus.place.client("sqs")
        events.create_event_bus(Name=bus.name)
        queue = sqs.create_queue(QueueName=bus.name)["QueueUrl"]
        arn = f"arn:aws:sqs:{region}:{owner}:{bus.name}"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Statement": [statement]})})
        events.put_rule(Name="in", EventBusName=bus.name, EventPattern=json.dumps({"source": ["mlops"], **pattern}))
        events.put_targets(Rule="in", EventBusName=bus.name, Targets=[{"Id": "q", "Arn": arn}])
        return bus

    return make


@pytest.fixture
def make_role(cloud: Cloud) -> Callable[..., str]:
    """Make a role of an account that EventBridge assumes: ``make_role(BUILD, statement)``."""

    def make(account: str, *statements: dict[str, Any]) -> str:
        iam, name = cloud.at(account).client("iam"), f"sender{next(_number)}"
        trust = [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "events.amazonaws.com"}},
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}},
        ]
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": trust}))["Role"]["Arn"]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": list(statements)})
            )
        return str(arn)

    return make


def puts(bus: Bus) -> dict[str, Any]:
    """Return the statement of a sender's role."""
    return {"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus.arn}


def admits(bus: Bus, account: str, role: str, source: str = "mlops") -> dict[str, Any]:
    """Return the statement of a receiving bus."""
    condition = {"ArnEquals": {"aws:PrincipalArn": role}, "StringEquals": {"events:source": source}}
    root = {"AWS": f"arn:aws:iam::{account}:root"}
    return {**puts(bus), "Sid": "in", "Principal": root, "Condition": condition}


def policy(*statements: dict[str, Any]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_rule_reaches_a_bus_of_another_account_by_both_sides(
    cloud: Cloud, make_bus: Callable[..., Bus], make_role: Callable[..., str], wait_for: Callable[..., Any], region: str
) -> None:
    """The role may put events, and the bus admits only this account and source; the event keeps its account and Region."""
    source, inbox = make_bus(BUILD), make_bus(STAGING, region, account=[BUILD])
    role = make_role(BUILD, puts(inbox))
    receiver = inbox.place.client("events")
    log = cloud.log_path

    def lost(words: str) -> None:
        before = log.stat().st_size
        source.put()
        wait_for(lambda: words in log.read_bytes()[before:].decode())
        assert inbox.received() == []

    with pytest.raises(ClientError, match="RoleArn is required"):
        source.send_on(inbox, None)
    source.send_on(inbox, make_role(BUILD))
    lost("because no identity-based policy allows the events:PutEvents action")
    source.send_on(inbox, role)
    lost("because no resource-based policy allows the events:PutEvents action")
    receiver.put_permission(EventBusName=inbox.name, Policy=policy(admits(inbox, BUILD, role, source="mlops.other")))
    lost("because no resource-based policy allows the events:PutEvents action")
    receiver.put_permission(EventBusName=inbox.name, Policy=policy(admits(inbox, BUILD, role)))
    source.put()
    (event,) = wait_for(inbox.received)
    assert (event["account"], event["region"], event["source"], event["detail"]) == (
        BUILD,
        "us-east-1",
        "mlops",
        {"n": 1},
    )
    assert len(source.received()) >= 1


def test_events_take_one_hop(
    make_bus: Callable[..., Bus], make_role: Callable[..., str], wait_for: Callable[..., Any], cloud: Cloud
) -> None:
    """A bus does not forward events from another bus; its own events are forwarded."""
    first, second, third = make_bus(BUILD), make_bus(STAGING), make_bus("333333333333")
    for here, there in ((first, second), (second, third)):
        role = make_role(here.place.number, puts(there))
        there.place.client("events").put_permission(
            EventBusName=there.name, Policy=policy(admits(there, here.place.number, role))
        )
        here.send_on(there, role)
    before = cloud.log_path.stat().st_size
    first.put()
    assert [event["account"] for event in wait_for(second.received)] == [BUILD]
    assert "received from another bus" in cloud.log_path.read_bytes()[before:].decode()
    assert third.received() == []
    second.put()
    assert [event["account"] for event in wait_for(third.received)] == [STAGING]


def test_events_are_put_on_a_bus_of_another_account(
    make_bus: Callable[..., Bus], make_role: Callable[..., str], wait_for: Callable[..., Any], cloud: Cloud
) -> None:
    """By its ARN, with permission on both sides; `put_permission` for an account admits its root and roles."""
    inbox, own = make_bus(STAGING, account=[BUILD]), make_bus(BUILD)
    role = make_role(BUILD, puts(inbox), puts(own))
    got = cloud.at(BUILD).client("sts").assume_role(RoleArn=role, RoleSessionName="sender")["Credentials"]
    events = boto3.client(
        "events", endpoint_url=cloud.endpoint_url, region_name="us-east-1", aws_access_key_id=got["AccessKeyId"],
        aws_secret_access_key=got["SecretAccessKey"], aws_session_token=got["SessionToken"],
    )  # fmt: skip
    rows = [
        {"Source": "mlops", "DetailType": "d", "Detail": "{}", "EventBusName": bus} for bus in (own.name, inbox.arn)
    ]
    with pytest.raises(ClientError, match="no resource-based policy allows the events:PutEvents"):
        events.put_events(Entries=rows)
    receiver = inbox.place.client("events")
    receiver.put_permission(EventBusName=inbox.name, StatementId="build", Principal=BUILD, Action="events:PutEvents")
    answer = events.put_events(Entries=rows)
    assert answer["FailedEntryCount"] == 0
    assert len({row["EventId"] for row in answer["Entries"]}) == 2
    assert [event["account"] for event in wait_for(inbox.received)] == [BUILD]
    assert len(own.received()) == 1
    receiver.remove_permission(EventBusName=inbox.name, StatementId="build")
    with pytest.raises(ClientError, match="no resource-based policy"):
        events.put_events(Entries=rows)


def test_a_templates_policy_is_a_statement_of_the_bus(cloud: Cloud, unique: str, wait_for: Callable[..., Any]) -> None:
    """A policy of the bus itself, or a separate resource; both are deleted with the stack."""
    place = cloud.at(STAGING, "eu-west-1")
    client, events = place.client("cloudformation"), place.client("events")
    allow = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{BUILD}:root"}, "Action": "events:PutEvents"}
    arn = f"arn:aws:events:eu-west-1:{STAGING}:event-bus/{unique}"

    def apply(statement: dict[str, Any], create: bool) -> None:
        resources = {
            "Bus": {
                "Type": "AWS::Events::EventBus",
                "Properties": {"Name": unique, "Policy": {"Statement": [{**allow, "Resource": arn, "Sid": "own"}]}},
            },
            "More": {
                "Type": "AWS::Events::EventBusPolicy",
                "Properties": {"EventBusName": {"Ref": "Bus"}, "StatementId": "more", "Statement": statement},
            },
        }
        call = client.create_stack if create else client.update_stack
        call(StackName=unique, TemplateBody=json.dumps({"Resources": resources}))
        status = wait_for(
            lambda: (
                (s := client.describe_stacks(StackName=unique)["Stacks"][0]["StackStatus"]).endswith("COMPLETE") and s
            )
        )
        assert status == ("CREATE_COMPLETE" if create else "UPDATE_COMPLETE")

    def statements() -> dict[str, Any]:
        found = json.loads(events.describe_event_bus(Name=unique)["Policy"])["Statement"]
        return {row["Sid"]: row for row in found}

    apply({**allow, "Resource": arn}, create=True)
    assert set(statements()) == {"own", "more"}
    condition = {"StringEquals": {"events:source": "mlops"}}
    apply({**allow, "Resource": arn, "Condition": condition}, create=False)
    assert statements()["more"]["Condition"] == condition
    client.delete_stack(StackName=unique)
    wait_for(lambda: unique not in [row["StackName"] for row in client.describe_stacks()["Stacks"]])


def test_a_policy_beyond_its_limit_is_refused(make_bus: Callable[..., Bus]) -> None:
    """10,240 characters; the previous policy stays."""
    bus = make_bus(BUILD)
    events = bus.place.client("events")
    statement = admits(bus, STAGING, f"arn:aws:iam::{STAGING}:role/r")
    events.put_permission(EventBusName=bus.name, Policy=policy(statement))
    long = {**statement, "Condition": {"StringEquals": {"events:source": ["x" * 100] * 100}}}
    with pytest.raises(ClientError, match="PolicyLengthExceededException"):
        events.put_permission(EventBusName=bus.name, Policy=policy(long))
    assert json.loads(events.describe_event_bus(Name=bus.name)["Policy"])["Statement"] == [statement]


def test_a_rule_beyond_its_quotas_is_refused(cloud: Cloud, unique: str, wait_for: Callable[..., Any]) -> None:
    """A pattern of 2,048 characters and five targets are accepted, by calls and in templates."""
    place = cloud.at(STAGING, "eu-west-1")
    client, events = place.client("cloudformation"), place.client("events")
    longest = json.dumps({"source": ["x" * (2048 - len('{"source":[""]}'))]}, separators=(",", ":"))
    targets = [{"Id": str(n), "Arn": f"arn:aws:sqs:eu-west-1:{STAGING}:{unique}-{n}"} for n in range(6)]
    events.put_rule(Name=unique, EventPattern=longest)
    events.put_targets(Rule=unique, Targets=targets[:3])
    events.put_targets(Rule=unique, Targets=targets[1:5])

    with pytest.raises(ClientError, match=r"LimitExceededException.*2048 characters"):
        events.put_rule(Name=unique, EventPattern=longest.replace("x", "xx", 1))
    with pytest.raises(ClientError, match="LimitExceededException"):
        events.put_targets(Rule=unique, Targets=targets[5:])
    assert events.describe_rule(Name=unique)["EventPattern"] == longest
    assert len(events.list_targets_by_rule(Rule=unique)["Targets"]) == 5

    def fails(name: str, **properties: Any) -> str:
        rule = {"Type": "AWS::Events::Rule", "Properties": {"Name": name, **properties}}
        client.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Rule": rule}}))
        wait_for(lambda: client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")
        rows = client.describe_stack_events(StackName=name)["StackEvents"]
        return next(str(row["ResourceStatusReason"]) for row in rows if row["ResourceStatus"] == "CREATE_FAILED")

    pattern = json.loads(longest)
    assert "2048 characters" in fails(f"{unique}-p", EventPattern={**pattern, "account": [BUILD]})
    assert "exceeds the maximum number" in fails(f"{unique}-t", EventPattern=pattern, Targets=targets)
    assert "Event pattern is not valid" in fails(f"{unique}-w", EventPattern={"source": "mlops"})
    assert [row["Name"] for row in events.list_rules(NamePrefix=unique)["Rules"]] == [unique]
