"""References to undeclared names in a template."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.stacks.template_references import check_references

QUEUE = "AWS::SQS::Queue"


@pytest.mark.parametrize(
    "properties",
    [
        {"QueueName": {"Ref": "Name"}},
        {"QueueName": {"Fn::GetAtt": ["Name", "Arn"]}},
        {"QueueName": {"Fn::Sub": "${Name.Arn}-queue"}},
        {"Tags": [{"Key": "a", "Value": {"Fn::If": ["Yes", "b", {"Ref": "Name"}]}}]},
    ],
    ids=["Ref", "GetAtt", "Sub", "If"],
)
def test_each_way_of_a_reference_is_found(properties: dict[str, Any]) -> None:
    """In every intrinsic function."""
    with pytest.raises(ValueError, match=r"Unresolved resource dependencies \[Name\] in the Resources block"):
        check_references({"Resources": {"Queue": {"Type": QUEUE, "Properties": properties}}})


def test_all_missing_names_are_said_at_once() -> None:
    """Also those of DependsOn, as a name or a list."""
    resources = {"A": {"Type": QUEUE, "DependsOn": "Y"}, "B": {"Type": QUEUE, "DependsOn": ["X", "A"]}}

    with pytest.raises(ValueError, match=r"\[X, Y\]"):
        check_references({"Resources": resources})


def test_outputs_are_a_block_of_their_own() -> None:
    """CloudFormation's message names the block."""
    template = {"Resources": {"A": {"Type": QUEUE}}, "Outputs": {"Arn": {"Value": {"Ref": "B"}}}}

    with pytest.raises(ValueError, match=r"\[B\] in the Outputs block"):
        check_references(template)


def test_what_is_declared_passes() -> None:
    """Parameters, pseudo parameters, conditional resources, literals and variables of Sub."""
    text = "${AWS::Region}-${Key}-${!Literal}-${Bound}"
    name = {"Fn::Sub": [text, {"Bound": {"Ref": "Parameter"}}]}
    resources = {
        "Key": {"Type": "AWS::KMS::Key", "Condition": "No"},
        "Queue": {"Type": QUEUE, "DependsOn": "Key", "Properties": {"QueueName": name}},
    }

    check_references({"Parameters": {"Parameter": {"Type": "String"}}, "Resources": resources})


@pytest.mark.cloud
def test_a_stack_with_a_reference_to_nothing_is_refused(cloud, unique) -> None:
    """By CreateStack, change set and ValidateTemplate; no stack exists afterwards."""
    client = cloud.client("cloudformation")
    body = json.dumps({"Resources": {"Queue": {"Type": QUEUE, "DependsOn": "Missing"}}})
    said = "Unresolved resource dependencies \\[Missing\\]"

    with pytest.raises(ClientError, match=said):
        client.create_stack(StackName=unique, TemplateBody=body)
    with pytest.raises(ClientError, match=said):
        client.create_change_set(StackName=unique, ChangeSetName="one", ChangeSetType="CREATE", TemplateBody=body)
    with pytest.raises(ClientError, match=said):
        client.validate_template(TemplateBody=body)
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_stacks(StackName=unique)
