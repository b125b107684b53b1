"""Values shared between stacks of a unit: one parameter each, read at deployment."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from constructs import Construct
from mlops_constructs._shared_values import export_part, import_part, publish_values, read_list, read_value
from mlops_runtime.contracts.unit_entries import UnitParameter, unit_export

PARAMETERS = (
    UnitParameter(field="features/data_bucket", type="String", description="Bucket"),
    UnitParameter(field="subnet_ids", type="StringList", description="Subnets"),
)


def test_what_is_published_is_read_by_the_same_names() -> None:
    """Reads a string, and a list up to its declared length."""
    app = cdk.App()
    owner, second = cdk.Stack(app, "Owner"), cdk.Stack(app, "Second")
    values: dict[str, str | list[str]] = {"features/data_bucket": "b", "subnet_ids": ["x", "y"]}
    publish_values(owner, "Shared", unit="demand", profile="production", parameters=PARAMETERS, values=values)
    read = read_value(second, unit="demand", profile="production", field="features/data_bucket")
    some = read_list(second, unit="demand", profile="production", field="subnet_ids", count=2)
    cdk.CfnOutput(second, "Read", value=",".join([read, *some]))
    found = Template.from_stack(owner).find_resources("AWS::SSM::Parameter")
    published = {p["Properties"]["Name"]: (p["Properties"]["Type"], p["Properties"]["Value"]) for p in found.values()}
    template = Template.from_stack(second).to_json()
    names = {p["Default"]: p["Type"] for p in template["Parameters"].values() if p["Type"].startswith("AWS::SSM")}
    names.pop("/cdk-bootstrap/hnb659fds/version", None)

    assert published == {
        "/mlops-unit/demand/1/production/features/data_bucket": ("String", "b"),
        "/mlops-unit/demand/1/production/subnet_ids": ("StringList", "x,y"),
    }
    assert names == {
        name: f"AWS::SSM::Parameter::Value<{kind}>"
        for name, kind in zip(published, ("String", "List<String>"), strict=True)
    }
    assert [
        part["Fn::Select"][0] for part in template["Outputs"]["Read"]["Value"]["Fn::Join"][1] if "Fn::Select" in part
    ] == [0, 1]


@pytest.mark.parametrize(
    ("published", "imported"),
    [
        ({}, "mlops-unit-demand"),
        ({"export": "mlops-unit-demand:features"}, "mlops-unit-demand:features"),
        ({"export": "mlops-unit-demand:features", "format": "x/1"}, "mlops-unit-demand:features"),
    ],
)
def test_an_import_is_of_the_stack_that_defines_the_part(published: dict[str, str], imported: str) -> None:
    """The entry at deployment decides: the part's own export, or the unit's without one."""
    stack = cdk.Stack(cdk.App(), "Third")
    import_part(stack, unit="demand", entry="/mlops/demand/features")
    template = Template.from_stack(stack).to_json()
    (name,) = (n for n, p in template["Parameters"].items() if p["Default"] == "/mlops/demand/features")
    value = json.dumps({"database": "demand_features", **published, "unit": "demand"}, separators=(",", ":"))

    assert _resolved(template["Outputs"]["Part"]["Value"]["Fn::ImportValue"], {name: value}) == imported


def _resolved(node: Any, parameters: dict[str, str]) -> Any:
    """Return a value with CloudFormation functions resolved."""
    if not isinstance(node, dict):
        return node
    ((function, given),) = node.items()
    if function == "Ref":
        return parameters[given]
    first, second = given
    if function == "Fn::Join":
        return first.join(_resolved(each, parameters) for each in second)
    found = _resolved(second, parameters)
    return found.split(first) if function == "Fn::Split" else found[int(first)]


def test_no_two_units_or_parts_have_one_export() -> None:
    """CloudFormation rejects duplicate export names in an account and Region."""
    stack = cdk.Stack(cdk.App(), "Second")
    parts = [
        (unit, part) for unit in ("demand", "demand-forecast") for part in ("features", "registry:demand-forecast")
    ]
    names = [export_part(Construct(stack, f"{n}"), unit=unit, part=part) for n, (unit, part) in enumerate(parts)]
    exported = [output["Export"]["Name"] for output in Template.from_stack(stack).find_outputs("*").values()]

    assert sorted(exported) == sorted(names) == sorted(f"mlops-unit-{unit}:{part}" for unit, part in parts)
    assert len({*names, *map(unit_export, ("demand", "demand-forecast"))}) == 6
