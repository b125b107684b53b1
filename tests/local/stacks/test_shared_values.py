"""Values shared by stacks: exports in use, and parameters read at deployment."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer

TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}


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
