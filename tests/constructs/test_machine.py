"""The one state machine."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import BusinessUnit, ValidationError
from mlops_constructs._machine import define_machine

START = "arn:aws:states:::aws-sdk:sagemaker:startPipelineExecution"
DESCRIBE = "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint"


@pytest.fixture
def stack() -> cdk.Stack:
    """A stack with a unit."""
    stack = cdk.Stack(cdk.App(), "Demand")
    BusinessUnit(stack, "Unit", name="demand")
    return stack


def _define(stack: cdk.Stack, *tasks: dict[str, Any]) -> Any:
    unit = stack.node.find_child("Unit")
    assert isinstance(unit, BusinessUnit)
    names = [f"Task{number}" for number, _ in enumerate(tasks)]
    states: dict[str, Any] = {
        name: {"Type": "Task", "Next": following, **state}
        for name, following, state in zip(names, [*names[1:], "End"], tasks, strict=True)
    }
    return define_machine(
        stack,
        "Deploy",
        business_unit=unit,
        definition={"QueryLanguage": "JSONata", "StartAt": names[0], "States": {**states, "End": {"Type": "Succeed"}}},
        statements=[
            iam.PolicyStatement(actions=["sagemaker:DescribeEndpoint"], resources=["arn:aws:sagemaker:*:*:endpoint/d"])
        ],
        description="Deploys models",
        wildcard_reason="none more",
    )


def test_a_machine_is_logged_traced_and_encrypted(stack: cdk.Stack) -> None:
    """Every event is logged, no payload is; key and role are the unit's."""
    machine = _define(stack, {"Resource": DESCRIBE, "Arguments": {"EndpointName": "d"}})

    template = Template.from_stack(stack)
    (properties,) = (r["Properties"] for r in template.find_resources("AWS::StepFunctions::StateMachine").values())
    logs = properties["LoggingConfiguration"]
    assert (logs["Level"], logs["IncludeExecutionData"], len(logs["Destinations"])) == ("ALL", False, 1)
    assert properties["TracingConfiguration"] == {"Enabled": True}
    assert properties["EncryptionConfiguration"]["Type"] == "CUSTOMER_MANAGED_KMS_KEY"
    assert properties["EncryptionConfiguration"]["KmsKeyId"] == stack.resolve(
        stack.node.find_child("Unit").key.key_arn  # type: ignore[attr-defined]  # a unit, see the fixture
    )
    assert properties["RoleArn"] == stack.resolve(machine.role.role_arn)
    assert stack.node.try_find_child("DeployRole") is not None
    assert stack.node.try_find_child("DeployLogs") is not None
    groups = template.find_resources("AWS::Logs::LogGroup")
    (name,) = (g["Properties"]["LogGroupName"] for key, g in groups.items() if key.startswith("DeployLogs"))
    assert name["Fn::Join"][1][0] == "/aws/vendedlogs/states/Demand-DeployLogs-"


def test_the_role_may_do_what_was_given_and_what_logs_need(stack: cdk.Stack) -> None:
    """Nothing is granted besides: no inline policy appears that CDK would have made."""
    _define(stack, {"Resource": DESCRIBE, "Arguments": {"EndpointName": "d"}})

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::IAM::Policy", 0)
    policies = template.find_resources("AWS::IAM::ManagedPolicy")
    (document,) = (p["Properties"]["PolicyDocument"] for name, p in policies.items() if name.startswith("DeployRole"))
    uses = [s for s in document["Statement"] if "UnitKey" in json.dumps(s["Resource"])]
    by_resource = {
        json.dumps(s["Resource"]): set(s["Action"] if isinstance(s["Action"], list) else [s["Action"]])
        for s in document["Statement"]
        if s not in uses
    }
    assert by_resource.pop('"*"') == {
        *(
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
        ),
        *("logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
        *("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"),
    }
    assert by_resource == {'"arn:aws:sagemaker:*:*:endpoint/d"': {"sagemaker:DescribeEndpoint"}}
    # the key is for what belongs to machines and to their logs, not for whatever else it encrypts
    assert [(use["Action"], list(use["Condition"]["StringLike"])) for use in uses] == [
        (["kms:Decrypt", "kms:GenerateDataKey"], ["kms:EncryptionContext:aws:states:stateMachineArn"]),
        ("kms:GenerateDataKey", ["kms:EncryptionContext:SourceArn"]),
    ]


def test_tokens_stay_in_the_definition(stack: cdk.Stack) -> None:
    """What is known at deployment is joined into the text of the definition."""
    topic = cdk.CfnResource(stack, "Topic", type="AWS::SNS::Topic")

    _define(stack, {"Resource": DESCRIBE, "Arguments": {"EndpointName": topic.ref}})

    (machine,) = Template.from_stack(stack).find_resources("AWS::StepFunctions::StateMachine").values()
    assert {"Ref": "Topic"} in machine["Properties"]["DefinitionString"]["Fn::Join"][1]


def test_a_value_newer_than_botocore_is_a_warning(stack: cdk.Stack) -> None:
    """AWS adds instance types oftener than a lock file is renewed."""
    production = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m99.large", "InitialInstanceCount": 1}
    arguments = {"EndpointConfigName": "c", "ProductionVariants": [production]}

    _define(stack, {"Resource": "arn:aws:states:::aws-sdk:sagemaker:createEndpointConfig", "Arguments": arguments})

    text = Match.string_like_regexp(
        r"state 'Task0'.*ml\.m99\.large.*\[ack: mlops-constructs:StateMachine\.unknownValue\]"
    )
    Annotations.from_stack(stack).has_warning("/Demand", text)


def test_fails_with_every_task_that_aws_would_refuse(stack: cdk.Stack) -> None:
    """Each misspelt or missing field, with its state; nothing is defined."""
    with pytest.raises(ValidationError) as error:
        _define(
            stack,
            {"Resource": DESCRIBE, "Arguments": {"EndpointNam": "d"}},
            {"Resource": START, "Arguments": {"PipelineName": 7, "ClientRequestToken": "x" * 32}},
        )

    for part in (
        "InvalidStateMachine",
        "state 'Task0': $.EndpointNam is not a field of DescribeEndpointInput; did you mean 'EndpointName'",
        "state 'Task0': $.EndpointName is missing",
        "state 'Task1': $.PipelineName must be",
    ):
        assert part in str(error.value)
    assert stack.node.try_find_child("DeployRole") is None
    assert stack.node.try_find_child("Deploy") is None


def test_refuses_a_null_which_would_be_lost_on_the_way(stack: cdk.Stack) -> None:
    """CDK leaves it out of the template: the variable would not exist, and every expression with it would fail."""
    task = {
        "Resource": DESCRIBE,
        "Arguments": {"EndpointName": "e"},
        "Assign": {"plan": None, "known": ["a", None]},
    }
    with pytest.raises(ValidationError) as error:
        _define(stack, task)

    for path in ("plan", "known[1]"):
        assert f"definition.States.Task0.Assign.{path} is null, which CDK leaves out; write '{{% null %}}'" in str(
            error.value
        )
