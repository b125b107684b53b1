"""SageMaker's types in CloudFormation templates on the embedded cloud."""

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Plane

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def _template(plane: "Plane", data: str, count: int = 2, **environment: str) -> dict[str, Any]:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": str(count),
    }
    return {
        "Resources": {
            "Group": {
                "Type": "AWS::SageMaker::ModelPackageGroup",
                "Properties": {
                    "ModelPackageGroupName": "declared",
                    "Tags": [{"Key": "count", "Value": str(count)}],
                },
            },
            "Model": {
                "Type": "AWS::SageMaker::Model",
                "Properties": {
                    "ExecutionRoleArn": plane.role,
                    "PrimaryContainer": {
                        "Image": IMAGE,
                        "ModelDataUrl": plane.put_model(data),
                        "Environment": environment,
                    },
                },
            },
            "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}},
            "Endpoint": {
                "Type": "AWS::SageMaker::Endpoint",
                "Properties": {
                    "EndpointName": "declared",
                    "EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]},
                },
            },
        },
        "Outputs": {
            "Model": {"Value": {"Fn::GetAtt": ["Model", "ModelName"]}},
            "Config": {"Value": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}},
            "Endpoint": {"Value": {"Ref": "Endpoint"}},
            "Group": {"Value": {"Fn::GetAtt": ["Group", "ModelPackageGroupArn"]}},
        },
    }


def _ended(plane: "Plane", stack: str) -> dict[str, Any]:
    cloudformation = plane.cloud.client("cloudformation")

    def done() -> Any:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        return None if described["StackStatus"].endswith("_IN_PROGRESS") else described

    found: dict[str, Any] = plane.wait(done, f"the end of the change of stack {stack}")
    return found


