"""What a run of the monitor found, told to people in words: a rule on its event, transformed for the topic."""

from typing import TYPE_CHECKING

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs._topic import RULES, admit
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.monitor import MonitorState

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

# what people hear of: something is wrong, or nobody looks. That there are no calls, labels or rows enough is no news of its own:
# the alarms Traffic and Labels tell when it has lasted too long
TOLD = (
    MonitorState.VIOLATION,
    MonitorState.NO_CAPTURE,
    MonitorState.MONITOR_NOT_RUN,
    MonitorState.BASELINE_OLDER_THAN_MODEL,
)


def define_messages(scope: Construct, *, business_unit: "BusinessUnit", endpoint_name: str, topic: sns.ITopic) -> None:
    """Define the rule ``Reported``, which tells a topic what was found, what to do and where the report is.

    One quoted line for each: EventBridge keeps the quotes of a template of text, and escapes a line's end inside of one.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html

    Args:
        scope: Parent.
        business_unit: The unit.
        endpoint_name: The endpoint.
        topic: Who is told.
    """
    rule = events.Rule(
        scope,
        "Reported",
        event_bus=business_unit.bus,
        description=f"Tells people what the monitor of {endpoint_name} found",
        event_pattern=events.EventPattern(
            source=[event_source(business_unit.name)],
            detail_type=[DetailType.MONITOR_REPORTED.value],
            detail={"subject": [endpoint_name], "outcome": [state.value for state in TOLD]},
        ),
    )
    admit(topic, scope, sid=f"Reported{scope.node.addr[-8:]}", service=RULES, source_arn=rule.rule_arn)
    rule.add_target(
        targets.SnsTopic(
            # CDK would let every rule of every account publish; the statement above is for this rule alone
            sns.Topic.from_topic_arn(scope, "ReportedTopic", topic.topic_arn),
            message=_message(),
            dead_letter_queue=business_unit.dead_letter_queue,
        )
    )


def _message() -> events.RuleTargetInput:
    told, advice, report = (
        events.EventField.from_path(path)
        for path in ("$.detail.reason", "$.detail.attributes.advice", "$.detail.attributes.report_uri")
    )
    return events.RuleTargetInput.from_multiline_text(f"{told}\nWhat to do: {advice}\nReport: {report}")
