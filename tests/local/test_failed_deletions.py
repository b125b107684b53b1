"""Deletions of which a resource fails: what it depends on waits for it."""

import json
import urllib.request

import pytest


@pytest.fixture
def fail(cloud):
    """Let the deletion of a resource fail once: ``fail("Top")``; none stays."""

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
        data = json.dumps(faults).encode()
        request = urllib.request.Request(f"{cloud.endpoint_url}/_mlops/faults", data=data)  # noqa: S310 - loopback
        urllib.request.urlopen(request).close()  # noqa: S310 - loopback

    yield put
    put()


def test_what_a_failed_deletion_depends_on_stays_for_the_next_one(cloud, fail, wait_for):
    """The top of a chain fails: the chain below it stays, a neighbour goes, and the second deletion takes all of it."""
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
