"""Queues and their consumers."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit
from mlops_constructs._queue import QueueConsumer, define_queue_consumer
from mlops_local.queue_policies import beyond_quotas


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
    """As AWS advises for queues that feed functions."""
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
    """The mapping asks for partial batch responses."""
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
    """The right to consume names one queue."""
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
    """Somebody hears of it; an empty queue is no alarm."""
    stack, _ = _consumer()

    alarms = Template.from_stack(stack).find_resources(
        "AWS::CloudWatch::Alarm", {"Properties": {"MetricName": "ApproximateNumberOfMessagesVisible", "Threshold": 1}}
    )
    assert len(alarms) == 2  # the unit's and the consumer's
    assert all(a["Properties"]["TreatMissingData"] == "notBreaching" for a in alarms.values())
    assert all(a["Properties"]["AlarmActions"] for a in alarms.values())


def test_a_rule_feeds_the_queue() -> None:
    """What EventBridge cannot deliver goes to the consumer's dead letters."""
    stack, consumer = _consumer()
    consumer.feed(events.Rule(stack, "Rule", schedule=events.Schedule.rate(cdk.Duration.hours(1))))

    target = {
        "Arn": stack.resolve(consumer.queue.queue_arn),
        "DeadLetterConfig": {"Arn": stack.resolve(consumer.dead_letter_queue.queue_arn)},
    }
    Template.from_stack(stack).has_resource_properties("AWS::Events::Rule", {"Targets": [Match.object_like(target)]})


def test_many_rules_are_one_statement() -> None:
    """A policy may have ten conditions: twelve rules are twelve ARNs of one, on the queue and on the dead letters."""
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
