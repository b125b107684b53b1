"""Quotas of policies, and deletions that IAM rejects."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud
from mlops_local.iam.policy_limits import PolicyError, characters, check_managed, check_role

NAMED = ["CAPABILITY_NAMED_IAM"]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def policy(size: int) -> dict[str, Any]:
    """Return a policy of about the given number of characters."""
    resources = [f"arn:aws:s3:::bucket-{number:05}" for number in range(size // 28)]
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": resources}]}


def test_white_space_does_not_count() -> None:
    """An indented document counts as much as the same in one line."""
    assert characters(json.dumps(policy(3000), indent=4)) == characters(policy(3000))


def test_a_managed_policy_has_a_quota() -> None:
    """The message is IAM's."""
    check_managed(policy(6000))
    with pytest.raises(PolicyError, match="LimitExceeded: Cannot exceed quota for PolicySize: 6144"):
        check_managed(policy(6200))


def test_the_policies_of_a_role_have_quotas() -> None:
    """Inline policies by their total length, attached ones by their number."""
    role = {
        "RoleName": "worker",
        "InlinePolicies": {"a": policy(5000), "b": policy(5000)},
        "AttachedPolicies": ["p"] * 10,
    }
    check_role(role)
    with pytest.raises(PolicyError, match="Maximum policy size of 10240 bytes exceeded for role worker"):
        check_role({**role, "InlinePolicies": {"a": policy(6000), "b": policy(5000)}})
    with pytest.raises(PolicyError, match="Cannot exceed quota for PoliciesPerRole: 10"):
        check_role({**role, "AttachedPolicies": ["p"] * 11})


@pytest.fixture
def role(cloud: Cloud) -> Iterator[str]:
    """A role that is deleted after the test."""
    iam = cloud.client("iam")
    iam.create_role(RoleName="limited", AssumeRolePolicyDocument=json.dumps(TRUST))
    yield "limited"
    for attached in iam.list_attached_role_policies(RoleName="limited")["AttachedPolicies"]:
        iam.detach_role_policy(RoleName="limited", PolicyArn=attached["PolicyArn"])
    for name in iam.list_role_policies(RoleName="limited")["PolicyNames"]:
        iam.delete_role_policy(RoleName="limited", PolicyName=name)
    iam.delete_role(RoleName="limited")


def _failed(cloud: Cloud, name: str, resources: dict[str, Any]) -> str:
    stacks = cloud.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}), Capabilities=NAMED)
    with pytest.raises(Exception, match="StackCreateComplete"):
        stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    events = stacks.describe_stack_events(StackName=name)["StackEvents"]
    return " ".join(event.get("ResourceStatusReason", "") for event in events)


@pytest.mark.cloud
def test_iam_refuses_policies_beyond_their_quotas(cloud: Cloud, role: str) -> None:
    """Both in its own calls and in a stack."""
    iam = cloud.client("iam")
    long = json.dumps(policy(6300))
    with pytest.raises(ClientError, match=r"LimitExceeded.*quota for PolicySize: 6144"):
        iam.create_policy(PolicyName="long", PolicyDocument=long)
    iam.put_role_policy(RoleName=role, PolicyName="first", PolicyDocument=long)
    with pytest.raises(ClientError, match=r"LimitExceeded.*10240 bytes exceeded for role limited"):
        iam.put_role_policy(RoleName=role, PolicyName="second", PolicyDocument=long)
    iam.put_role_policy(RoleName=role, PolicyName="first", PolicyDocument=json.dumps(policy(6400)))

    worker = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
    managed = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy(6300)}}
    assert "quota for PolicySize: 6144" in _failed(cloud, "long-policy", {"Policy": managed})
    inline = {
        name: {
            "Type": "AWS::IAM::Policy",
            "Properties": {"PolicyName": name, "PolicyDocument": policy(6300), "Roles": [{"Ref": "Worker"}]},
        }
        for name in ("First", "Second")
    }
    assert "Maximum policy size of 10240 bytes" in _failed(cloud, "long-role", {"Worker": worker, **inline})


@pytest.mark.cloud
def test_a_policy_in_use_stays(cloud: Cloud, role: str) -> None:
    """A policy attached by hand to another role keeps the stack's policy; after detaching, the stack can be deleted."""
    stacks, iam = cloud.client("cloudformation"), cloud.client("iam")
    resources = {
        "Worker": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
        "Policy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"ManagedPolicyName": "used", "PolicyDocument": policy(300), "Roles": [{"Ref": "Worker"}]},
        },
    }
    stacks.create_stack(StackName="used", TemplateBody=json.dumps({"Resources": resources}), Capabilities=NAMED)
    stacks.get_waiter("stack_create_complete").wait(StackName="used", WaiterConfig={"Delay": 1})
    arn = stacks.describe_stack_resource(StackName="used", LogicalResourceId="Policy")["StackResourceDetail"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn["PhysicalResourceId"])
    stacks.delete_stack(StackName="used")
    with pytest.raises(Exception, match="StackDeleteComplete"):
        stacks.get_waiter("stack_delete_complete").wait(StackName="used", WaiterConfig={"Delay": 1})
    reasons = " ".join(
        event.get("ResourceStatusReason", "") for event in stacks.describe_stack_events(StackName="used")["StackEvents"]
    )
    assert "DeleteConflict: Cannot delete a policy attached to entities." in reasons

    iam.detach_role_policy(RoleName=role, PolicyArn=arn["PhysicalResourceId"])
    stacks.delete_stack(StackName="used")
    stacks.get_waiter("stack_delete_complete").wait(StackName="used", WaiterConfig={"Delay": 1})
