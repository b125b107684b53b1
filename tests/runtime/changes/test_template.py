"""Canonical values of templates, and conditions as far as they can be decided."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.changes.template import Template, joined, references, unknown

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
