"""A unit that becomes PRODUCTION loses its sweeps and nothing else; what goes or stays tagged is refused as before."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlops_runtime.business_unit.sweep import MARK
from mlops_runtime.changes import compare, read_schemas, refusals
from mlops_runtime.changes.template import Template

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = read_schemas(json.loads((ROOT / "packages/mlops-cli/src/mlops_cli" / "replacement.json").read_text()))
TAGS = [{"Key": "team", "Value": "shop"}, {"Key": MARK, "Value": "true"}]
KINDS = {
    "Custom::BucketSweep": ("AWS::S3::Bucket", "BucketName"),
    "Custom::ModelPackageSweep": ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),
}


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
