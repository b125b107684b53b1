"""Replacement spreads along references, as far as an independent rule says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.changes import Action, ResourceSchema, compare, refusals
from mlops_runtime.changes.template import Template

SCHEMAS = {"Test::Thing::One": ResourceSchema(create_only=("Fixed",), conditional=("Perhaps",))}
PROPERTIES = ("Fixed", "Perhaps", "Free")


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[dict[str, int | None]], set[tuple[int, str]]]:
    """Give resources, whose properties are constant or refer to an earlier one, and the properties that change."""
    count = draw(st.integers(1, 6))
    resources: list[dict[str, int | None]] = [
        {name: draw(st.one_of(st.none(), st.integers(0, index - 1))) if index else None for name in PROPERTIES}
        for index in range(count)
    ]
    constant = [(i, name) for i, resource in enumerate(resources) for name in PROPERTIES if resource[name] is None]
    changed = draw(st.sets(st.sampled_from(constant))) if constant else set()
    return resources, changed


def _template(resources: list[dict[str, int | None]], changed: set[tuple[int, str]]) -> Template:
    def value(index: int, name: str) -> Any:
        other = resources[index][name]
        if other is not None:
            return {"Fn::Sub": f"${{R{other}}}/x"}
        return "new" if (index, name) in changed else "old"

    document = {
        "Resources": {
            f"R{i}": {"Type": "Test::Thing::One", "Properties": {name: value(i, name) for name in PROPERTIES}}
            for i in range(len(resources))
        }
    }
    return Template(document=document)


def _expected(resources: list[dict[str, int | None]], changed: set[tuple[int, str]]) -> dict[str, Action]:
    """A resource is replaced if what is fixed of it changes or refers to one that is; the doubt of either spreads."""
    found: dict[str, Action] = {}
    for index, resource in enumerate(resources):
        certain = {name for name in PROPERTIES if (index, name) in changed}
        doubtful = set()
        for name, other in resource.items():
            action = None if other is None else found.get(f"R{other}")
            if action is Action.REPLACED:
                certain.add(name)
            elif action is Action.MAY_BE_REPLACED:
                doubtful.add(name)
        if "Fixed" in certain:
            found[f"R{index}"] = Action.REPLACED
        elif "Fixed" in doubtful or "Perhaps" in certain | doubtful:
            found[f"R{index}"] = Action.MAY_BE_REPLACED
        elif certain | doubtful:
            found[f"R{index}"] = Action.CHANGED
    return found


@given(stacks())
def test_replacement_spreads_as_far_as_the_rule_says(
    stack: tuple[list[dict[str, int | None]], set[tuple[int, str]]],
) -> None:
    """In any stack, for any change."""
    resources, changed = stack

    found = compare("Stack", _template(resources, set()), _template(resources, changed), SCHEMAS)

    assert {change.logical_id: change.action for change in found.changes} == _expected(resources, changed)


def test_a_cycle_of_references_ends() -> None:
    """CloudFormation refuses one, and says so; here it only must not run for ever."""

    def template(value: str) -> Template:
        properties = {"Fixed": {"Ref": "B"}, "Free": value}
        other = {"Type": "Test::Thing::One", "Properties": {"Fixed": {"Ref": "A"}}}
        return Template(
            document={"Resources": {"A": {"Type": "Test::Thing::One", "Properties": properties}, "B": other}}
        )

    found = compare("Stack", template("old"), template("new"), SCHEMAS)

    assert [(change.logical_id, change.action) for change in found.changes] == [("A", Action.CHANGED)]


def test_an_element_of_a_list_may_be_fixed() -> None:
    """A pointer goes through every element; a list that grows is changed as a whole."""
    schemas = {"Test::Thing::One": ResourceSchema(create_only=("Policies/*/Arn",))}

    def template(*policies: dict[str, str]) -> Template:
        body = {"Type": "Test::Thing::One", "Properties": {"Policies": list(policies)}}
        return Template(document={"Resources": {"A": body}})

    one, two, other = {"Arn": "a", "Name": "x"}, {"Arn": "b", "Name": "x"}, {"Arn": "a", "Name": "y"}
    actions = [
        compare("Stack", template(one), template(*new), schemas).changes[0].action
        for new in ((two,), (other,), (one, two))
    ]

    assert actions == [Action.REPLACED, Action.CHANGED, Action.REPLACED]


def _own(type_: str, **properties: Any) -> Template:
    return Template(document={"Resources": {"Own": {"Type": type_, "Properties": properties}}})


def _spec(endpoint: str, count: int) -> Any:
    return {"Fn::Join": ["", [f'{{"endpoint":"{endpoint}","count":{count},"role":"', {"Ref": "Role"}, '"}']]}


@pytest.mark.parametrize(
    ("type_", "old", "new", "action"),
    [
        ("Custom::MLOpsServingSpec", {"Spec": _spec("a", 1)}, {"Spec": _spec("b", 1)}, Action.REPLACED),
        ("Custom::MLOpsServingSpec", {"Spec": _spec("a", 1)}, {"Spec": _spec("a", 2)}, Action.CHANGED),
        (
            "Custom::MLOpsManifests",
            {"Name": "a", "Manifests": "[]"},
            {"Name": "b", "Manifests": "[]"},
            Action.REPLACED,
        ),
        ("Custom::MLOpsManifests", {"Name": "a", "Manifests": "[]"}, {"Name": "a", "Manifests": "[1]"}, Action.CHANGED),
        ("Custom::Other", {"Name": "a"}, {"Name": "b"}, Action.CHANGED),
    ],
)
def test_a_function_of_ours_that_names_another_thing_loses_the_old_one(
    type_: str, old: dict[str, Any], new: dict[str, Any], action: Action
) -> None:
    """By another name of the endpoint, CloudFormation deletes the one that serves: that is refused like any other loss."""
    found = compare("s", _own(type_, **old), _own(type_, **new), {})
    assert [change.action for change in found.changes] == [action]
    assert bool(refusals([found])) is (action is Action.REPLACED)
