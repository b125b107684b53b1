"""SQS and Parameter Store reject requests beyond their quotas from every caller."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud
from mlops_local.request_quotas import beyond_quotas


def statement(number: int, **changes: Any) -> dict[str, Any]:
    """Return a statement that admits one rule."""
    rule = f"arn:aws:events:us-east-1:000000000000:rule/r{number}"
    return {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        **changes,
    }


@pytest.mark.parametrize(
    ("statements", "problems"),
    [
        ([statement(n) for n in range(10)], []),
        ([statement(n) for n in range(11)], ["the policy of a queue may have 10 conditions, got 11"]),
        ([statement(0, Condition={}) for _ in range(21)], ["the policy of a queue may have 20 statements, got 21"]),
        (
            [statement(0, Principal={"AWS": [f"arn:aws:iam::{n:012}:root" for n in range(51)]})],
            ["the policy of a queue may have 50 principals, got 51"],
        ),
        ([statement(0, Action=[f"sqs:{n}" for n in range(8)])], ["a statement of it may have 7 actions, got 8"]),
        (
            [statement(0, Condition={"ArnEquals": {"aws:SourceArn": ["a" * 100] * 82}})],
            ["the policy of a queue may have 8192 bytes, got 8638"],
        ),
    ],
)
def test_each_quota_is_named(statements: list[dict[str, Any]], problems: list[str]) -> None:
    """A condition is one key of one operator; several values count as one."""
    assert beyond_quotas({"Version": "2012-10-17", "Statement": statements}) == problems


@pytest.mark.cloud
def test_sqs_refuses_a_policy_beyond_its_quotas(cloud: Cloud) -> None:
    """By the API, and in a stack, which rolls back with the reason."""
    policy = {"Version": "2012-10-17", "Statement": [statement(n) for n in range(11)]}
    sqs, stacks = cloud.client("sqs"), cloud.client("cloudformation")
    url = sqs.create_queue(QueueName="crowded")["QueueUrl"]
    with pytest.raises(ClientError, match=r"OverLimit.*may have 10 conditions, got 11"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})

    resources = {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Policy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": policy},
        },
    }
    stacks.create_stack(StackName="crowded", TemplateBody=json.dumps({"Resources": resources}))
    with pytest.raises(Exception, match="StackCreateComplete"):
        stacks.get_waiter("stack_create_complete").wait(StackName="crowded", WaiterConfig={"Delay": 1})
    reasons = [
        e.get("ResourceStatusReason", "") for e in stacks.describe_stack_events(StackName="crowded")["StackEvents"]
    ]
    assert any("OverLimit: the policy of a queue may have 10 conditions, got 11" in reason for reason in reasons)


def test_a_value_that_the_standard_tier_has_no_room_for_is_refused(cloud: Cloud) -> None:
    """4,096 characters fit, one more only in the advanced tier; a stack that writes it rolls back with the reason."""
    ssm, stacks = cloud.client("ssm"), cloud.client("cloudformation")
    words = "Standard tier parameters support a maximum parameter value of 4096 characters"
    ssm.put_parameter(Name="/sized/full", Value="x" * 4096, Type="String")
    with pytest.raises(ClientError, match=f"ValidationException.*{words}"):
        ssm.put_parameter(Name="/sized/over", Value="x" * 4097, Type="String")
    ssm.put_parameter(Name="/sized/advanced", Value="x" * 4097, Type="String", Tier="Advanced")

    properties = {"Name": "/sized/stack", "Type": "String", "Value": "x" * 4097}
    template = {"Resources": {"Entry": {"Type": "AWS::SSM::Parameter", "Properties": properties}}}
    stacks.create_stack(StackName="sized", TemplateBody=json.dumps(template))
    with pytest.raises(Exception, match="StackCreateComplete"):
        stacks.get_waiter("stack_create_complete").wait(StackName="sized", WaiterConfig={"Delay": 1})
    reasons = [
        e.get("ResourceStatusReason", "") for e in stacks.describe_stack_events(StackName="sized")["StackEvents"]
    ]
    assert any(words in reason for reason in reasons), reasons
    for name in ("/sized/full", "/sized/advanced"):
        ssm.delete_parameter(Name=name)
    stacks.delete_stack(StackName="sized")
