"""Look-ups of names that a deployment would create."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from mlops_cli.existing_names import look_up, types
from mlops_local.cloud import Cloud
from mlops_runtime.changes import NamedResource
from mlops_runtime.changes.existing_resources import types as named_types

POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}}
REGION, ACCOUNT = "us-east-1", "000000000000"


def resource(kind: str, name: str, parent: str = "") -> NamedResource:
    """A resource that would be created."""
    return NamedResource(stack="S", logical_id="One", type=kind, name=name, parent=parent)


def test_each_type_that_has_a_name_is_looked_at() -> None:
    """The two tables say the same."""
    assert types() == named_types()


@pytest.mark.parametrize("kind", sorted(types()))
def test_what_does_not_exist_is_not_found(cloud: Cloud, kind: str) -> None:
    """Each service's answer for what is missing is understood, and is no reason to stop."""
    if kind == "AWS::Events::Rule":
        parent = "default"
    elif kind == "AWS::Glue::Table":
        parent = "no_such_database"
    else:
        parent = "no-such-cluster" if kind == "AWS::EKS::AccessEntry" else ""
    name = "arn:aws:iam::000000000000:role/none" if kind == "AWS::EKS::AccessEntry" else "no-such-name-1"
    if kind == "AWS::KMS::Alias":
        name = "alias/none"

    assert list(look_up(cloud.client, [resource(kind, name, parent)], account=ACCOUNT, region=REGION)) == []


def test_what_exists_is_found_by_the_same_calls(cloud: Cloud) -> None:
    """One of each kind of look-up: by name, by ARN, by prefix, within something."""
    iam, glue = cloud.client("iam"), cloud.client("glue")
    iam.create_policy(PolicyName="existing-names", PolicyDocument=json.dumps(POLICY))
    glue.create_database(DatabaseInput={"Name": "existing_names"})
    glue.create_table(DatabaseName="existing_names", TableInput={"Name": "one"})
    cloud.client("logs").create_log_group(logGroupName="existing-names-log")
    cloud.client("events").put_rule(Name="existing-names", EventPattern='{"source": ["a"]}')
    found = look_up(
        cloud.client,
        [
            resource("AWS::IAM::ManagedPolicy", "existing-names"),
            resource("AWS::Glue::Table", "one", "existing_names"),
            resource("AWS::Glue::Database", "existing_names"),
            resource("AWS::Logs::LogGroup", "existing-names-log"),
            resource("AWS::Logs::LogGroup", "existing-names"),
            resource("AWS::Events::Rule", "existing-names"),
        ],
        account=ACCOUNT,
        region=REGION,
    )
    assert [(one.resource.type, dict(one.identifier)) for one in found] == [
        ("AWS::IAM::ManagedPolicy", {}),
        ("AWS::Glue::Table", {}),
        ("AWS::Glue::Database", {"DatabaseName": "existing_names"}),
        ("AWS::Logs::LogGroup", {"LogGroupName": "existing-names-log"}),
        ("AWS::Events::Rule", {}),
    ]


def test_a_call_that_is_denied_is_reported_and_the_next_is_made(
    cloud: Cloud, make_caller: Callable[[], Callable[[str], Any]]
) -> None:
    """Without the right to look nothing is known, which is no reason to refuse the deployment."""
    (one,) = look_up(make_caller(), [resource("AWS::DynamoDB::Table", "denied")], account=ACCOUNT, region=REGION)

    assert one.reason == "DescribeTable answers AccessDeniedException"
    assert one.text == (
        "One (AWS::DynamoDB::Table): whether denied exists cannot be looked at: DescribeTable answers AccessDeniedException"
    )


@pytest.fixture
def make_caller(cloud: Cloud) -> Callable[[], Callable[[str], Any]]:
    """Make clients of a user who may do nothing."""

    def make() -> Callable[[str], Any]:
        iam = cloud.client("iam")
        iam.create_user(UserName="existing-names")
        key = iam.create_access_key(UserName="existing-names")["AccessKey"]
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
        return lambda service: session.client(service, endpoint_url=cloud.endpoint_url)

    return make
