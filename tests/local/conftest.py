"""Fixtures of the embedded cloud's tests: separate clouds, functions, callers with a role, machines of one task."""

import io
import itertools
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from mlops_local.cloud import Cloud, CloudError, connect, up

ACCOUNT = "000000000000"
_number = itertools.count(1)


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Start the embedded cloud of `tmp_path / "cloud"`, also again after it ended: ``own_cloud(clock_scale=60)``."""
    home = tmp_path / "cloud"
    yield lambda **options: up(home, **options)
    try:
        connect(home).down(forget=True)
    except CloudError:
        return


@pytest.fixture
def make_function() -> Callable[..., str]:
    """Make a function from files, with a role without permissions: ``make_function(cloud, "name", {"handler.py": code})``."""

    def make(cloud: Cloud, name: str, files: dict[str, str], **options: Any) -> str:
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = cloud.client("iam").create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=document)["Role"][
            "Arn"
        ]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        created = cloud.client("lambda").create_function(
            FunctionName=name, Runtime="python3.13", Handler="handler.handler", Role=role, Timeout=options.get("timeout", 30),
            Environment={"Variables": options.get("environment", {})}, Code={"ZipFile": buffer.getvalue()},
        )  # fmt: skip
        return str(created["FunctionArn"])

    return make


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    """Poll until the result is true, and return it: ``wait_for(lambda: queue_messages())``; fails after a real minute."""

    def wait(look: Callable[[], Any], seconds: float = 60.0) -> Any:
        end = time.monotonic() + seconds
        while not (seen := look()):
            assert time.monotonic() < end, f"nothing within {seconds} s"
            time.sleep(0.05)
        return seen

    return wait


@pytest.fixture
def allow() -> Callable[..., dict[str, Any]]:
    """Return an Allow statement with conditions by operator: `allow("s3:GetObject", resource=arn, Bool={...})`."""

    def statement(*actions: str, resource: str | list[str] = "*", **condition: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        return {**made, "Condition": condition} if condition else made

    return statement


@pytest.fixture
def unique() -> str:
    """Return a name that is unique in the session."""
    return f"test{next(_number)}"


@pytest.fixture
def make_role(cloud) -> Callable[..., str]:
    """Make a role with statements and return its ARN: `make_role(allow("s3:GetObject"), service="states.amazonaws.com")`."""

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
    """Return a client factory of a role: `acting_as(role)("s3")`."""

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
    """Run one task as a machine with a role, to its end; return the execution's description."""

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
