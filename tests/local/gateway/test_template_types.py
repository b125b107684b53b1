"""Types of REST APIs in templates."""

import json
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.local.gateway.conftest import Api, Front


def template(front: Front, stage: dict[str, Any] | None = None, **method: Any) -> str:
    """Return a template of an API with one method with a validator, and further properties of its stage."""
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
        "Stage": (
            "Stage",
            {"RestApiId": api, "DeploymentId": {"Ref": "Deployment"}, "StageName": "live", **(stage or {})},
            [],
        ),
    }
    made = {
        name: {"Type": f"AWS::ApiGateway::{kind}", "Properties": given, "DependsOn": after}
        for name, (kind, given, after) in resources.items()
    }
    return json.dumps({"Resources": made, "Outputs": {"Api": {"Value": api}}})


def test_a_method_of_a_template_has_its_validator(front: Front) -> None:
    """MiniStack's own type ignores the validator, so every body would pass."""
    client = front.cloud.client("cloudformation")
    client.create_stack(StackName="method", TemplateBody=template(front))
    client.get_waiter("stack_create_complete").wait(StackName="method", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    identifier = client.describe_stacks(StackName="method")["Stacks"][0]["Outputs"][0]["OutputValue"]
    api = Api(front, identifier, "")
    assert (api.call("/", b"{}").status, api.call("/", b'{"rows": 1}').status) == (400, 200)


def test_a_method_that_aws_refuses_fails_its_stack(front: Front) -> None:
    """With the reason in the event."""
    assert "No method response exists" in refusal(front, "refused", template(front, MethodResponses=[]))


def refusal(front: Front, name: str, body: str) -> str:
    """Create a stack that fails, and return the reasons in its events."""
    client = front.cloud.client("cloudformation")
    client.create_stack(StackName=name, TemplateBody=body, OnFailure="DO_NOTHING")
    client.get_waiter("stack_exists").wait(StackName=name)
    with pytest.raises(WaiterError):
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    events = client.describe_stack_events(StackName=name)["StackEvents"]
    return "; ".join(event.get("ResourceStatusReason", "") for event in events)


def test_access_logs_need_the_role_of_the_account(front: Front) -> None:
    """API Gateway writes to CloudWatch with one role per account and region; a delivery stream needs none."""
    group = {
        "AccessLogSetting": {"DestinationArn": "arn:aws:logs:us-east-1:000000000000:log-group:calls", "Format": "x"}
    }
    stream = "arn:aws:firehose:us-east-1:000000000000:deliverystream/amazon-apigateway-calls"
    set_role = {"op": "replace", "path": "/cloudwatchRoleArn"}
    client = front.cloud.client("cloudformation")

    assert "CloudWatch Logs role ARN must be set" in refusal(front, "unlogged", template(front, group))
    front.gateway.update_account(patchOperations=[{**set_role, "value": "arn:aws:iam::000000000000:role/logs"}])
    try:
        client.create_stack(StackName="logged", TemplateBody=template(front, group))
        client.get_waiter("stack_create_complete").wait(
            StackName="logged", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    finally:
        front.gateway.update_account(patchOperations=[{**set_role, "value": ""}])
    streamed = {"AccessLogSetting": {"DestinationArn": stream, "Format": "x"}}
    client.create_stack(StackName="streamed", TemplateBody=template(front, streamed))
    client.get_waiter("stack_create_complete").wait(StackName="streamed", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
