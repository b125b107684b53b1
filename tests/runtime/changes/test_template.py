"""Canonical values of templates, conditions as far as they can be decided, and dead-letter queues, identified by their senders."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.changes import compare, refusals
from mlops_runtime.changes.template import Template, dead_letter_queues, joined, references, unknown

DOCUMENT = {
    "Mappings": {"Sizes": {"eu-west-1": {"Count": 2}}},
    "Conditions": {
        "Known": {"Fn::Equals": [{"Ref": "Stage"}, "dev"]},
        "Open": {"Fn::Equals": [{"Ref": "Later"}, "dev"]},
        "Both": {"Fn::And": [{"Condition": "Known"}, {"Condition": "Open"}]},
        "Neither": {"Fn::And": [{"Fn::Not": [{"Condition": "Known"}]}, {"Condition": "Open"}]},
        "Either": {"Fn::Or": [{"Condition": "Open"}, {"Condition": "Known"}]},
        "Perhaps": {"Fn::Or": [{"Condition": "Open"}, {"Fn::Not": [{"Condition": "Known"}]}]},
        "NotOpen": {"Fn::Not": [{"Condition": "Open"}]},
        "Odd": {"Fn::Contains": [["a"], "a"]},
        "Text": "true",
    },
}
TEMPLATE = Template(document=DOCUMENT, values={"Stage": "dev", "AWS::Region": "eu-west-1"})


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("", True), ("Known", True), ("Open", None), ("Both", None), ("Neither", False), ("Either", True),
        ("Perhaps", None), ("NotOpen", None), ("Odd", None), ("Text", None), ("Nowhere", None),
    ],
)  # fmt: skip
def test_conditions_are_true_false_or_open(name: str, held: bool | None) -> None:
    """Open ones decide nothing, unless the others decide alone."""
    assert TEMPLATE.condition(name) is held


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (True, "true"),
        (1, "1"),
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Table"}, {"Ref": "Table"}),
        ({"Fn::GetAtt": "Table.Arn.Part"}, {"Fn::GetAtt": ["Table", "Arn.Part"]}),
        ({"Fn::Sub": "a-${Stage}-${!Kept}"}, "a-dev-${Kept}"),
        (
            {"Fn::Sub": ["${A}/${Table.Arn}", {"A": {"Ref": "Stage"}}]},
            {"Fn::Join": ["", ["dev/", {"Fn::GetAtt": ["Table", "Arn"]}]]},
        ),
        ({"Fn::Sub": "${Table}"}, {"Ref": "Table"}),
        ({"Fn::Join": [",", ["a", {"Ref": "Stage"}, 1]]}, "a,dev,1"),
        ({"Fn::Join": [",", {"Ref": "Names"}]}, {"Fn::Join": [",", {"Ref": "Names"}]}),
        ({"Fn::Join": ["", []]}, ""),
        ({"Fn::If": ["Known", "a", "b"]}, "a"),
        ({"Fn::If": ["Open", 1, 2]}, {"Fn::If": ["Open", "1", "2"]}),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "AWS::Region"}, "Count"]}, "2"),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Later"}, "Count"]}, {"Fn::FindInMap": ["Sizes", {"Ref": "Later"}, "Count"]}),
        ({"A": {"Ref": "AWS::NoValue"}, "B": {"Fn::If": ["Known", {"Ref": "AWS::NoValue"}, 1]}, "C": []}, {"C": []}),
    ],
)  # fmt: skip
def test_values_have_one_form(value: Any, plain: Any) -> None:
    """What may be written in several ways is written in one."""
    assert TEMPLATE.plain(value) == plain
    assert TEMPLATE.plain(plain) == plain


def test_what_is_only_known_later_is_unknown() -> None:
    """Functions and references to secrets."""
    assert unknown({"a": [{"Fn::ImportValue": "x"}]})
    assert unknown("{{resolve:ssm:/a}}")
    assert not unknown({"a": ["{{other}}"]})


def test_references_say_whether_an_attribute_is_asked_for() -> None:
    """Wherever they stand."""
    value = TEMPLATE.plain({"a": {"Fn::Sub": "${Table}-${Key.Arn}"}, "b": [{"Fn::Select": [0, {"Ref": "Zones"}]}]})

    assert references(value) == {("Table", False), ("Key", True), ("Zones", False)}


part = st.one_of(st.text(max_size=3), st.just({"Ref": "A"}), st.just({"Fn::GetAtt": ["B", "Arn"]}))


@given(st.lists(part), st.lists(part))
def test_joining_goes_in_any_grouping(left: list[Any], right: list[Any]) -> None:
    """A join of joins is the join of all, and no two texts stand side by side."""
    whole = joined([*left, *right])

    assert joined([joined(left), joined(right)]) == whole
    made = whole["Fn::Join"][1] if isinstance(whole, dict) and "Fn::Join" in whole else [whole]
    assert not any(isinstance(a, str) and isinstance(b, str) for a, b in itertools.pairwise(made))


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
