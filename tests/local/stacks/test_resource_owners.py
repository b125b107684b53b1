"""Which stack a resource belongs to. Source: DescribeStackResources of CloudFormation's API."""

import json

import pytest
from botocore.exceptions import ClientError


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
