"""Values between stacks of a unit: published one a parameter, read at deployment."""

import aws_cdk as cdk
from aws_cdk.assertions import Template

from mlops_constructs._shared_values import publish_values, read_list, read_value
from mlops_runtime.contracts.unit_entries import UnitParameter

PARAMETERS = (
    UnitParameter(field="features/data_bucket", type="String", description="Bucket"),
    UnitParameter(field="subnet_ids", type="StringList", description="Subnets"),
)


def test_what_is_published_is_read_by_the_same_names() -> None:
    """A text and a list; a list is read as far as its length is said."""
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
