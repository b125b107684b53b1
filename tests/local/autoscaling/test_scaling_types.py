"""Application Auto Scaling's target and policy in CloudFormation."""

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.local.sagemaker.conftest import Plane


def _deploy(plane: Plane, stack: str, operation: str, resources: dict[str, Any]) -> None:
    client = plane.cloud.client("cloudformation")
    getattr(client, f"{operation}_stack")(StackName=stack, TemplateBody=json.dumps({"Resources": resources}))
    client.get_waiter(f"stack_{operation}_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})


def _template(name: str, *, maximum: str = "4", schedule: bool = True) -> dict[str, Any]:
    action = {
        "ScheduledActionName": "night",
        "Schedule": "cron(0 22 * * ? *)",
        "ScalableTargetAction": {"MinCapacity": "1", "MaxCapacity": "1"},
    }
    return {
        "Target": {
            "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
            "Properties": {
                "ServiceNamespace": "sagemaker",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                "ResourceId": f"endpoint/{name}/variant/AllTraffic",
                "MinCapacity": 1,
                "MaxCapacity": maximum,
                "ScheduledActions": [action] if schedule else [],
            },
        },
        "Policy": {
            "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
            "Properties": {
                "PolicyName": "target",
                "PolicyType": "TargetTrackingScaling",
                "ScalingTargetId": {"Ref": "Target"},
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": "100",
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                },
            },
        },
    }


def test_a_stack_registers_changes_and_takes_back(plane: Plane) -> None:
    """Target, scheduled action and policy are created, updated in place, and deleted with the stack."""
    plane.config(plane.model("stacked"))
    plane.endpoint("stacked", "stacked")
    client = plane.cloud.client("application-autoscaling")
    query = {"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/stacked/variant/AllTraffic"}
    _deploy(plane, "stacked", "create", _template("stacked"))
    assert client.describe_scaling_policies(**query)["ScalingPolicies"][0]["PolicyName"] == "target"
    assert len(client.describe_scheduled_actions(**query)["ScheduledActions"]) == 1
    _deploy(plane, "stacked", "update", _template("stacked", maximum="6", schedule=False))
    targets = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[query["ResourceId"]])
    assert targets["ScalableTargets"][0]["MaxCapacity"] == 6
    assert client.describe_scheduled_actions(**query)["ScheduledActions"] == []
    cloudformation = plane.cloud.client("cloudformation")
    cloudformation.delete_stack(StackName="stacked")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="stacked", WaiterConfig={"Delay": 1})
    targets = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[query["ResourceId"]])
    assert targets["ScalableTargets"] == []


def test_fails_with_the_services_reason(plane: Plane) -> None:
    """A target of a missing endpoint fails its stack."""
    with pytest.raises(WaiterError):
        _deploy(plane, "stackless", "create", _template("absent"))
    rows = plane.cloud.client("cloudformation").describe_stack_events(StackName="stackless")["StackEvents"]
    assert any("No endpoint variant exists" in row.get("ResourceStatusReason", "") for row in rows)
