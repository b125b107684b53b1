"""Two concurrent deployments of one stack: the second one is rejected, and changes nothing."""

import json

import pytest
from botocore.exceptions import ClientError

QUEUE = {"Type": "AWS::SQS::Queue"}
WAITING = {
    "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
    "Waits": {
        "Type": "AWS::CloudFormation::WaitCondition",
        "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "8", "Count": 1},
    },
}


def body(**resources):
    """Return a template."""
    return json.dumps({"Resources": resources})


def test_a_second_operation_is_refused(cloud, wait_for):
    """By a new change set, and by one that was created before."""
    client = cloud.client("cloudformation")
    name = "busy"
    stack = client.create_stack(StackName=name, TemplateBody=body(First=QUEUE))["StackId"]
    client.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    early = client.create_change_set(
        StackName=name, ChangeSetName="early", TemplateBody=body(First=QUEUE, Early=QUEUE)
    )["Id"]
    wait_for(lambda: client.describe_change_set(ChangeSetName=early)["Status"] == "CREATE_COMPLETE")

    client.update_stack(StackName=name, TemplateBody=body(First=QUEUE, **WAITING))
    refused = rf"Stack:{stack} is in UPDATE_IN_PROGRESS state and can not be updated\."
    with pytest.raises(ClientError, match=refused):
        client.create_change_set(StackName=name, ChangeSetName="late", TemplateBody=body(First=QUEUE, Late=QUEUE))
    with pytest.raises(ClientError, match=refused):
        client.execute_change_set(ChangeSetName=early)

    wait_for(lambda: client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE")
    there = client.list_stack_resources(StackName=name)["StackResourceSummaries"]
    assert {each["LogicalResourceId"] for each in there} == {"First"}
    client.delete_stack(StackName=name)
