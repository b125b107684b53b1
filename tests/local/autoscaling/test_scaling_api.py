"""The operations by boto3: stored state, rejected requests, and required permissions."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.local.sagemaker.conftest import Plane

Make = Callable[..., dict[str, Any]]
DIMENSION = "sagemaker:variant:DesiredInstanceCount"


def test_a_target_keeps_what_is_not_given_again(plane: Plane, registered: Make) -> None:
    """Registering again changes the given bound and keeps the rest; deregistering deletes policies and actions too."""
    client, target = plane.cloud.client("application-autoscaling"), registered("kept")
    first = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])
    client.register_scalable_target(**target, MaxCapacity=9, SuspendedState={"DynamicScalingInSuspended": True})
    (found,) = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 9)
    assert found["SuspendedState"]["DynamicScalingInSuspended"] is True
    assert found["ScalableTargetARN"] == first["ScalableTargets"][0]["ScalableTargetARN"]
    assert found["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    client.deregister_scalable_target(**target)
    with pytest.raises(ClientError, match="No scalable target registered for resource ID") as error:
        client.deregister_scalable_target(**target)
    assert error.value.response["Error"]["Code"] == "ObjectNotFoundException"


def test_another_instance_type_is_refused_while_registered(plane: Plane, registered: Make) -> None:
    """The instance type changes only after the target is deregistered; then the endpoint is updated and registered again.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-policy.html
    """
    client, target = plane.cloud.client("application-autoscaling"), registered("typed")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "typed",
        "InstanceType": "ml.c5.large",
        "InitialInstanceCount": 2,
    }
    plane.sagemaker.create_endpoint_config(EndpointConfigName="typed-new", ProductionVariants=[variant])
    with pytest.raises(ClientError, match=r"cannot change from ml\.m5\.large to ml\.c5\.large while it is registered"):
        plane.sagemaker.update_endpoint(EndpointName="typed", EndpointConfigName="typed-new")
    client.deregister_scalable_target(**target)
    plane.sagemaker.update_endpoint(EndpointName="typed", EndpointConfigName="typed-new")
    assert plane.settled("typed")["EndpointConfigName"] == "typed-new"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ResourceId": "endpoint/absent/variant/AllTraffic"}, "No endpoint variant exists with the name"),
        ({"ServiceNamespace": "ecs"}, "ServiceNamespace must be sagemaker in the embedded cloud, got 'ecs'"),
        ({"ResourceId": "table/t"}, "ResourceId must be endpoint/<endpoint>/variant/<variant>, got 'table/t'"),
        ({"MinCapacity": 5, "MaxCapacity": 2}, "Maximum capacity cannot be less than minimum capacity"),
        ({"MinCapacity": 0}, "only an asynchronous endpoint scales to zero"),
    ],
)
def test_fails_on_targets_that_cannot_be(plane: Plane, registered: Make, changes: dict[str, Any], message: str) -> None:
    """Rejects targets that could not scale."""
    if not plane.sagemaker.list_endpoints(NameContains="refused")["Endpoints"]:
        plane.cloud.client("application-autoscaling").deregister_scalable_target(**registered("refused"))
    request = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/refused/variant/AllTraffic",
        "ScalableDimension": DIMENSION,
        "MinCapacity": 1,
        "MaxCapacity": 2,
    }
    with pytest.raises(ClientError, match=message):
        plane.cloud.client("application-autoscaling").register_scalable_target(**request | changes)


def test_fails_on_operations_and_schedules_that_are_not_here(plane: Plane, registered: Make) -> None:
    """Rejects unsupported operations and schedules by name."""
    client, target = plane.cloud.client("application-autoscaling"), registered("odd")
    with pytest.raises(ClientError, match="TagResource is not an operation of the embedded Application Auto Scaling"):
        client.tag_resource(
            ResourceARN="arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/a", Tags={}
        )
    for schedule, message in {"at(2001-01-01T00:00:00)": "in the future", "every day": "Schedule must be"}.items():
        with pytest.raises(ClientError, match=message):
            client.put_scheduled_action(
                **target, ScheduledActionName="a", Schedule=schedule, ScalableTargetAction={"MinCapacity": 1}
            )
    for bounds, message in {
        (0, 2): "only an asynchronous endpoint scales to zero",
        (3, 2): "cannot be less than",
    }.items():
        with pytest.raises(ClientError, match=message):
            client.put_scheduled_action(
                **target,
                ScheduledActionName="a",
                Schedule="cron(0 1 * * ? *)",
                ScalableTargetAction=dict(zip(("MinCapacity", "MaxCapacity"), bounds, strict=True)),
            )
    with pytest.raises(ClientError, match="Timezone 'Mars/Olympus' is not known"):
        client.put_scheduled_action(
            **target,
            ScheduledActionName="a",
            Schedule="cron(0 1 * * ? *)",
            Timezone="Mars/Olympus",
            ScalableTargetAction={"MinCapacity": 1},
        )


def test_a_caller_needs_what_the_service_does_in_its_name(plane: Plane, registered: Make) -> None:
    """The operation's permission is not enough; with those of the service's own calls a target is registered and tracked.

    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
    """
    registered("permitted")
    iam = plane.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="scaler", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    condition = {"StringEquals": {"application-autoscaling:service-namespace": "sagemaker"}}
    own = {"Effect": "Allow", "Action": "application-autoscaling:*", "Resource": "*", "Condition": condition}
    endpoint = {
        "Effect": "Allow",
        "Action": ["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"],
        "Resource": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/permitted",
    }
    config = {"Effect": "Allow", "Action": "sagemaker:DescribeEndpointConfig", "Resource": "*"}

    def grant(*statements: dict[str, Any]) -> Any:
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_role_policy(RoleName="scaler", PolicyName="inline", PolicyDocument=policy)
        keys = plane.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="scaling")["Credentials"]
        return boto3.client(
            "application-autoscaling",
            endpoint_url=plane.cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )

    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/permitted/variant/AllTraffic",
        "ScalableDimension": DIMENSION,
    }
    with pytest.raises(ClientError, match=r"sagemaker:DescribeEndpoint on resource: .*endpoint/permitted"):
        grant(own).register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="application-autoscaling:RegisterScalableTarget"):
        grant(endpoint, config).register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    grant(own, endpoint, config).register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(
        ClientError, match=r"cloudwatch:PutMetricAlarm on resource: .*:alarm:TargetTracking-endpoint/permitted"
    ):
        grant(own).put_scaling_policy(
            **target,
            PolicyName="p",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 1.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            },
        )


def test_a_machine_registers_by_its_sdk_name(plane: Plane, registered: Make) -> None:
    """``aws-sdk:applicationautoscaling`` calls the service as the machine's role; errors have the SDK's names."""
    target, iam = registered("by-machine"), plane.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="scaling-machine", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "application-autoscaling:DeregisterScalableTarget", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="scaling-machine", PolicyName="inline", PolicyDocument=policy)
    resource = "arn:aws:states:::aws-sdk:applicationautoscaling:deregisterScalableTarget"
    states = {
        "One": {"Type": "Task", "Resource": resource, "Arguments": target, "Next": "Two"},
        "Two": {"Type": "Task", "Resource": resource, "Arguments": target, "End": True},
    }
    client = plane.cloud.client("stepfunctions")
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "One", "States": states})
    machine = client.create_state_machine(name="scaling", definition=definition, roleArn=role)["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine)["executionArn"]

    def ended() -> Any:
        found = client.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    found = plane.wait(ended, "the end of the execution")
    assert found["error"] == "ApplicationAutoScaling.ObjectNotFoundException", found
