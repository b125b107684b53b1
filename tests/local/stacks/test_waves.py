"""Independent custom resources: concurrent in every operation, cancelled when one fails."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# notes its start in a bucket, waits for the starts named in its properties or for a stack event, and responds
WORK = """
import json, os, time, urllib.request
import boto3

S3 = boto3.client("s3")
BUCKET = os.environ["BUCKET"]

def begun(name, stack):
    if name.startswith("event/"):
        events = boto3.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
        return any(name == f"event/{one['LogicalResourceId']}/{one['ResourceStatus']}" for one in events)
    return any(one["Key"] == name for one in S3.list_objects_v2(Bucket=BUCKET).get("Contents", []))

def handler(event, context):
    kind, properties = event["RequestType"], event["ResourceProperties"]
    name = event["LogicalResourceId"]
    known = {key: event.get(key) for key in ("PhysicalResourceId", "OldResourceProperties")}
    S3.put_object(Bucket=BUCKET, Key=f"{kind}/{name}/{properties.get('Version', '')}", Body=json.dumps(known).encode())
    answer = {"Status": "SUCCESS", "PhysicalResourceId": "its-" + name, "Data": {"Name": name}}
    answer |= {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    if properties.get("FailsAt") == kind:
        answer |= {"Status": "FAILED", "Reason": "as it was asked to"}
    for other in properties.get(kind + "After", []):
        until = time.monotonic() + 20
        while not begun(other, event["StackId"]):
            if time.monotonic() > until:
                answer |= {"Status": "FAILED", "Reason": f"{other} never began"}
                break
            time.sleep(0.05)
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=5).close()
"""
Stack = Callable[..., list[tuple[str, str, str]]]


@pytest.fixture
def bucket(cloud, unique) -> Iterator[str]:
    """A bucket that outlives its stacks, with each start and its properties."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=f"{unique}-begun")
    yield f"{unique}-begun"
    for found in s3.list_objects_v2(Bucket=f"{unique}-begun").get("Contents", []):
        s3.delete_object(Bucket=f"{unique}-begun", Key=found["Key"])
    s3.delete_bucket(Bucket=f"{unique}-begun")


@pytest.fixture
def run(cloud, unique, bucket) -> Stack:
    """Create, update or delete (no custom resources) a stack: returns its events in order."""
    client, stack, seen = cloud.client("cloudformation"), "", 0

    def run(customs: dict[str, dict[str, Any]] | None = None, **outputs: Any) -> list[tuple[str, str, str]]:
        nonlocal stack, seen
        body = {"Resources": _base(bucket) | {name: _custom(**one) for name, one in (customs or {}).items()}}
        if outputs:
            body["Outputs"] = {name: {"Value": value} for name, value in outputs.items()}
        options = {"TemplateBody": json.dumps(body), "Capabilities": ["CAPABILITY_IAM"]}
        if customs is None:
            client.delete_stack(StackName=stack)
        elif stack:
            client.update_stack(StackName=stack, **options)
        else:
            stack = client.create_stack(StackName=unique, **options)["StackId"]
        while client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        events = client.describe_stack_events(StackName=stack)["StackEvents"][::-1]
        new, seen = events[seen:], len(events)
        return [
            (one["LogicalResourceId"], one["ResourceStatus"], one.get("ResourceStatusReason", ""))
            for one in new
            if one["ResourceType"].startswith("Custom::") or one["ResourceType"] == "AWS::CloudFormation::Stack"
        ]

    return run


def _base(bucket: str) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allowed = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:ListBucket", "cloudformation:DescribeStackEvents"],
               "Resource": "*"}  # fmt: skip
    policy = {"PolicyName": "Begin", "PolicyDocument": {"Version": "2012-10-17", "Statement": [allowed]}}
    role = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}, "Policies": [policy]}
    function = {"Runtime": "python3.13", "Handler": "index.handler", "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {"ZipFile": WORK}, "Timeout": 30, "Environment": {"Variables": {"BUCKET": bucket}}}  # fmt: skip
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": role},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
    }


def _custom(depends_on: str = "Function", **properties: Any) -> dict[str, Any]:
    token = {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, "ServiceTimeout": 60}
    return {"Type": "Custom::Work", "DependsOn": depends_on, "Properties": token | properties}


def _of(events: list[tuple[str, str, str]], *names: str) -> list[tuple[str, str]]:
    return [(name, status) for name, status, _ in events if name in names]


def _each_waits(kind: str, version: str = "1") -> dict[str, dict[str, Any]]:
    """Return two resources whose functions wait for each other's start."""
    return {
        "One": {"Version": version, f"{kind}After": [f"{kind}/Two/{version}"]},
        "Two": {"Version": version, f"{kind}After": [f"{kind}/One/{version}"]},
    }


@pytest.mark.cloud
def test_functions_of_one_wave_are_called_at_once(run: Stack) -> None:
    """Each waits for the other's start; dependent resources wait for both, and outputs have their responses."""
    customs = _each_waits("Create") | {"After": {"depends_on": "Two", "Of": {"Fn::GetAtt": ["One", "Name"]}}}

    events = run(customs, Name={"Fn::GetAtt": ["Two", "Name"]}, Id={"Ref": "One"})

    assert events[-1][1] == "CREATE_COMPLETE"
    assert sorted(_of(events, "One", "Two")[:2]) == [("One", "CREATE_IN_PROGRESS"), ("Two", "CREATE_IN_PROGRESS")]
    assert sorted(_of(events, "One", "Two")[2:]) == [("One", "CREATE_COMPLETE"), ("Two", "CREATE_COMPLETE")]
    assert _of(events, "One", "Two", "After")[4:] == [("After", "CREATE_IN_PROGRESS"), ("After", "CREATE_COMPLETE")]


