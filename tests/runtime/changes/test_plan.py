"""Rejected changes, and names that allow them."""

from typing import Any

import pytest

from mlops_runtime.changes import ResourceSchema, SchemaError, compare, read_schemas, refusals, unused_names
from mlops_runtime.changes.template import Template

TABLE: dict[str, Any] = {"Type": "AWS::DynamoDB::Table", "Properties": {}}
SCHEMAS = {"AWS::DynamoDB::Table": ResourceSchema(create_only=("TableName",))}


def _template(**resources: Any) -> Template:
    return Template(document={"Resources": resources})


def test_a_named_resource_passes_and_only_that() -> None:
    """The others are refused still; a name that allows nothing is given back."""
    found = [compare("Demand", _template(A=TABLE, B=TABLE), _template(), SCHEMAS)]

    assert [refusal.logical_id for refusal in refusals(found)] == ["A", "B"]
    assert [refusal.logical_id for refusal in refusals(found, ["A"])] == ["B"]
    assert unused_names(found, ["A", "C"]) == ["C"]


def test_no_name_makes_the_impossible_possible() -> None:
    """CloudFormation would refuse another type in any case."""
    found = [compare("Demand", _template(A=TABLE), _template(A={"Type": "AWS::S3::Bucket"}), SCHEMAS)]

    assert [refusal.logical_id for refusal in refusals(found, ["A"])] == ["A"]


def test_what_holds_nothing_goes_unasked() -> None:
    """An alarm is made again from the template."""
    found = [compare("Demand", _template(A={"Type": "AWS::CloudWatch::Alarm"}), _template(), SCHEMAS)]

    assert refusals(found) == []


def test_a_condition_that_turns_false_deletes() -> None:
    """The resource is still in the template, and gone all the same."""
    document = {
        "Conditions": {"On": {"Fn::Equals": [{"Ref": "Switch"}, "on"]}},
        "Resources": {"A": {**TABLE, "Condition": "On"}},
    }
    before, after = (Template(document=document, values={"Switch": value}) for value in ("on", "off"))

    assert [r.logical_id for r in refusals([compare("Demand", before, after, SCHEMAS)])] == ["A"]


@pytest.mark.parametrize(
    "table", [{}, {"format": "mlops.replacement/2", "types": {}}, {"format": "mlops.replacement/1", "types": []}]
)
def test_fails_on_a_table_that_is_none(table: dict[str, object]) -> None:
    """Its format is named."""
    with pytest.raises(SchemaError, match=r"a table of schemas has the format 'mlops\.replacement/1'"):
        read_schemas(table)
