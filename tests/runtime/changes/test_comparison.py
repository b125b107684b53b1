"""A unit that becomes PRODUCTION loses its sweeps and nothing else; what goes or stays tagged is refused as before.

Replacement spreads along references, as far as an independent rule says.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.business_unit.sweep import MARK
from mlops_runtime.changes import Action, ResourceSchema, compare, read_schemas, refusals
from mlops_runtime.changes.template import Template

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = read_schemas(json.loads((ROOT / "packages/mlops-cli/src/mlops_cli" / "replacement.json").read_text()))
TAGS = [{"Key": "team", "Value": "shop"}, {"Key": MARK, "Value": "true"}]
KINDS = {
    "Custom::BucketSweep": ("AWS::S3::Bucket", "BucketName"),
    "Custom::ModelPackageSweep": ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),
}


ONE_SCHEMA = {"Test::Thing::One": ResourceSchema(create_only=("Fixed",), conditional=("Perhaps",))}
PROPERTIES = ("Fixed", "Perhaps", "Free")


def _template(kind: str, *, sweep: bool, named: Any = None, **data: Any) -> Template:
    """A bucket or group ``Data`` (none without properties), and its sweep, which names it by reference or by its name."""
    swept, key = KINDS[kind]
    resources: dict[str, Any] = {"Other": {"Type": "AWS::CloudWatch::Alarm", "Properties": {}}}
    if data:
        resources["Data"] = {"Type": swept, "Properties": {key: "data", **data}}
    if sweep:
        resources["Sweep"] = {"Type": kind, "Properties": {key: {"Ref": "Data"} if named is None else named}}
    return Template(document={"Resources": resources})


def _refused(old: Template, new: Template) -> list[str]:
    return [refusal.logical_id for refusal in refusals([compare("Demand", old, new, SCHEMAS)])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("named", [None, "data"])
def test_a_sweep_leaves_what_stays_without_the_tag(kind: str, named: str | None) -> None:
    """The update takes the tag first."""
    old = _template(kind, sweep=True, named=named, Tags=TAGS)

    assert _refused(old, _template(kind, sweep=False, Tags=TAGS[:1])) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("now", "then", "refused"),
    [
        ({"Tags": TAGS}, {"Tags": TAGS}, ["Sweep"]),  # tagged still
        ({"Tags": TAGS}, {"Tags": {"Fn::GetAtt": ["Other", "Tags"]}}, ["Sweep"]),  # perhaps tagged still
        ({"Tags": {"Fn::GetAtt": ["Other", "Tags"]}}, {"Tags": TAGS[:1]}, ["Sweep"]),  # perhaps never tagged
        ({"Tags": TAGS}, {}, ["Data", "Sweep"]),  # it goes
        ({"Tags": TAGS[:1]}, {"Tags": TAGS[:1]}, ["Sweep"]),  # of a library whose sweeper looked at no tag
    ],
)
def test_a_sweep_that_empties_is_refused(
    kind: str, now: dict[str, Any], then: dict[str, Any], refused: list[str]
) -> None:
    """As its function would, when it is deleted."""
    assert sorted(_refused(_template(kind, sweep=True, **now), _template(kind, sweep=False, **then))) == refused


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_of_what_is_replaced_is_refused(kind: str) -> None:
    """The old one keeps its tag."""
    _, key = KINDS[kind]
    new = _template(kind, sweep=False, **{"Tags": TAGS[:1], key: "another"})

    assert sorted(_refused(_template(kind, sweep=True, Tags=TAGS), new)) == ["Data", "Sweep"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_of_something_elsewhere_is_refused(kind: str) -> None:
    """Nothing is known of it."""
    old = _template(kind, sweep=True, named="elsewhere", Tags=TAGS)

    assert _refused(old, _template(kind, sweep=False, Tags=TAGS[:1])) == ["Sweep"]


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


def _template_of_things(resources: list[dict[str, int | None]], changed: set[tuple[int, str]]) -> Template:
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

    found = compare("Stack", _template_of_things(resources, set()), _template_of_things(resources, changed), ONE_SCHEMA)

    assert {change.logical_id: change.action for change in found.changes} == _expected(resources, changed)


def test_a_cycle_of_references_ends() -> None:
    """CloudFormation refuses one, and says so; here it only must not run for ever."""

    def template(value: str) -> Template:
        properties = {"Fixed": {"Ref": "B"}, "Free": value}
        other = {"Type": "Test::Thing::One", "Properties": {"Fixed": {"Ref": "A"}}}
        return Template(
            document={"Resources": {"A": {"Type": "Test::Thing::One", "Properties": properties}, "B": other}}
        )

    found = compare("Stack", template("old"), template("new"), ONE_SCHEMA)

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
