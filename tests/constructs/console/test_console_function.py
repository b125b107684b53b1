"""Permissions of the console's function."""

from typing import Any

from mlops_runtime.changes import compare, named
from mlops_runtime.changes.template import Template as TemplateOfPlan

FUNCTION_ROLE = {
    "Fn::Join": [
        "",
        [
            "arn:",
            {"Ref": "AWS::Partition"},
            ":iam::",
            {"Ref": "AWS::AccountId"},
            ":role/demand-console-",
            {"Ref": "AWS::Region"},
        ],
    ]
}


def test_it_takes_the_roles_that_people_have_and_nothing_else(shown: Any) -> None:
    """May assume the users' roles, besides its logs and encrypted environment."""
    (policy,) = (
        each
        for name, each in shown.resources("AWS::IAM::ManagedPolicy").items()
        if name.startswith("ConsoleFunctionPolicy")
    )
    taken, *others = policy["PolicyDocument"]["Statement"]

    assert taken["Action"] == ["sts:AssumeRole", "sts:SetSourceIdentity"]
    assert {each["Fn::GetAtt"][0][:-8] for each in taken["Resource"]} == {"Reader", "OnCall", "RegistryApprover"}
    assert [each["Action"] for each in others] == [["logs:CreateLogStream", "logs:PutLogEvents"], "kms:Decrypt"]
    role = shown.resource("AWS::IAM::Role", "ConsoleFunctionRole")
    assert "PermissionsBoundary" not in role
    assert "Policies" not in role
    assert len(role["ManagedPolicyArns"]) == 2


def test_a_role_trusts_this_function_alone_beside_its_people(shown: Any) -> None:
    """Trusts need both actions, or AWS rejects the session's user name."""
    for part in ("Reader", "OnCall", "RegistryApprover"):
        people, console = shown.resource("AWS::IAM::Role", part)["AssumeRolePolicyDocument"]["Statement"]
        assert people["Action"] == "sts:AssumeRole"
        assert console["Action"] == ["sts:AssumeRole", "sts:SetSourceIdentity"]
        assert console["Condition"] == {"ArnEquals": {"aws:PrincipalArn": FUNCTION_ROLE}}


def test_it_knows_its_roles(shown: Any) -> None:
    """Receives its roles by environment and runs in the unit's network."""
    function = shown.resource("AWS::Lambda::Function", "ConsoleFunction")

    assert set(function["Environment"]["Variables"]) == {"READER_ROLE", "ON_CALL_ROLE", "APPROVER_ROLE"}
    assert function["Timeout"] == 29
    assert "KmsKeyArn" in function
    assert function["VpcConfig"]["SubnetIds"] == ["s-1", "s-2"]
    assert "DeadLetterConfig" not in function


def test_a_plan_knows_the_name_of_its_role_before(shown: Any) -> None:
    """The role's name contains the deployment's Region, so a conflict with another stack shows in the plan."""
    template = TemplateOfPlan(document=shown.template, values={"AWS::Region": "eu-west-1"})

    found = named(compare("Shown", None, template, {}), template)

    assert [one.name for one in found if one.type == "AWS::IAM::Role"] == ["demand-console-eu-west-1"]
