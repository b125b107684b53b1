"""Failing deletions of resources: the resource's dependencies stay."""

import json

import pytest


@pytest.fixture
def fail(cloud):
    """Let the deletion of a resource fail once: ``fail("Top")``; removed after the test."""

    def put(*logical_ids):
        faults = [
            {
                "integration": "cloudformation:delete",
                "match": f'"{one}"',
                "error": "InternalFailure",
                "cause": "a fault",
            }
            for one in logical_ids
        ]
        cloud.call("/_mlops/faults", faults)

    yield put
    put()


def test_what_a_failed_deletion_depends_on_stays_for_the_next_one(cloud, fail, wait_for):
    """The top of a chain fails: the chain below it stays, an independent resource goes, and the second deletion removes all."""
    client, queues = cloud.client("cloudformation"), cloud.client("sqs")
    queue = {"Type": "AWS::SQS::Queue"}
    body = {
        "Base": queue,
        "Middle": {**queue, "DependsOn": "Base"},
        "Top": {**queue, "DependsOn": "Middle"},
        "Neighbour": queue,
    }
    stack = client.create_stack(StackName="failed-deletion", TemplateBody=json.dumps({"Resources": body}))["StackId"]
    client.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})

    def left():
        return sorted(url.rpartition("failed-deletion-")[2].split("-")[0] for url in
                      queues.list_queues(QueueNamePrefix="failed-deletion-").get("QueueUrls", []))  # fmt: skip

    def status():
        return client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]

    fail("Top")
    client.delete_stack(StackName=stack)
    wait_for(lambda: status() == "DELETE_FAILED")
    assert left() == ["Base", "Middle", "Top"]

    client.delete_stack(StackName=stack)
    wait_for(lambda: status() == "DELETE_COMPLETE")
    assert left() == []


def test_a_rollback_keeps_what_it_could_not_delete_depends_on(cloud, fail, wait_for):
    """Also for a creation by a change set, as in `cdk deploy`: a key stays with the bucket that it encrypts."""
    client, queue = cloud.client("cloudformation"), {"Type": "AWS::SQS::Queue"}
    taken = {**queue, "Properties": {"DelaySeconds": "none"}, "DependsOn": "Top"}
    body = json.dumps({"Resources": {"Base": queue, "Top": {**queue, "DependsOn": "Base"}, "Last": taken}})
    made = client.create_change_set(
        StackName="failed-rollback", ChangeSetName="a", ChangeSetType="CREATE", TemplateBody=body
    )
    wait_for(lambda: client.describe_change_set(ChangeSetName=made["Id"])["Status"] == "CREATE_COMPLETE")
    fail("Top")

    client.execute_change_set(ChangeSetName=made["Id"])

    stack = made["StackId"]
    wait_for(lambda: client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "ROLLBACK_FAILED")
    events = client.describe_stack_events(StackName=stack)["StackEvents"]
    failed = {
        e["LogicalResourceId"]: e["ResourceStatusReason"] for e in events if e["ResourceStatus"] == "DELETE_FAILED"
    }
    assert sorted(failed) == ["Base", "Top"]
    assert failed["Base"] == "kept, because its dependents could not be deleted: Top"

    left = client.describe_stack_resources(StackName=stack)["StackResources"]
    assert {one["LogicalResourceId"]: one["ResourceStatus"] for one in left} == dict.fromkeys(failed, "DELETE_FAILED")
    client.delete_stack(StackName=stack)
    wait_for(lambda: client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE")
    assert cloud.client("sqs").list_queues(QueueNamePrefix="failed-rollback-").get("QueueUrls", []) == []
