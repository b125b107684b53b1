"""Policies of buckets and keys with missing principals, or beyond the size limit."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud
from mlops_local.iam import policy_principals

BUILD, STAGING = "111111111111", "222222222222"


def statement(principal: object, action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    """Return a statement for a principal."""
    return {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_bucket_refuses_a_role_that_does_not_exist(cloud: Cloud, unique: str) -> None:
    """Roles of either account are checked; roots, conditions and existing roles pass; the policy before stays."""
    build, staging = cloud.at(BUILD), cloud.at(STAGING)
    s3, objects = build.client("s3"), f"arn:aws:s3:::{unique}/*"
    s3.create_bucket(Bucket=unique)
    late = f"arn:aws:iam::{STAGING}:role/{unique}"
    root = statement({"AWS": f"arn:aws:iam::{STAGING}:root"}, "s3:GetObject", objects,
                     Condition={"ArnEquals": {"aws:PrincipalArn": late}})  # fmt: skip
    s3.put_bucket_policy(Bucket=unique, Policy=document(root))
    for named in (late, [f"arn:aws:iam::{STAGING}:root", late], f"arn:aws:iam::{BUILD}:user/none"):
        with pytest.raises(ClientError, match=r"MalformedPolicy.*Invalid principal in policy"):
            s3.put_bucket_policy(Bucket=unique, Policy=document(statement({"AWS": named}, "s3:GetObject", objects)))
    assert json.loads(s3.get_bucket_policy(Bucket=unique)["Policy"])["Statement"] == [root]
    trust = document({"Effect": "Allow", "Principal": {"AWS": STAGING}, "Action": "sts:AssumeRole"})
    staging.client("iam").create_role(RoleName=unique, AssumeRolePolicyDocument=trust)
    s3.put_bucket_policy(Bucket=unique, Policy=document(statement({"AWS": late}, "s3:GetObject", objects)))


def test_a_key_refuses_a_role_that_does_not_exist(cloud: Cloud, unique: str) -> None:
    """At creation and at PutKeyPolicy."""
    kms, own = cloud.at(BUILD).client("kms"), statement({"AWS": f"arn:aws:iam::{BUILD}:root"}, "kms:*")
    wrong = document(own, statement({"AWS": f"arn:aws:iam::{STAGING}:role/{unique}"}, "kms:Decrypt"))
    key = kms.create_key(Policy=document(own))["KeyMetadata"]["KeyId"]
    for refused in (lambda: kms.create_key(Policy=wrong), lambda: kms.put_key_policy(KeyId=key, Policy=wrong)):
        with pytest.raises(ClientError, match=r"MalformedPolicyDocumentException.*one or more invalid principals"):
            refused()


@pytest.mark.parametrize(
    ("kind", "properties", "words"),
    [
        (
            "AWS::S3::BucketPolicy",
            lambda name, policy: {"Bucket": name, "PolicyDocument": policy},
            "Invalid principal in policy",
        ),
        ("AWS::KMS::Key", lambda _, policy: {"KeyPolicy": policy}, "one or more invalid principals"),
    ],
)
def test_a_template_fails_with_the_services_words(
    cloud: Cloud, unique: str, wait_for: Callable[..., Any], kind: str, properties: Any, words: str
) -> None:
    """Two stacks that name each other's roles cannot be deployed in any order."""
    place = cloud.at(BUILD, "eu-west-1")
    place.client("s3").create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    late = {"AWS": f"arn:aws:iam::{STAGING}:role/{unique}"}
    policy = {"Statement": [statement(late, "s3:GetObject", f"arn:aws:s3:::{unique}/*")]}
    template = {"Resources": {"Policy": {"Type": kind, "Properties": properties(unique, policy)}}}
    client = place.client("cloudformation")
    client.create_stack(StackName=unique, TemplateBody=json.dumps(template))
    wait_for(lambda: client.describe_stacks(StackName=unique)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")
    events = client.describe_stack_events(StackName=unique)["StackEvents"]
    assert any(words in event.get("ResourceStatusReason", "") for event in events)
    client.delete_stack(StackName=unique)


def test_policies_have_a_size(cloud: Cloud, unique: str) -> None:
    """20 KB of a bucket, 32 KB of a key, not counting white space."""
    place = cloud.at(BUILD)
    s3, kms = place.client("s3"), place.client("kms")
    s3.create_bucket(Bucket=unique)
    own = statement({"AWS": f"arn:aws:iam::{BUILD}:root"}, "kms:*", Sid="x" * 20_000)
    bucket = statement({"AWS": f"arn:aws:iam::{BUILD}:root"}, "s3:*", f"arn:aws:s3:::{unique}", Sid="x" * 20_400)
    with pytest.raises(ClientError, match="PolicyTooLarge"):
        s3.put_bucket_policy(Bucket=unique, Policy=document(bucket))
    s3.put_bucket_policy(Bucket=unique, Policy=json.dumps({"Statement": [{**bucket, "Sid": "x" * 19_000}]}, indent=400))
    kms.create_key(Policy=document(own))
    with pytest.raises(ClientError, match="LimitExceededException"):
        kms.create_key(Policy=document(own, {**own, "Sid": "y" * 13_000}))


def test_roles_that_aws_makes_are_not_looked_for() -> None:
    """Service-linked roles, principals of CloudFront, services, and accounts outside this cloud are not checked."""
    named = [
        "arn:aws:iam::000000000000:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
        "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1",
        "arn:aws:iam::127311923021:root",
        "arn:aws:iam::123456789012:role/elsewhere",
    ]
    assert list(policy_principals.missing(document(statement({"AWS": named}, "s3:GetObject")))) == []
    assert list(policy_principals.missing(document(statement({"Service": "s3.amazonaws.com"}, "s3:GetObject")))) == []
    assert list(policy_principals.missing("no JSON")) == []
