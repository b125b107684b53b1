"""The Lambda function."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit, ValidationError
from mlops_constructs._function import define_custom_resource, define_function


def _define(**options: Any) -> tuple[cdk.Stack, Any]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    arguments: dict[str, Any] = {
        "folder": "sweeper",
        "description": "test",
        "environment": {"ENDPOINT": "demand-forecast"},
        "statements": [iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::x/y"])],
        "timeout": cdk.Duration.seconds(30),
    }
    return stack, define_function(stack, "Work", business_unit=unit, **{**arguments, **options})


def test_function_is_hardened() -> None:
    """Network, key, traces, dead letters, a log group of its own, the newest runtime."""
    stack, _ = _define()

    Template.from_stack(stack).has_resource_properties(
        "AWS::Lambda::Function",
        {
            "Runtime": "python3.14",
            "Handler": "handler.handler",
            "Architectures": ["x86_64"],
            "MemorySize": 256,
            "Timeout": 30,
            "Environment": {"Variables": {"ENDPOINT": "demand-forecast"}},
            "KmsKeyArn": {"Fn::GetAtt": [Match.string_like_regexp("UnitKey.*"), "Arn"]},
            "TracingConfig": {"Mode": "Active"},
            "DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": [Match.string_like_regexp("UnitDeadLetters.*"), "Arn"]}},
            "LoggingConfig": {"LogGroup": {"Ref": Match.string_like_regexp("WorkLogs.*")}},
            "VpcConfig": {
                "SecurityGroupIds": [{"Fn::GetAtt": [Match.string_like_regexp("UnitSecurityGroup.*"), "GroupId"]}],
                "SubnetIds": Match.any_value(),
            },
            "ReservedConcurrentExecutions": Match.absent(),
        },
    )


def test_role_has_exactly_what_was_declared() -> None:
    """Logs, dead letters, key and the caller's statements; interfaces and traces come from the unit's shared policy."""
    stack, _ = _define()

    template = Template.from_stack(stack)
    policy = next(
        p for n, p in template.find_resources("AWS::IAM::ManagedPolicy").items() if n.startswith("WorkRolePolicy")
    )
    actions = [s["Action"] for s in policy["Properties"]["PolicyDocument"]["Statement"]]
    assert actions == [
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        "sqs:SendMessage",
        ["kms:Decrypt", "kms:GenerateDataKey"],
        "s3:GetObject",
    ]
    role = next(r for n, r in template.find_resources("AWS::IAM::Role").items() if n.startswith("WorkRole"))
    assert [next(iter(arn)) for arn in role["Properties"]["ManagedPolicyArns"]] == ["Ref"]
    template.resource_count_is("AWS::IAM::Policy", 0)


def test_the_code_may_not_make_network_interfaces() -> None:
    """Only Lambda itself uses that right: it sends no source function."""
    stack, _ = _define()

    Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::ManagedPolicy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like(
                            {
                                "Effect": "Deny",
                                "Action": Match.array_with(["ec2:CreateNetworkInterface"]),
                                "Condition": {"ArnLike": {"lambda:SourceFunctionArn": Match.any_value()}},
                            }
                        )
                    ]
                )
            }
        },
    )


def test_a_grant_to_the_function_appears() -> None:
    """A platform team's grant on its bucket is in the template."""
    stack, function = _define()

    s3.Bucket.from_bucket_name(stack, "Lake", "platform-lake").grant_read(function)

    names = Template.from_stack(stack).find_resources("AWS::IAM::ManagedPolicy")
    assert [n for n in names if n.startswith("WorkRoleGranted")]


def test_reserved_concurrency_is_the_callers_choice() -> None:
    """Zero would stop the function and is passed on as it is."""
    stack, _ = _define(reserved_concurrency=0)

    Template.from_stack(stack).has_resource_properties("AWS::Lambda::Function", {"ReservedConcurrentExecutions": 0})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": cdk.Duration.minutes(16)}, "timeout must be from 1 second to 15 minutes, got 16 minutes"),
        ({"memory_size": 127}, "memory_size must be from 128 to 10240, got 127"),
        ({"memory_size": 10241}, "memory_size must be from 128 to 10240, got 10241"),
    ],
)
def test_fails_outside_lambdas_limits(options: dict[str, Any], problem: str) -> None:
    """The deployment would fail later."""
    with pytest.raises(ValidationError, match=f"InvalidFunction: {problem}"):
        _define(**options)


def test_a_custom_resource_is_waited_for_a_minute_longer_than_its_function_runs() -> None:
    """CloudFormation's own default is an hour."""
    stack, function = _define(timeout=cdk.Duration.minutes(15))
    define_custom_resource(
        stack, "Custom", function=function, resource_type="Custom::Sweep", properties={"BucketName": "bucket"}
    )

    Template.from_stack(stack).has_resource_properties(
        "Custom::Sweep",
        {"ServiceTimeout": "960", "BucketName": "bucket", "ServiceToken": {"Fn::GetAtt": [Match.any_value(), "Arn"]}},
    )