@pytest.mark.cloud
def test_events_come_in_the_order_of_completion(run: Stack, cloud, unique) -> None:
    """Each but the last by name waits for the end of the next one; outputs are those of each resource."""
    shown = {
        name: {"CreateAfter": [f"event/{later}/CREATE_COMPLETE"]} for name, later in (("One", "Two"), ("Two", "Zoe"))
    }
    events = run(
        shown | {"Zoe": {}},
        **{name: {"Fn::GetAtt": [name, "Name"]} for name in ("One", "Two", "Zoe")},
    )

    ends = [name for name, status in _of(events, "One", "Two", "Zoe") if status == "CREATE_COMPLETE"]
    assert ends == ["Zoe", "Two", "One"]
    stack = cloud.client("cloudformation").describe_stacks(StackName=unique)["Stacks"][0]
    assert {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]} == {
        name: name for name in ("One", "Two", "Zoe")
    }


@pytest.mark.cloud
def test_updates_and_deletions_of_one_wave_run_at_once(run: Stack) -> None:
    """The operations of one stack, in sequence."""
    run(_each_waits("Update", "1"))
    updated = run({name: one | {"DeleteAfter": [f"Delete/{other}/2"]} for (name, one), other in
                   zip(_each_waits("Update", "2").items(), ("Two", "One"), strict=True)})  # fmt: skip
    deleted = run()

    assert updated[-1][1] == "UPDATE_COMPLETE"
    assert [status for _, status in _of(updated, "One", "Two")][:2] == ["UPDATE_IN_PROGRESS"] * 2
    assert deleted[-1][1] == "DELETE_COMPLETE"
    assert [status for _, status in _of(deleted, "One", "Two")] == ["DELETE_IN_PROGRESS"] * 2 + ["DELETE_COMPLETE"] * 2


@pytest.mark.cloud
def test_a_rollback_deletes_a_wave_at_once(run: Stack) -> None:
    """Both wait for each other's deletion after a later resource failed; the failed one gets a delete request too."""
    customs = _each_waits("Delete") | {"Bad": {"depends_on": "Two", "FailsAt": "Create"}}

    events = run(customs)

    assert events[-1][1] == "ROLLBACK_COMPLETE"
    assert _of(events, "Bad") == [
        ("Bad", "CREATE_IN_PROGRESS"), ("Bad", "CREATE_FAILED"), ("Bad", "DELETE_IN_PROGRESS"), ("Bad", "DELETE_COMPLETE"),
    ]  # fmt: skip
    assert [status for _, status in _of(events, "One", "Two")][4:] == ["DELETE_IN_PROGRESS"] * 2 + [
        "DELETE_COMPLETE"
    ] * 2


@pytest.mark.cloud
@pytest.mark.parametrize("failing", ["Aye", "Zoe"])
def test_a_failure_cancels_what_is_in_progress(run: Stack, cloud, bucket: str, failing: str) -> None:
    """Immediately: the other function, which waits for its delete request, gets one for an id that it never returned."""
    events = run(
        {failing: {"FailsAt": "Create", "CreateAfter": ["Create/Mid/"]}, "Mid": {"CreateAfter": ["Delete/Mid/"]}}
    )

    assert events[-1][1] == "ROLLBACK_COMPLETE"
    assert ("Mid", "CREATE_FAILED", "Resource creation cancelled") in events
    assert (failing, "CREATE_FAILED", "as it was asked to") in events
    assert _of(events, "Mid")[-2:] == [("Mid", "DELETE_IN_PROGRESS"), ("Mid", "DELETE_COMPLETE")]
    requested = json.loads(cloud.client("s3").get_object(Bucket=bucket, Key="Delete/Mid/")["Body"].read())
    assert "-Mid-" in requested["PhysicalResourceId"]
    assert requested["PhysicalResourceId"] != "its-Mid"


@pytest.mark.cloud
def test_a_failed_update_sends_back_its_whole_wave(run: Stack, cloud, bucket: str) -> None:
    """Cancelled and completed updates get their former properties; new resources are deleted."""
    run({"One": {"Version": "1"}, "Two": {"Version": "1"}})

    events = run({
        "One": {"Version": "2", "FailsAt": "Update", "UpdateAfter": ["Update/Two/2", "Create/New/2"]},
        "Two": {"Version": "2", "UpdateAfter": ["Update/Two/1"]},
        "New": {"Version": "2"},
    })  # fmt: skip

    assert events[-1][1] == "UPDATE_ROLLBACK_COMPLETE"
    assert ("Two", "UPDATE_FAILED", "Resource update cancelled") in events
    assert any(reason.startswith("The following resource(s) failed to update: [One, Two].") for _, _, reason in events)
    keys = {one["Key"] for one in cloud.client("s3").list_objects_v2(Bucket=bucket)["Contents"]}
    assert {"Update/One/1", "Update/Two/1", "Delete/New/2"} <= keys