def _outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def test_stack_is_created_updated_rolled_back_and_deleted(plane: "Plane") -> None:
    """One stack's lifecycle: creation, replacement of model and config under the endpoint, failure, deletion."""
    cloudformation = plane.cloud.client("cloudformation")
    cloudformation.create_stack(StackName="serving", TemplateBody=json.dumps(_template(plane, "first")))
    created = _ended(plane, "serving")
    assert created["StackStatus"] == "CREATE_COMPLETE", created
    first = _outputs(created)
    assert first["Endpoint"] == "arn:aws:sagemaker:us-east-1:000000000000:endpoint/declared"
    assert first["Group"] == "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/declared"
    assert first["Model"].startswith("serving-Model-")
    assert plane.invoke("declared")["model"] == "first"

    cloudformation.update_stack(StackName="serving", TemplateBody=json.dumps(_template(plane, "second", 3)))
    updated = _ended(plane, "serving")
    assert updated["StackStatus"] == "UPDATE_COMPLETE", updated
    second = _outputs(updated)
    assert second["Endpoint"] == first["Endpoint"]
    assert second["Model"] != first["Model"]
    assert plane.invoke("declared")["model"] == "second"
    described = plane.sagemaker.describe_endpoint(EndpointName="declared")
    assert described["EndpointConfigName"] == second["Config"]
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 3
    models = plane.sagemaker.list_models(NameContains="serving-Model-")["Models"]
    assert [model["ModelName"] for model in models] == [second["Model"]]
    assert plane.sagemaker.list_tags(ResourceArn=first["Group"])["Tags"] == [{"Key": "count", "Value": "3"}]

    bad = _template(plane, "third", 3, PING="exit")
    cloudformation.update_stack(StackName="serving", TemplateBody=json.dumps(bad))
    rolled_back = _ended(plane, "serving")
    assert rolled_back["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", rolled_back
    reasons = [
        e.get("ResourceStatusReason", "")
        for e in cloudformation.describe_stack_events(StackName="serving")["StackEvents"]
    ]
    assert any("the update of endpoint declared was rolled back" in reason for reason in reasons)
    assert plane.invoke("declared")["model"] == "second"

    cloudformation.delete_stack(StackName="serving")

    def gone() -> bool:
        return not plane.sagemaker.list_endpoints(NameContains="declared")["Endpoints"]

    plane.wait(gone, "the end of the stack")
    plane.wait(
        lambda: not plane.sagemaker.list_model_package_groups(NameContains="declared")["ModelPackageGroupSummaryList"],
        "the end of the group",
    )
    assert plane.sagemaker.list_models(NameContains="serving-Model-")["Models"] == []


def test_deploys_what_the_constructs_do_with_an_endpoint(plane: "Plane") -> None:
    """A canary with its alarm, other capacities, and numbers and booleans as strings, as in templates."""
    cloudformation = plane.cloud.client("cloudformation")
    routing = {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": "50"},
        "WaitIntervalInSeconds": "60",
    }
    guard = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": "0"},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "guarded-declared"}]},
    }
    dimension = {"Name": "EndpointName", "Value": "guided"}
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "Invocation5XXErrors", "Dimensions": [dimension]}
    queries = [
        {"Id": "filled", "Expression": "FILL(errors, 0)"},
        {"Id": "errors", "MetricStat": {"Metric": metric, "Period": "60", "Stat": "Sum"}, "ReturnData": "false"},
    ]
    alarm = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": "guarded-declared",
            "Metrics": queries,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        },
    }

    def body(data: str) -> str:
        template = json.loads(json.dumps(_template(plane, data)).replace("declared", "guided"))
        resources = template["Resources"] | {"Alarm": alarm}
        resources["Endpoint"]["Properties"] |= {"DeploymentConfig": guard, "RetainAllVariantProperties": "false"}
        resources["Endpoint"]["DependsOn"] = "Alarm"
        return json.dumps({"Resources": resources})

    cloudformation.create_stack(StackName="guided", TemplateBody=body("first"))
    assert _ended(plane, "guided")["StackStatus"] == "CREATE_COMPLETE"
    cloudformation.update_stack(StackName="guided", TemplateBody=body("second"))
    assert _ended(plane, "guided")["StackStatus"] == "UPDATE_COMPLETE"
    described = plane.sagemaker.describe_endpoint(EndpointName="guided")
    assert described["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    assert plane.invoke("guided")["model"] == "second"
    cloudformation.delete_stack(StackName="guided")


@pytest.mark.parametrize(
    ("variant", "extra", "shown"),
    [
        (
            {"ServerlessConfig": {"MemorySizeInMB": "2048", "MaxConcurrency": "5"}},
            {},
            {"CurrentServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}},
        ),
        (
            {"InstanceType": "ml.m5.large", "InitialInstanceCount": "1"},
            {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://plane/out"}}},
            {"CurrentInstanceCount": 1},
        ),
    ],
)
def test_deploys_every_capacity(
    plane: "Plane", variant: dict[str, Any], extra: dict[str, Any], shown: dict[str, Any]
) -> None:
    """Serverless and asynchronous endpoints from a template."""
    name = f"capacity-{len(extra)}"
    template = json.loads(json.dumps(_template(plane, "first")).replace("declared", name))
    named = {"VariantName": "AllTraffic", "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}}
    template["Resources"]["Config"]["Properties"] = {"ProductionVariants": [named | variant], **extra}
    cloudformation = plane.cloud.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    assert _ended(plane, name)["StackStatus"] == "CREATE_COMPLETE"
    found = plane.sagemaker.describe_endpoint(EndpointName=name)
    assert found["ProductionVariants"][0] == found["ProductionVariants"][0] | shown
    assert ("AsyncInferenceConfig" in found) == bool(extra)
    cloudformation.delete_stack(StackName=name)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"ExecutionRoleArn": "arn:aws:iam::000000000000:role/absent"}, "Could not assume role"),
        (
            {"PrimaryContainer": {"Image": "x.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"}},
            "no runner for image repository",
        ),
    ],
)
def test_refusal_fails_the_resource_with_the_services_reason(
    plane: "Plane", properties: dict[str, Any], reason: str
) -> None:
    """A rejected resource is CREATE_FAILED with SageMaker's message."""
    cloudformation = plane.cloud.client("cloudformation")
    model = {"ExecutionRoleArn": plane.role, "PrimaryContainer": {"Image": IMAGE}} | properties
    name = f"refused-{len(reason)}"
    template = {"Resources": {"Model": {"Type": "AWS::SageMaker::Model", "Properties": model}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    assert _ended(plane, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    assert any(reason in event.get("ResourceStatusReason", "") for event in events)


def test_what_has_a_name_of_its_own_is_not_replaced(plane: "Plane") -> None:
    """A change that requires replacement fails the update with CloudFormation's message, and the named resource stays."""
    cloudformation = plane.cloud.client("cloudformation")
    model = {"ModelName": "custom-named", "ExecutionRoleArn": plane.role, "PrimaryContainer": {"Image": IMAGE}}
    for environment in ({}, {"PING": "exit"}):
        model["PrimaryContainer"] = {"Image": IMAGE, "Environment": environment}
        body = json.dumps({"Resources": {"Model": {"Type": "AWS::SageMaker::Model", "Properties": model}}})
        call = cloudformation.update_stack if environment else cloudformation.create_stack
        call(StackName="custom-named", TemplateBody=body)
        ended = _ended(plane, "custom-named")

    assert ended["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    events = cloudformation.describe_stack_events(StackName="custom-named")["StackEvents"]
    assert any("when a custom-named resource requires replacing" in e.get("ResourceStatusReason", "") for e in events)
    assert plane.sagemaker.describe_model(ModelName="custom-named")["PrimaryContainer"].get("Environment", {}) == {}
