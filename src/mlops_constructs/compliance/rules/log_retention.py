"""Logs of machines and endpoints end one day."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere

_ENDPOINTS = "/aws/sagemaker/Endpoints/"


def _check(assembly: Assembly) -> Iterator[Violation]:
    kept = {group.name for group in assembly.of("AWS::Logs::LogGroup") if group.get("RetentionInDays")}
    for machine in assembly.of("AWS::StepFunctions::StateMachine"):
        for destination in machine.get("LoggingConfiguration.Destinations") or ():
            group = machine.target((destination.get("CloudWatchLogsLogGroup") or {}).get("LogGroupArn"))
            if group is not None and group.name not in kept:
                yield violation(group, "RetentionInDays")
    for endpoint in everywhere(assembly, "AWS::SageMaker::Endpoint"):
        if f"{_ENDPOINTS}{endpoint.name}" not in kept:
            yield violation(endpoint, "EndpointName", "logs")


RULE = Rule(
    id="LogRetention",
    problem="Logs of a state machine or of an endpoint's containers are kept for ever, with what callers sent.",
    fix="Define the log group (of an endpoint: /aws/sagemaker/Endpoints/NAME) with RetentionInDays.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html",
    check=_check,
)
