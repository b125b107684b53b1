"""Deleted stacks by their id, and stacks by a resource. Source: ListStacks and DescribeStackEvents of CloudFormation's API."""

import json

import pytest
from botocore.exceptions import ClientError

TEMPLATE = {
    "Resources": {
        "Kept": {"Type": "AWS::SNS::Topic", "DeletionPolicy": "Retain"},
        "Gone": {"Type": "AWS::SNS::Topic"},
    }
}


@pytest.mark.cloud
def test_each_deleted_stack_of_a_name_is_shown_by_its_id(cloud, unique):
    """Also when another stack has the name, which then finds that one."""
    stacks = cloud.client("cloudformation")
    ids = []
    for _ in range(3):
        ids.append(stacks.create_stack(StackName=unique, TemplateBody=json.dumps(TEMPLATE))["StackId"])
        stacks.get_waiter("stack_create_complete").wait(StackName=ids[-1], WaiterConfig={"Delay": 1})
        if len(ids) < 3:
            stacks.delete_stack(StackName=unique)
            stacks.get_waiter("stack_delete_complete").wait(StackName=ids[-1], WaiterConfig={"Delay": 1})

    pages = stacks.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    listed = [row["StackId"] for page in pages for row in page["StackSummaries"] if row["StackName"] == unique]
    assert sorted(listed) == sorted(ids[:2])
    for deleted in ids[:2]:
        assert stacks.describe_stacks(StackName=deleted)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
        events = stacks.describe_stack_events(StackName=deleted)["StackEvents"]
        assert [e["LogicalResourceId"] for e in events if e["ResourceStatus"] == "DELETE_SKIPPED"] == ["Kept"]
    assert stacks.describe_stacks(StackName=unique)["Stacks"][0]["StackId"] == ids[2]
    stacks.delete_stack(StackName=unique)


@pytest.mark.cloud
def test_a_stack_is_found_by_what_it_owns(cloud, unique):
    """By the physical id alone; a deleted resource, or one outside stacks, is an error like an unknown stack."""
    name = f"/{unique}/owned"
    properties = {"Name": name, "Type": "String", "Value": "1"}
    template = {"Resources": {"Owned": {"Type": "AWS::SSM::Parameter", "Properties": properties}}}
    stacks = cloud.client("cloudformation")
    made = stacks.create_stack(StackName=unique, TemplateBody=json.dumps(template))["StackId"]
    stacks.get_waiter("stack_create_complete").wait(StackName=made, WaiterConfig={"Delay": 1})

    (row,) = stacks.describe_stack_resources(PhysicalResourceId=name)["StackResources"]
    assert (row["StackName"], row["LogicalResourceId"]) == (unique, "Owned")
    assert stacks.describe_stack_resources(StackName=unique)["StackResources"] == [row]

    stacks.delete_stack(StackName=unique)
    stacks.get_waiter("stack_delete_complete").wait(StackName=made, WaiterConfig={"Delay": 1})
    for absent in (name, f"/{unique}/never"):
        with pytest.raises(ClientError, match=f"ValidationError.*Stack for {absent} does not exist"):
            stacks.describe_stack_resources(PhysicalResourceId=absent)
