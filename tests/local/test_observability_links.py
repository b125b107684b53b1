"""Sinks and links for observability: rejects what AWS rejects."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

HOME, SOURCE, OTHER = "000000000000", "111111111111", "222222222222"
METRICS, LOGS = "AWS::CloudWatch::Metric", "AWS::Logs::LogGroup"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": [SOURCE]},
            "Action": ["oam:CreateLink", "oam:UpdateLink"],
            "Resource": "*",
            "Condition": {"ForAllValues:StringEquals": {"oam:ResourceTypes": [METRICS]}},
        }
    ],
}
Deploy = Callable[..., str]


@pytest.fixture
def deploy(cloud, unique) -> Iterator[Deploy]:
    """Deploy a stack of one resource to an account: returns its ARN or the failure reason; deleted after the test, newest first."""
    made = []

    def wait(client, name: str) -> str:
        while (status := client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]).endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        return str(status)

    def run(kind: str, properties, account: str = HOME, region: str = "us-east-1", name: str = "") -> str:
        client, stack = cloud.at(account, region).client("cloudformation"), name or f"{unique}-{len(made)}"
        body = json.dumps({"Resources": {"It": {"Type": f"AWS::Oam::{kind}", "Properties": properties}}})
        if (client, stack) not in made and not name:
            client.create_stack(StackName=stack, TemplateBody=body)
            made.append((client, stack))
        else:
            client.update_stack(StackName=stack, TemplateBody=body)
        if wait(client, stack) in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            found = client.describe_stack_resource(StackName=stack, LogicalResourceId="It")
            return str(found["StackResourceDetail"]["PhysicalResourceId"])
        events = client.describe_stack_events(StackName=stack)["StackEvents"]
        return next(each["ResourceStatusReason"] for each in events if each["ResourceStatus"].endswith("_FAILED"))

    yield run
    for client, stack in reversed(made):
        client.delete_stack(StackName=stack)
        client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 0.1})


def link(sink: str, *types: str) -> dict[str, object]:
    """Properties of a link."""
    return {"SinkIdentifier": sink, "ResourceTypes": list(types) or [METRICS], "LabelTemplate": "$AccountName"}


def test_an_account_has_one_sink_in_a_region(deploy: Deploy) -> None:
    """Another Region has its own."""
    first, second = deploy("Sink", {"Name": "platform"}), deploy("Sink", {"Name": "second"})
    other = deploy("Sink", {"Name": "platform"}, region="eu-west-1")

    assert first.startswith(f"arn:aws:oam:us-east-1:{HOME}:sink/")
    assert f"has a sink in us-east-1 already: {first}" in second
    assert other.startswith(f"arn:aws:oam:eu-west-1:{HOME}:sink/")


def test_a_link_is_made_where_the_sink_permits_it(deploy: Deploy) -> None:
    """With the shared types that the policy allows."""
    sink = deploy("Sink", {"Name": "platform", "Policy": POLICY})

    assert deploy("Link", link(sink), SOURCE).startswith(f"arn:aws:oam:us-east-1:{SOURCE}:link/")


@pytest.mark.parametrize(
    ("account", "types", "why"),
    [
        (OTHER, [METRICS], f"does not allow account {OTHER} oam:CreateLink with {METRICS}"),
        (SOURCE, [METRICS, LOGS], f"does not allow account {SOURCE} oam:CreateLink with {METRICS}, {LOGS}"),
        (SOURCE, ["AWS::S3::Bucket"], "'AWS::S3::Bucket' is not one of"),
    ],
)
def test_a_link_is_refused_that_the_sink_does_not_permit(
    deploy: Deploy, account: str, types: list[str], why: str
) -> None:
    """Another account, more than is permitted, or an unsupported type."""
    sink = deploy("Sink", {"Name": "platform", "Policy": POLICY})

    assert why in deploy("Link", link(sink, *types), account)


def test_a_sink_without_a_policy_or_of_another_region_takes_no_link(deploy: Deploy) -> None:
    """Nor does a missing sink."""
    closed = deploy("Sink", {"Name": "platform"})
    elsewhere = deploy("Sink", {"Name": "platform", "Policy": POLICY}, region="eu-west-1")
    unknown = f"arn:aws:oam:us-east-1:{HOME}:sink/00000000-0000-0000-0000-000000000000"

    assert "does not allow account" in deploy("Link", link(closed), SOURCE)
    assert "does not exist in us-east-1" in deploy("Link", link(elsewhere), SOURCE)
    assert "does not exist in us-east-1" in deploy("Link", link(unknown), SOURCE)


def test_an_account_links_to_a_sink_once(deploy: Deploy) -> None:
    """The first stays."""
    sink = deploy("Sink", {"Name": "platform", "Policy": POLICY})
    first, second = deploy("Link", link(sink), SOURCE), deploy("Link", link(sink), SOURCE)

    assert (first.startswith("arn:"), "is linked to" in second) == (True, True)


def test_a_sink_with_links_stays(cloud, deploy: Deploy, unique) -> None:
    """Until they are deleted."""
    sink = deploy("Sink", {"Name": "platform", "Policy": POLICY})
    deploy("Link", link(sink), SOURCE)
    client = cloud.client("cloudformation")
    client.delete_stack(StackName=f"{unique}-0")
    while (found := client.describe_stacks(StackName=f"{unique}-0")["Stacks"][0])[
        "StackStatus"
    ] == "DELETE_IN_PROGRESS":
        time.sleep(0.05)

    assert found["StackStatus"] == "DELETE_FAILED"
