"""Rules for delivery and retention: dead-letter queues and log retention."""

import json
from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere

_ENDPOINTS = "/aws/sagemaker/Endpoints/"


def _event_dead_letters(assembly: Assembly) -> Iterator[Violation]:
    for rule in assembly.of("AWS::Events::Rule"):
        if "aws.sagemaker" not in json.dumps(rule.get("EventPattern")):
            continue
        for target in rule.get("Targets") or ():
            if not (target.get("DeadLetterConfig") or {}).get("Arn"):
                yield violation(rule, "Targets", rule.text(target.get("Id")))
    for schedule in assembly.of("AWS::Scheduler::Schedule"):
        if not schedule.get("Target.DeadLetterConfig.Arn"):
            yield violation(schedule, "Target.DeadLetterConfig")


EVENT_DEAD_LETTERS = Rule(
    id="EventDeadLetters",
    problem="An event of SageMaker or a schedule that cannot be delivered is dropped, and no model is promoted or retrained.",
    fix="Add a DeadLetterConfig to the target, and an alarm to its queue.",
    source="https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html",
    check=_event_dead_letters,
)


def _log_retention(assembly: Assembly) -> Iterator[Violation]:
    kept = {group.name for group in assembly.of("AWS::Logs::LogGroup") if group.get("RetentionInDays")}
    for machine in assembly.of("AWS::StepFunctions::StateMachine"):
        for destination in machine.get("LoggingConfiguration.Destinations") or ():
            group = machine.target((destination.get("CloudWatchLogsLogGroup") or {}).get("LogGroupArn"))
            if group is not None and group.name not in kept:
                yield violation(group, "RetentionInDays")
    for endpoint in everywhere(assembly, "AWS::SageMaker::Endpoint"):
        if f"{_ENDPOINTS}{endpoint.name}" not in kept:
            yield violation(endpoint, "EndpointName", "logs")


LOG_RETENTION = Rule(
    id="LogRetention",
    problem="Logs of a state machine or of an endpoint's containers, including request data, never expire.",
    fix="Define the log group (of an endpoint: /aws/sagemaker/Endpoints/NAME) with RetentionInDays.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html",
    check=_log_retention,
)
