"""Callers with a role, and machines that run one task."""

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

ACCOUNT = "000000000000"
_number = itertools.count(1)


@pytest.fixture
def allow() -> Callable[..., dict[str, Any]]:
    """Write an Allow statement, its conditions operator by operator: `allow("s3:GetObject", resource=arn, Bool={...})`."""

    def statement(*actions: str, resource: str | list[str] = "*", **condition: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        return {**made, "Condition": condition} if condition else made

    return statement


@pytest.fixture
def unique() -> str:
    """A name that no other test of the session uses."""
    return f"test{next(_number)}"


@pytest.fixture
def make_role(cloud) -> Callable[..., str]:
    """Make a role with statements: `make_role(allow("s3:GetObject"), service="states.amazonaws.com")` gives its ARN."""

    def make(*statements: dict[str, Any], service: str | None = None, trust: dict[str, Any] | None = None) -> str:
        client, name = cloud.client("iam"), f"role-{next(_number)}"
        principal = {"Service": service} if service else {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        allow = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **(trust or {})}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        arn = client.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            client.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
        return str(arn)

    return make


@pytest.fixture
def acting_as(cloud) -> Callable[[str], Callable[[str], Any]]:
    """Give a role's clients: `acting_as(role)("s3")`."""

    def act(role: str) -> Callable[[str], Any]:
        got = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="tester")["Credentials"]
        keys = {"aws_access_key_id": got["AccessKeyId"], "aws_secret_access_key": got["SecretAccessKey"]}
        return lambda service: boto3.client(
            service,
            endpoint_url=cloud.endpoint_url,
            region_name="us-east-1",
            aws_session_token=got["SessionToken"],
            **keys,
        )

    return act


@pytest.fixture
def run_machine(cloud, unique) -> Callable[..., dict[str, Any]]:
    """Run one task as a machine with a role, to its end; gives the execution's description."""

    def run(role: str, resource: str, arguments: dict[str, Any], **state: Any) -> dict[str, Any]:
        client = cloud.client("stepfunctions")
        task = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **state}
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Task", "States": {"Task": task}})
        name = f"{unique}-{next(_number)}"
        machine = client.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=machine)["executionArn"]
        end = time.monotonic() + 10
        while (found := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < end, "the execution did not end within 10 s"
            time.sleep(0.05)
        return found

    return run
