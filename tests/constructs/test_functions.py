"""Lambda functions, queues and their consumers."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit, ValidationError
from mlops_constructs._functions import QueueConsumer, define_custom_resource, define_function, define_queue_consumer
from mlops_local.request_quotas import beyond_quotas


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
    """Has network, key, traces, dead letters, its own log group and the newest runtime."""
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
    """Logs, dead letters, key and the caller's statements; the unit's shared policy has interfaces and traces."""
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
    """Only Lambda itself uses that permission, as it sends no source function."""
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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": cdk.Duration.minutes(16)}, "timeout must be from 1 second to 15 minutes, got 16 minutes"),
        ({"memory_size": 127}, "memory_size must be from 128 to 10240, got 127"),
        ({"memory_size": 10241}, "memory_size must be from 128 to 10240, got 10241"),
    ],
)
def test_fails_outside_lambdas_limits(options: dict[str, Any], problem: str) -> None:
    """Rejects at synthesis what would fail at deployment."""
    with pytest.raises(ValidationError, match=f"InvalidFunction: {problem}"):
        _define(**options)


def test_a_custom_resource_is_waited_for_a_minute_longer_than_its_function_runs() -> None:
    """CloudFormation's own default is one hour."""
    stack, function = _define(timeout=cdk.Duration.minutes(15))
    define_custom_resource(
        stack, "Custom", function=function, resource_type="Custom::Sweep", properties={"BucketName": "bucket"}
    )

    Template.from_stack(stack).has_resource_properties(
        "Custom::Sweep",
        {"ServiceTimeout": "960", "BucketName": "bucket", "ServiceToken": {"Fn::GetAtt": [Match.any_value(), "Arn"]}},
    )


def _consumer(**options: Any) -> tuple[cdk.Stack, QueueConsumer]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    consumer = define_queue_consumer(
        stack,
        "Guard",
        business_unit=unit,
        folder="sweeper",
        description="test",
        environment={},
        statements=[iam.PolicyStatement(actions=["s3:GetObject"], resources=["arn:aws:s3:::x/y"])],
        timeout=cdk.Duration.seconds(30),
        **options,
    )
    return stack, consumer


def test_messages_are_hidden_six_times_the_timeout_and_kept_after_five_tries() -> None:
    """Follows AWS's recommendation for queues of functions."""
    stack, consumer = _consumer()

    Template.from_stack(stack).has_resource_properties(
        "AWS::SQS::Queue",
        {
            "VisibilityTimeout": 180,
            "RedrivePolicy": {
                "deadLetterTargetArn": stack.resolve(consumer.dead_letter_queue.queue_arn),
                "maxReceiveCount": 5,
            },
            "KmsMasterKeyId": Match.any_value(),
        },
    )


def test_only_failed_messages_come_back() -> None:
    """The event source mapping reports batch item failures."""
    stack, consumer = _consumer(batch_size=5, maximum_concurrency=2)

    Template.from_stack(stack).has_resource_properties(
        "AWS::Lambda::EventSourceMapping",
        {
            "BatchSize": 5,
            "EventSourceArn": stack.resolve(consumer.queue.queue_arn),
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": 2},
        },
    )


def test_the_function_may_read_its_queue_only() -> None:
    """The permission names one queue."""
    stack, consumer = _consumer()

    Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::ManagedPolicy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        {
                            "Effect": "Allow",
                            "Action": ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
                            "Resource": stack.resolve(consumer.queue.queue_arn),
                        }
                    ]
                )
            }
        },
    )


def test_the_first_dead_letter_raises_an_alarm() -> None:
    """An empty queue does not alarm."""
    stack, _ = _consumer()

    alarms = Template.from_stack(stack).find_resources(
        "AWS::CloudWatch::Alarm", {"Properties": {"MetricName": "ApproximateNumberOfMessagesVisible", "Threshold": 1}}
    )
    assert len(alarms) == 2  # the unit's and the consumer's
    assert all(a["Properties"]["TreatMissingData"] == "notBreaching" for a in alarms.values())
    assert all(a["Properties"]["AlarmActions"] for a in alarms.values())


def test_a_rule_feeds_the_queue() -> None:
    """Undeliverable events go to the consumer's dead letters."""
    stack, consumer = _consumer()
    consumer.feed(events.Rule(stack, "Rule", schedule=events.Schedule.rate(cdk.Duration.hours(1))))

    target = {
        "Arn": stack.resolve(consumer.queue.queue_arn),
        "DeadLetterConfig": {"Arn": stack.resolve(consumer.dead_letter_queue.queue_arn)},
    }
    Template.from_stack(stack).has_resource_properties("AWS::Events::Rule", {"Targets": [Match.object_like(target)]})


def test_many_rules_are_one_statement() -> None:
    """A policy allows ten conditions: twelve rules are twelve ARNs in one condition, on both queues."""
    stack, consumer = _consumer()
    for number in range(12):
        consumer.feed(events.Rule(stack, f"Rule{number}", event_pattern=events.EventPattern(source=["mlops"])))

    template = Template.from_stack(stack)
    for policy in template.find_resources("AWS::SQS::QueuePolicy").values():
        document = policy["Properties"]["PolicyDocument"]
        admitted = [s for s in document["Statement"] if "ArnEquals" in s.get("Condition", {})]
        sources = [s["Condition"]["ArnEquals"]["aws:SourceArn"] for s in admitted]
        assert beyond_quotas(document) == []
        assert all(isinstance(source, dict) or len(source) == 12 for source in sources)  # one ARN: the unit's bus

    for rule in template.find_resources("AWS::Events::Rule").values():
        assert [set(target) for target in rule["Properties"]["Targets"]] == [{"Arn", "DeadLetterConfig", "Id"}]
