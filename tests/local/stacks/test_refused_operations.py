"""Operations on stacks that CloudFormation rejects."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_local.stacks.refused_operations import check_references

QUEUE = "AWS::SQS::Queue"
PLAIN_QUEUE = {"Type": "AWS::SQS::Queue"}
WAITING = {
    "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
    "Waits": {
        "Type": "AWS::CloudFormation::WaitCondition",
        "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "8", "Count": 1},
    },
}
TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}


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
    refusal = "Unresolved resource dependencies \\[Missing\\]"

    with pytest.raises(ClientError, match=refusal):
        client.create_stack(StackName=unique, TemplateBody=body)
    with pytest.raises(ClientError, match=refusal):
        client.create_change_set(StackName=unique, ChangeSetName="one", ChangeSetType="CREATE", TemplateBody=body)
    with pytest.raises(ClientError, match=refusal):
        client.validate_template(TemplateBody=body)
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_stacks(StackName=unique)


def body(**resources):
    """Return a template."""
    return json.dumps({"Resources": resources})


def test_a_second_operation_is_refused(cloud, wait_for):
    """By a new change set, and by one that was created before."""
    client = cloud.client("cloudformation")
    name = "busy"
    stack = client.create_stack(StackName=name, TemplateBody=body(First=PLAIN_QUEUE))["StackId"]
    client.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    early = client.create_change_set(
        StackName=name, ChangeSetName="early", TemplateBody=body(First=PLAIN_QUEUE, Early=PLAIN_QUEUE)
    )["Id"]
    wait_for(lambda: client.describe_change_set(ChangeSetName=early)["Status"] == "CREATE_COMPLETE")

    client.update_stack(StackName=name, TemplateBody=body(First=PLAIN_QUEUE, **WAITING))
    refused = rf"Stack:{stack} is in UPDATE_IN_PROGRESS state and can not be updated\."
    with pytest.raises(ClientError, match=refused):
        client.create_change_set(
            StackName=name, ChangeSetName="late", TemplateBody=body(First=PLAIN_QUEUE, Late=PLAIN_QUEUE)
        )
    with pytest.raises(ClientError, match=refused):
        client.execute_change_set(ChangeSetName=early)

    wait_for(lambda: client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE")
    there = client.list_stack_resources(StackName=name)["StackResourceSummaries"]
    assert {each["LogicalResourceId"] for each in there} == {"First"}
    client.delete_stack(StackName=name)


def _statuses(client: Any, name: str) -> list[tuple[str, str]]:
    events = client.describe_stack_events(StackName=name)["StackEvents"]
    return [(event["ResourceStatus"], event.get("ResourceStatusReason", "")) for event in events]


def test_a_stack_whose_export_is_in_use_stays_as_it_was(
    cloud: Cloud, wait_for: Callable[..., Any], tmp_path: Any
) -> None:
    """The call is accepted; the stack's reason names all importing stacks, and the deployer raises it."""
    client = cloud.client("cloudformation")
    exported = {"Value": "x", "Export": {"Name": "shared-values-x"}}
    imported = {"Value": {"Fn::ImportValue": "shared-values-x"}}
    bodies = {"SharedFrom": exported, "SharedOne": imported, "SharedTwo": imported}
    try:
        for name, output in bodies.items():
            client.create_stack(
                StackName=name, TemplateBody=json.dumps({"Resources": TOPIC, "Outputs": {"Out": output}})
            )
            client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        client.delete_stack(StackName="SharedFrom")
        (found,) = client.describe_stacks(StackName="SharedFrom")["Stacks"]
        reason = "Export shared-values-x cannot be deleted as it is in use by SharedOne and SharedTwo"
        assert (found["StackStatus"], found["StackStatusReason"]) == ("CREATE_COMPLETE", reason)
        assert _statuses(client, "SharedFrom")[0] == ("CREATE_COMPLETE", reason)
        assert len(client.list_stack_resources(StackName="SharedFrom")["StackResourceSummaries"]) == 1
        assembly = {"version": "36.0.0", "artifacts": {"SharedFrom": _artifact(tmp_path)}}
        (tmp_path / "manifest.json").write_text(json.dumps(assembly))
        with pytest.raises(deployer.DeployError, match=f"stack SharedFrom ended as CREATE_COMPLETE: {reason}"):
            deployer.destroy(cloud, tmp_path)
    finally:
        for name in reversed(bodies):
            client.delete_stack(StackName=name)
            client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def _artifact(folder: Any) -> dict[str, Any]:
    (folder / "t.json").write_text("{}")
    return {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "properties": {"templateFile": "t.json"},
    }


def test_a_value_that_is_missing_starts_nothing(cloud: Cloud) -> None:
    """With and without a change set; the missing value is reported by name."""
    client, ssm, name = cloud.client("cloudformation"), cloud.client("ssm"), "/shared-values/one"
    read = {"P": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": name}}
    body = json.dumps({"Parameters": read, "Resources": TOPIC})
    message = rf"Unable to fetch parameters \[{name}\] from parameter store for this account\."
    with pytest.raises(ClientError, match=message):
        client.create_change_set(
            StackName="SharedReads", ChangeSetName="one", ChangeSetType="CREATE", TemplateBody=body
        )
    with pytest.raises(ClientError, match=message):
        client.create_stack(StackName="SharedReads", TemplateBody=body)
    assert "SharedReads" not in {stack["StackName"] for stack in client.describe_stacks()["Stacks"]}
    ssm.put_parameter(Name=name, Value="read", Type="String")
    try:
        client.create_stack(StackName="SharedReads", TemplateBody=body)
        client.get_waiter("stack_create_complete").wait(StackName="SharedReads", WaiterConfig={"Delay": 1})
        (found,) = client.describe_stacks(StackName="SharedReads")["Stacks"]
        assert [(each["ParameterKey"], each["ParameterValue"]) for each in found["Parameters"]] == [("P", name)]
    finally:
        client.delete_stack(StackName="SharedReads")
        client.get_waiter("stack_delete_complete").wait(StackName="SharedReads", WaiterConfig={"Delay": 1})
        ssm.delete_parameter(Name=name)
