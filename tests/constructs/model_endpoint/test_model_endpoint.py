"""Model endpoints in a template."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from mlops_constructs import DataCapture, EndpointCapacity, ModelEndpoint, RolloutKind, ValidationError


def test_captures_are_encrypted_announced_and_expire(demand: Any):
    """The capture bucket tells the default bus of new objects, and keeps them 90 days."""
    bucket = demand.one("AWS::S3::Bucket", "EndpointCapture")
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert {"ExpirationInDays": 90, "Status": "Enabled"} in bucket["LifecycleConfiguration"]["Rules"]
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"


def test_the_models_role_reads_its_models_and_writes_its_captures(demand: Any):
    """No other prefix, no list, no delete."""
    found = {}
    for statement in demand.statements("EndpointRole"):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        found.update(dict.fromkeys(actions, statement["Resource"]))
    s3 = {action: resource["Fn::Join"][1][-1] for action, resource in found.items() if action.startswith("s3:")}
    assert s3 == {"s3:GetObject": "/models/demand-forecast/*", "s3:PutObject": "/capture/demand-forecast/*"}
    assert not [action for action in found if action.startswith(("sagemaker:", "iam:", "dynamodb:"))]


def test_only_sagemaker_of_the_account_assumes_the_role(demand: Any):
    """The confused deputy is shut out."""
    (statement,) = next(
        r["AssumeRolePolicyDocument"]["Statement"]
        for name, r in demand.resources("AWS::IAM::Role").items()
        if name.startswith("EndpointRole") and "Rollout" not in name
    )
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_the_alarm_does_not_ring_in_silence_and_tells_the_topic(demand: Any):
    """Missing data mean no calls, and no calls mean no errors."""
    alarm = demand.one("AWS::CloudWatch::Alarm", "EndpointErrorsAlarm")
    assert (alarm["TreatMissingData"], alarm["Threshold"], alarm["Statistic"]) == ("notBreaching", 5, "Sum")
    assert len(alarm["AlarmActions"]) == 1
    assert {d["Name"] for d in alarm["Dimensions"]} == {"EndpointName", "VariantName"}


def test_one_instance_moves_all_at_once(define: Callable[..., Any]):
    """A canary needs two instances, so the default for one is the policy that works."""
    made = define(endpoint={"capacity": EndpointCapacity.instances("ml.m5.large", count=1)})
    assert made.endpoint._policy.kind is RolloutKind.ALL_AT_ONCE


def test_grant_invoke_is_one_action_on_one_endpoint():
    """A caller's role gets exactly the call, also of an endpoint that is defined elsewhere."""
    stack = cdk.Stack(cdk.App(), "S")
    endpoint = ModelEndpoint.from_endpoint_name(stack, "Endpoint", endpoint_name="demand-forecast")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    assert endpoint.grant_invoke(role).success
    Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": [
                    {
                        "Action": "sagemaker:InvokeEndpoint",
                        "Effect": "Allow",
                        "Resource": {"Fn::Join": ["", Match.array_with([":endpoint/demand-forecast"])]},
                    }
                ]
            }
        },
    )


def test_metrics_carry_sagemakers_names(demand: Any):
    """Namespace, dimensions and statistic are SageMaker's."""
    metric = demand.endpoint.metric_model_latency(period=cdk.Duration.minutes(1))
    assert (metric.namespace, metric.metric_name, metric.statistic) == ("AWS/SageMaker", "ModelLatency", "p95")
    assert metric.dimensions == {"EndpointName": "demand-forecast", "VariantName": "AllTraffic"}
    assert demand.endpoint.metric_invocations(statistic="Average").statistic == "Average"
    assert demand.endpoint.metric_invocation_5xx_errors().statistic == "Sum"


@pytest.mark.parametrize("name", ["F", "Forecast", "-a", "a" * 21])
def test_fails_when_the_name_is_not_possible(define: Callable[..., Any], name: str):
    """The name is part of names of configs and jobs."""
    with pytest.raises(ValidationError, match="name must be 2 to 20 lower-case letters"):
        define(endpoint={"name": name})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EndpointCapacity.instances("m5.large", count=0), "instance_type must be a type such as"),
        (lambda: EndpointCapacity.instances("ml.m5.large", count=0), "count must be from 1 to 1000, got 0"),
        (lambda: DataCapture(percent=0), "percent must be from 1 to 100, got 0; leave capture out"),
        (lambda: DataCapture(percent=1, retention=cdk.Duration.hours(1)), "retention must be from"),
    ],
)
def test_fails_when_a_value_is_not_possible(make: Callable[[], object], message: str):
    """Value classes refuse what no endpoint could have."""
    with pytest.raises(ValidationError, match=message):
        make()
