"""Types of REST APIs in templates."""

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.local.gateway.conftest import Api, Front


def template(front: Front, **method: Any) -> str:
    """Write a template of an API with one method behind a validator."""
    api = {"Ref": "Api"}
    integration = {
        "Type": "MOCK",
        "RequestTemplates": {"application/json": '{"statusCode": 200}'},
        "IntegrationResponses": [{"StatusCode": 200}],
    }
    properties = {
        "RestApiId": api,
        "ResourceId": {"Fn::GetAtt": ["Api", "RootResourceId"]},
        "HttpMethod": "POST",
        "AuthorizationType": "NONE",
        "RequestValidatorId": {"Ref": "Validator"},
        "RequestModels": {"application/json": {"Ref": "Model"}},
        "MethodResponses": [{"StatusCode": "200"}],
        "Integration": integration,
        **method,
    }
    resources = {
        "Api": ("RestApi", {"Name": "api"}, []),
        "Model": (
            "Model",
            {"RestApiId": api, "ContentType": "application/json", "Schema": {"type": "object", "required": ["rows"]}},
            [],
        ),
        "Validator": ("RequestValidator", {"RestApiId": api, "ValidateRequestBody": True}, []),
        "Method": ("Method", properties, []),
        "Deployment": ("Deployment", {"RestApiId": api}, ["Method"]),
        "Stage": ("Stage", {"RestApiId": api, "DeploymentId": {"Ref": "Deployment"}, "StageName": "live"}, []),
    }
    made = {
        name: {"Type": f"AWS::ApiGateway::{kind}", "Properties": given, "DependsOn": after}
        for name, (kind, given, after) in resources.items()
    }
    return json.dumps({"Resources": made, "Outputs": {"Api": {"Value": api}}})


def test_a_method_of_a_template_has_its_validator(front: Front) -> None:
    """MiniStack's leaves it out, and every body would pass."""
    client = front.cloud.client("cloudformation")
    client.create_stack(StackName="method", TemplateBody=template(front))
    client.get_waiter("stack_create_complete").wait(StackName="method", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    identifier = client.describe_stacks(StackName="method")["Stacks"][0]["Outputs"][0]["OutputValue"]
    api = Api(front, identifier, "")
    assert (api.call("/", b"{}").status, api.call("/", b'{"rows": 1}').status) == (400, 200)


def test_a_method_that_aws_refuses_fails_its_stack(front: Front) -> None:
    """With the reason in the event."""
    client = front.cloud.client("cloudformation")
    client.create_stack(StackName="refused", TemplateBody=template(front, MethodResponses=[]), OnFailure="DO_NOTHING")
    client.get_waiter("stack_exists").wait(StackName="refused")
    with pytest.raises(WaiterError):
        client.get_waiter("stack_create_complete").wait(
            StackName="refused", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    events = client.describe_stack_events(StackName="refused")["StackEvents"]
    assert any("No method response exists" in event.get("ResourceStatusReason", "") for event in events)
