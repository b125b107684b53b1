"""Inbox and sender of a registry with neighbors, in the template."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import BusinessUnit, Environment, ModelRegistry
from mlops_runtime.promotion.environment_link import inbox_arn, link_role_name

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
PRODUCTION = Environment("production", account="333333333333", region="eu-west-1")
RECOVERY = Environment("recovery", account="333333333333", region="eu-central-1")


@pytest.fixture(scope="module")
def template() -> Mapping[str, Any]:
    """The resources of staging, which has neighbors on both sides."""
    app = cdk.App()
    stack = cdk.Stack(app, "Staging", env=STAGING.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    ModelRegistry.from_environment(
        stack, "Registry", business_unit=unit, name="forecast", source=BUILD, deploy_to=[PRODUCTION, RECOVERY]
    )
    return dict(app.synth().get_stack_by_name("Staging").template["Resources"])


def _of(template: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {name: each["Properties"] for name, each in template.items() if each["Type"] == kind}


def test_one_inbox_admits_each_neighbour(template: Mapping[str, Any]) -> None:
    """One statement per neighbor names its sender; unprocessed messages are kept."""
    buses = [each for each in _of(template, "AWS::Events::EventBus").values() if "Name" in each]
    (inbox,) = (each for each in buses if each["Name"] == "mlops-demand-forecast-inbox")
    policies = _of(template, "AWS::Events::EventBusPolicy").values()
    admitted = {each["Statement"]["Principal"]["AWS"].split(":")[4] for each in policies}
    senders = {each["Statement"]["Condition"]["ArnEquals"]["aws:PrincipalArn"] for each in policies}

    assert ("DeadLetterConfig" in inbox, "KmsKeyIdentifier" in inbox) == (True, True)
    assert admitted == {BUILD.account, PRODUCTION.account}
    assert senders == {
        f"arn:aws:iam::{place.account}:role/"
        + link_role_name("send", unit="demand", model="forecast", environment=place.linked)
        for place in (BUILD, PRODUCTION, RECOVERY)
    }
    assert len({each["StatementId"] for each in policies}) == 3


def test_one_sender_sends_to_each_neighbour(template: Mapping[str, Any]) -> None:
    """The sender has the name in the neighbors' inbox policies, and can send nowhere else."""
    name = link_role_name("send", unit="demand", model="forecast", environment=STAGING.linked)
    (role,) = (n for n, each in _of(template, "AWS::IAM::Role").items() if each.get("RoleName") == name)
    policies = _of(template, "AWS::IAM::ManagedPolicy").values()
    (statements,) = (p["PolicyDocument"]["Statement"] for p in policies if p.get("Roles") == [{"Ref": role}])
    inboxes = {
        inbox_arn(unit="demand", model="forecast", environment=place.linked) for place in (BUILD, PRODUCTION, RECOVERY)
    }

    assert {(each["Action"], each["Resource"]) for each in statements} == {("events:PutEvents", i) for i in inboxes}
    targets = [target for rule in _of(template, "AWS::Events::Rule").values() for target in rule["Targets"]]
    sent = [target for target in targets if target.get("RoleArn") == {"Fn::GetAtt": [role, "Arn"]}]
    assert {target["Arn"] for target in sent} == inboxes
    assert all("DeadLetterConfig" in target for target in sent)
