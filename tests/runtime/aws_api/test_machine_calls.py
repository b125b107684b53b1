"""State machines checked against the APIs that they call."""

from typing import Any

import pytest

from mlops_runtime.aws_api import Severity, check_machine

SDK = "arn:aws:states:::aws-sdk:sagemaker:"


def machine(resource: str, arguments: object, **state: object) -> dict[str, Any]:
    """A machine of one task."""
    call = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **state}
    return {"QueryLanguage": "JSONata", "StartAt": "Call", "States": {"Call": call}}


def findings(resource: str, arguments: object, **state: object) -> list[str]:
    """Findings of one task, as text."""
    return [str(finding) for finding in check_machine(machine(resource, arguments, **state))]


@pytest.mark.parametrize(
    ("resource", "arguments"),
    [
        (f"{SDK}describeEndpoint", {"EndpointName": "{% $plan.endpoint %}"}),
        (f"{SDK}createModel", "{% $plan.create_model %}"),
        ("arn:${AWS::Partition}:states:::sagemaker:createModel", {"ModelName": "${Token[A.1]}"}),
        ("arn:aws:states:::lambda:invoke", {"FunctionName": "f", "Payload": {"any": ["thing"]}}),
        ("arn:aws:states:::events:putEvents", {"Entries": [{"Detail": {"id": "a"}, "Source": "s", "DetailType": "d"}]}),
        (
            "arn:aws:states:::aws-sdk:sfn:startExecution",
            {"StateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:a"},
        ),
        ("arn:aws:lambda:us-east-1:000000000000:function:f", {"any": "thing"}),
    ],
)
def test_accepts_what_aws_takes(resource: str, arguments: object):
    """Valid calls, expressions and tokens have no findings."""
    assert findings(resource, arguments) == []


@pytest.mark.parametrize(
    ("resource", "arguments", "message"),
    [
        (f"{SDK}describeEndpont", {}, "did you mean 'describeEndpoint'"),
        (f"{SDK}describeEndpoint", {"EndpointNam": "a"}, "state 'Call': $.EndpointNam is not a field"),
        ("arn:aws:states:::sagemaker:updateEndpoint.sync", {}, "has no pattern '.sync' of sagemaker:updateEndpoint"),
        ("arn:aws:states:::sagemaker:describeEndpoint", {}, "use aws-sdk:sagemaker:describeEndpoint"),
        ("arn:aws:states:::glu:startJobRun", {}, "has no known optimized integration 'glu'"),
        ("arn:aws:states:::aws-sdk:glu:startJobRun", {}, "unknown service 'glu'"),
        (
            "arn:aws:states:::aws-sdk:events:putEvents",
            {"Entries": [{"Detail": {}}]},
            "$.Entries[0].Detail must be a string",
        ),
        ("nonsense", {}, "must be the ARN of a service integration"),
    ],
)
def test_fails_on_what_aws_would_refuse(resource: str, arguments: object, message: str):
    """State, path and fix are named."""
    assert message in findings(resource, arguments)[0]


def test_looks_inside_map_and_parallel_and_at_json_path():
    """Nested states are checked with their own query language."""
    task = {
        "Type": "Task",
        "Resource": f"{SDK}describeEndpoint",
        "End": True,
        "Parameters": {"EndpointName.$": "$.n", "B": 1},
    }
    inner = {"StartAt": "Inner", "States": {"Inner": task}}
    definition = {
        "StartAt": "Each",
        "States": {
            "Each": {"Type": "Map", "ItemProcessor": inner, "Next": "Both"},
            "Both": {"Type": "Parallel", "Branches": [inner], "End": True},
        },
    }
    assert [str(f) for f in check_machine(definition)] == [
        "state 'Inner': $.B is not a field of DescribeEndpointInput"
    ] * 2


def test_resolved_tokens_are_wildcards():
    """Intrinsic functions and CDK's encoded lists and numbers match every shape."""
    arguments = {
        "TrainingJobName": {"Fn::Join": ["", ["a"]]},
        "RoleArn": {"Ref": "Role"},
        "VpcConfig": {"Subnets": ["#{Token[S.1]}"], "SecurityGroupIds": {"Fn::Split": [",", "a"]}},
        "StoppingCondition": {"MaxRuntimeInSeconds": -1.8881545897087625e289},
        "AlgorithmSpecification": "${Token[A.2]}",
        "OutputDataConfig": "{% $o %}",
        "ResourceConfig": {"VolumeSizeInGB": 30, "InstanceType": "ml.next.large", "InstanceCount": 1},
    }
    (finding,) = check_machine(machine("arn:aws:states:::sagemaker:createTrainingJob.sync", arguments))
    assert (finding.severity, finding.path) == (Severity.WARNING, "$.ResourceConfig.InstanceType")
