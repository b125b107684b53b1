"""Evaluated policies of reading and approving packages."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from ministack.core import iam_evaluator

from mlops_constructs import Approval, BusinessUnit, ModelRegistry

ACCOUNT, REGION = "123456789012", "eu-west-1"
PACKAGE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/demand-forecast/7"
OTHER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/demand-other/7"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """A registry whose machine approves by policy, in a known account."""
    app = cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True})
    stack = cdk.Stack(app, "S", env=cdk.Environment(account=ACCOUNT, region=REGION))
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic())
    statements = registry.approve_statements()
    policy = iam.ManagedPolicy(stack, "Policy", statements=statements)
    boundary = unit.permissions_boundary
    principal = iam.ServicePrincipal("states.amazonaws.com")
    machine = iam.Role(stack, "Machine", assumed_by=principal, managed_policies=[policy], permissions_boundary=boundary)
    registry.approve_by_policy(machine)
    everything = iam.ManagedPolicy(
        stack, "Everything", statements=[iam.PolicyStatement(actions=["sagemaker:*"], resources=["*"])]
    )
    iam.Role(stack, "Trainer", assumed_by=principal, managed_policies=[everything], permissions_boundary=boundary)
    text = json.dumps(Template.from_stack(stack).to_json())
    return dict(json.loads(text.replace('{"Ref": "AWS::Partition"}', '"aws"')))


def _resolved(value: Any) -> Any:
    if isinstance(value, dict):
        if "Fn::Join" in value:
            return "".join(str(_resolved(part)) for part in value["Fn::Join"][1])
        if "Fn::GetAtt" in value:
            return ".".join(value["Fn::GetAtt"])
        return {key: _resolved(inner) for key, inner in value.items()}
    return [_resolved(inner) for inner in value] if isinstance(value, list) else value


def _role(template: dict[str, Any], part: str) -> dict[str, Any]:
    found = template["Resources"].items()
    (role,) = (r["Properties"] for n, r in found if r["Type"] == "AWS::IAM::Role" and n.startswith(part))
    return dict(role)


def _allows(template: dict[str, Any], part: str, action: str, resource: str, status: str | None) -> bool:
    role = _role(template, part)
    tags = {f"aws:principaltag/{tag['Key'].lower()}": tag["Value"] for tag in role.get("Tags", [])}
    context = tags | ({} if status is None else {"sagemaker:modelapprovalstatus": status})

    question = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:iam::{ACCOUNT}:role/{part}", principal_type="AssumedRole", principal_account=ACCOUNT,
        action=action, resource_arn=resource, region=REGION, service_context=context,
    )  # fmt: skip
    policies = [_parsed(template, reference) for reference in role["ManagedPolicyArns"]]
    answer = iam_evaluator.evaluate(question, policies, [_parsed(template, role["PermissionsBoundary"])])
    return bool(answer.decision == "Allow")


def _parsed(template: dict[str, Any], reference: dict[str, str]) -> Any:
    document = template["Resources"][reference["Ref"]]["Properties"]["PolicyDocument"]
    return iam_evaluator.parse_policy_document(_resolved(document))


@pytest.mark.parametrize(
    ("role", "status", "allowed"),
    [
        ("RegistryApprover", "Approved", True),
        ("RegistryApprover", "Rejected", True),
        ("RegistryApprover", "PendingManualApproval", False),
        ("RegistryApprover", None, False),
        ("Machine", "Approved", True),
        ("Machine", "Rejected", False),
        ("Machine", None, False),
        ("Trainer", "Approved", False),
        ("Trainer", "Rejected", True),
        ("Trainer", None, True),
    ],
)
def test_only_marked_roles_approve(template: dict[str, Any], role: str, status: str | None, allowed: bool) -> None:
    """Approvers only set the approval; the boundary stops a role whose own policy allows everything."""
    assert _allows(template, role, "sagemaker:UpdateModelPackage", PACKAGE, status) == allowed


def test_an_approver_approves_in_its_group_alone(template: dict[str, Any]) -> None:
    """Each group has its own approvers."""
    assert not _allows(template, "RegistryApprover", "sagemaker:UpdateModelPackage", OTHER, "Approved")
    assert not _allows(template, "Machine", "sagemaker:UpdateModelPackage", OTHER, "Approved")


def test_nobody_registers_a_package_that_is_approved(template: dict[str, Any]) -> None:
    """Registering an approved package would bypass the approver."""
    assert not _allows(template, "Trainer", "sagemaker:CreateModelPackage", PACKAGE, "Approved")
    assert _allows(template, "Trainer", "sagemaker:CreateModelPackage", PACKAGE, "PendingManualApproval")


def test_people_take_the_role_and_services_do_not(template: dict[str, Any]) -> None:
    """The trust names the account; the unit's boundary allows no STS action."""
    (statement,) = _role(template, "RegistryApprover")["AssumeRolePolicyDocument"]["Statement"]

    assert _resolved(statement["Principal"]) == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert not _allows(template, "Trainer", "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/RegistryApprover", None)
