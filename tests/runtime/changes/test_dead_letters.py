"""Dead-letter queues, identified by their senders."""

from typing import Any

import pytest

from mlops_runtime.changes import compare, refusals
from mlops_runtime.changes.dead_letters import dead_letter_queues
from mlops_runtime.changes.template import Template

QUEUE: dict[str, Any] = {"Type": "AWS::SQS::Queue"}
ARN = {"Fn::GetAtt": ["Dead", "Arn"]}


def _template(**resources: Any) -> Template:
    return Template(document={"Resources": resources})


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("AWS::SQS::Queue", {"RedrivePolicy": {"deadLetterTargetArn": ARN, "maxReceiveCount": 3}}),
        ("AWS::SNS::Subscription", {"RedrivePolicy": {"deadLetterTargetArn": ARN}}),
        ("AWS::Events::Rule", {"Targets": [{"Arn": "arn:f", "DeadLetterConfig": {"Arn": ARN}}]}),
        ("AWS::Lambda::Function", {"DeadLetterConfig": {"TargetArn": ARN}}),
        ("AWS::Lambda::EventInvokeConfig", {"DestinationConfig": {"OnFailure": {"Destination": ARN}}}),
        ("AWS::Scheduler::Schedule", {"Target": {"Arn": "arn:f", "DeadLetterConfig": {"Arn": ARN}}}),
    ],
)
def test_every_sender_of_dead_letters_names_its_queue(kind: str, properties: dict[str, Any]) -> None:
    """A queue that is asked for work, and one that only a policy names, are none."""
    policy = {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Work"}]}}
    sender = {"Type": kind, "Properties": properties}
    template = _template(Dead=QUEUE, Work=QUEUE, Sender=sender, Policy=policy, Topic={"Type": "AWS::SNS::Topic"})
    assert dead_letter_queues(template) == {"Dead"}


def test_a_queue_that_allows_others_to_redrive_is_one_of_dead_letters() -> None:
    """Its senders may be in other stacks."""
    assert dead_letter_queues(
        _template(Dead=QUEUE | {"Properties": {"RedriveAllowPolicy": {"redrivePermission": "allowAll"}}})
    ) == {"Dead"}


def test_deleting_evidence_is_refused_until_it_is_named() -> None:
    """The queue of dead letters alone; the work queue beside it goes without a question."""
    work = QUEUE | {"Properties": {"RedrivePolicy": {"deadLetterTargetArn": ARN}}}
    changes = [compare("Demand", _template(Dead=QUEUE, Work=work), _template(), {})]
    (refusal,) = refusals(changes)
    assert (refusal.logical_id, "--allow Dead" in refusal.text) == ("Dead", True)
    assert refusals(changes, ["Dead"]) == []
