"""Parameter Store rejects values beyond the standard tier, by the API and in stacks."""

import json

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud


def test_a_value_that_the_standard_tier_has_no_room_for_is_refused(cloud: Cloud) -> None:
    """4,096 characters fit, one more only in the advanced tier; a stack that writes it rolls back with the reason."""
    ssm, stacks = cloud.client("ssm"), cloud.client("cloudformation")
    words = "Standard tier parameters support a maximum parameter value of 4096 characters"
    ssm.put_parameter(Name="/sized/full", Value="x" * 4096, Type="String")
    with pytest.raises(ClientError, match=f"ValidationException.*{words}"):
        ssm.put_parameter(Name="/sized/over", Value="x" * 4097, Type="String")
    ssm.put_parameter(Name="/sized/advanced", Value="x" * 4097, Type="String", Tier="Advanced")

    properties = {"Name": "/sized/stack", "Type": "String", "Value": "x" * 4097}
    template = {"Resources": {"Entry": {"Type": "AWS::SSM::Parameter", "Properties": properties}}}
    stacks.create_stack(StackName="sized", TemplateBody=json.dumps(template))
    with pytest.raises(Exception, match="StackCreateComplete"):
        stacks.get_waiter("stack_create_complete").wait(StackName="sized", WaiterConfig={"Delay": 1})
    reasons = [
        e.get("ResourceStatusReason", "") for e in stacks.describe_stack_events(StackName="sized")["StackEvents"]
    ]
    assert any(words in reason for reason in reasons), reasons
    for name in ("/sized/full", "/sized/advanced"):
        ssm.delete_parameter(Name=name)
    stacks.delete_stack(StackName="sized")
