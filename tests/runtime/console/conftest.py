"""The API on the shared embedded cloud, with its own unit."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import boto3
import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.route import Role
from mlops_runtime.console.taken_role import TakenRole, take_role

Ask = Callable[..., tuple[int, dict[str, Any]]]

TAKES = ["sts:AssumeRole", "sts:SetSourceIdentity"]
_number = itertools.count(1)


@pytest.fixture
def unit(cloud: Cloud) -> DeployedUnit:
    """A unit with an endpoint that serves nothing yet."""
    return DeployedUnit(cloud, f"console{next(_number)}")


@pytest.fixture
def connection(cloud: Cloud) -> CloudConnection:
    """What the API calls, as root of the embedded account."""
    options = embedded_options(cloud.home)
    assert options is not None
    return CloudConnection(session=boto3.Session(), options=options)


@pytest.fixture
def roles(cloud: Cloud) -> dict[Role, str]:
    """A role by kind, as people have them: readers may list, people on call may write too; an approver may nothing yet."""
    iam, number = cloud.client("iam"), next(_number)
    found = {}
    for role, actions in (
        (Role.READER, ["ssm:GetParametersByPath"]),
        (
            Role.ON_CALL,
            ["ssm:GetParameter", "ssm:GetParametersByPath", "dynamodb:*", "kms:*", "s3:*", "states:*", "events:*"],
        ),
        (Role.APPROVER, []),
    ):
        name = f"Console-{role.value}-{number}"
        trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": TAKES}
        document = {"Version": "2012-10-17", "Statement": [trust]}
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
        if actions:
            allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            iam.put_role_policy(RoleName=name, PolicyName="May", PolicyDocument=policy)
        found[role] = made["Role"]["Arn"]
    return found


@pytest.fixture
def api(connection: CloudConnection) -> ConsoleApi:
    """The API, as root of the embedded account."""
    return ConsoleApi(lambda _role: connection)


@pytest.fixture
def limited(cloud: Cloud, unit: DeployedUnit, connection: CloudConnection) -> TakenRole:
    """A reader of everything but the row of a second endpoint of the unit, with a table of its own."""
    iam, name = cloud.client("iam"), f"{unit.name}-limited"
    attribute = {"AttributeName": "endpoint", "AttributeType": "S"}
    made = unit.dynamodb.create_table(
        TableName=f"{unit.name}-secret",
        AttributeDefinitions=[attribute],
        KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    unit.publish(
        replace(
            unit.endpoint_entry, endpoint=f"{unit.name}-secret", rollout_table=made["TableDescription"]["TableName"]
        )
    )
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    table = made["TableDescription"]["TableArn"]
    reads = ["ssm:Get*", "dynamodb:GetItem", "sagemaker:Describe*", "sagemaker:List*", "states:List*", "s3:*"]
    statements = [
        {"Effect": "Allow", "Action": reads, "Resource": "*"},
        {"Effect": "Deny", "Action": "dynamodb:GetItem", "Resource": table},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="Reads", PolicyDocument=policy)
    return take_role(connection, role["Role"]["Arn"], session="ann")


@pytest.fixture
def ask(api: ConsoleApi) -> Ask:
    """Return status and document of an answer: ``ask("GET", "/units")``."""

    def requested(method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        content = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            given = {"content-type": "application/json", **given}
        where, _, query = path.partition("?")
        found = api.answer(
            HttpRequest(
                method=method, path=f"/api/v1{where}", query=dict(parse_qsl(query)), headers=given, body=content
            )
        )
        return found.status, json.loads(found.body or b"{}")

    return requested
