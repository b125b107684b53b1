"""What a run of the monitor found, told to people in words: a rule on its event, transformed for the topic."""

from collections.abc import Sequence

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns

from constructs import Construct
from mlops_constructs._queue import add_target
from mlops_constructs._topic import admit_rules
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.monitor import MonitorState

# something is wrong, or nobody looks. That there are no labels or rows enough is no news of its own: the alarm Labels tells when it
# has lasted too long
TOLD = (
    MonitorState.VIOLATION,
    MonitorState.NO_CAPTURE,
    MonitorState.MONITOR_NOT_RUN,
    MonitorState.BASELINE_OLDER_THAN_MODEL,
)


# told besides, as a warning, where no alarm has the hours of expected calls
SILENT = (MonitorState.NO_TRAFFIC,)


def define_messages(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    endpoint_name: str,
    outcomes: Sequence[MonitorState],
    topic: sns.ITopic,
) -> None:
    """Define a rule that tells a topic what was found, what to do and where the report is.

    One quoted line for each: EventBridge asks for JSON, delivers the quotes of each line of a text to SNS, and would escape a
    line's end inside of one. An email's subject is SNS's own: a rule's target has no setting for it.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html and
    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Target.html

    Args:
        scope: Parent.
        id: Construct id of the rule.
        business_unit: The unit.
        endpoint_name: The endpoint.
        outcomes: States that are told.
        topic: Who is told.
    """
    rule = events.Rule(
        scope,
        id,
        event_bus=business_unit.bus,
        description=f"Tells people what the monitor of {endpoint_name} found",
        event_pattern=events.EventPattern(
            source=[event_source(business_unit.name)],
            detail_type=[DetailType.MONITOR_REPORTED.value],
            detail={"subject": [endpoint_name], "outcome": [state.value for state in outcomes]},
        ),
    )
    admit_rules(topic)
    # the statement above stands in the topic's policy once, however many rules there are
    named = sns.Topic.from_topic_arn(scope, f"{id}Topic", topic.topic_arn)
    target = targets.SnsTopic(named, message=_message())
    add_target(rule, target, dead_letters=business_unit.dead_letter_queue)


def _message() -> events.RuleTargetInput:
    told, advice, report = (
        events.EventField.from_path(path)
        for path in ("$.detail.reason", "$.detail.attributes.advice", "$.detail.attributes.report_uri")
    )
    return events.RuleTargetInput.from_multiline_text(f"{told}\nWhat to do: {advice}\nReport: {report}")
