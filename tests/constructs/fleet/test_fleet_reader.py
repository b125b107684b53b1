"""One role an account: what it trusts, its size, and that no finding is left."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import FleetReader, ValidationError
from mlops_constructs.compliance.harness import check

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED, TRUST = 6144, 2048
PARTITION, SUFFIX = "aws-us-gov", "amazonaws.com.cn"  # the longest of each


def stack(**arguments: Any) -> cdk.Stack:
    """A platform's stack with the role."""
    made = cdk.Stack(cdk.App(), "Platform", env=cdk.Environment(account="222222222222", region="eu-west-1"))
    FleetReader(made, "FleetReader", **{"account": "999999999999", "trusted_roles": ["Operator"], **arguments})
    return made


def resources(made: cdk.Stack) -> tuple[dict[str, Any], dict[str, Any]]:
    """Properties of role and policy, with what an intrinsic becomes at most."""
    found = json.dumps(Template.from_stack(made).to_json()["Resources"])
    for name, value in (("AWS::Partition", PARTITION), ("AWS::URLSuffix", SUFFIX)):
        found = found.replace(json.dumps({"Ref": name}), json.dumps(value))
    kinds = {each["Type"]: each["Properties"] for each in json.loads(found, object_hook=_joined).values()}
    return kinds["AWS::IAM::Role"], kinds["AWS::IAM::ManagedPolicy"]


def _joined(value: dict[str, Any]) -> Any:
    return "".join(value["Fn::Join"][1]) if set(value) == {"Fn::Join"} else value


def test_it_has_the_same_size_for_any_number_of_models() -> None:
    """With everything that can be asked for well below what IAM takes of a managed policy and of a trust policy."""
    roles = [f"Team{number}" for number in range(8)]
    role, policy = resources(stack(costs=True, organization_id="o-" + "a" * 32, trusted_roles=roles))

    assert len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) < MANAGED / 2
    assert len(json.dumps(role["AssumeRolePolicyDocument"], separators=(",", ":"))) < TRUST
    assert role["PermissionsBoundary"] == role["ManagedPolicyArns"][0]
    assert "Policies" not in role


def test_it_trusts_named_roles_of_one_account() -> None:
    """By the account's root, so that no role has to exist before, and in the organization where one is named."""
    role, _ = resources(stack(organization_id="o-a1b2c3d4e5", trusted_roles=["Operator", "people/Reader_*"]))
    statements = role["AssumeRolePolicyDocument"]["Statement"]

    assert [each["Action"] for each in statements] == ["sts:AssumeRole", "sts:SetSourceIdentity"]
    for each in statements:
        assert each["Principal"] == {"AWS": f"arn:{PARTITION}:iam::999999999999:root"}
        assert each["Condition"] == {
            "ArnLike": {
                "aws:PrincipalArn": [
                    f"arn:{PARTITION}:iam::999999999999:role/{name}" for name in ("Operator", "people/Reader_*")
                ]
            },
            "StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"},
        }
    assert role["RoleName"] == "MlopsFleetReader"


def test_costs_are_read_only_where_they_are_asked_for() -> None:
    """No tag narrows what Cost Explorer says of an account."""
    with_costs, without = (json.dumps(resources(stack(costs=costs))[1]) for costs in (True, False))

    assert ["ce:GetCostAndUsage" in each for each in (with_costs, without)] == [True, False]


def test_it_has_no_finding(tmp_path: Path) -> None:
    """Of any pack; its wildcards are acknowledged one by one."""
    app = cdk.App(outdir=str(tmp_path), context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    made = cdk.Stack(app, "Platform", env=cdk.Environment(account="222222222222", region="eu-west-1"))
    FleetReader(made, "FleetReader", account="999999999999", trusted_roles=["Operator"], costs=True)

    assert [problem for each in check(app).stacks for problem in each.problems] == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"account": "99"}, "account must be 12 digits, got '99'"),
        ({"trusted_roles": []}, "trusted_roles must name one role at least, else every role of the account is trusted"),
        ({"trusted_roles": ["*"]}, "trusted_roles must be names of roles, with '\\*' at the end at most, got '\\*'"),
        ({"trusted_roles": ["Oper*tor"]}, "trusted_roles must be names of roles"),
        ({"organization_id": "acme"}, "organization_id must be such as 'o-a1b2c3d4e5', got 'acme'"),
        ({"role_name": "a b"}, "role_name must be 1 to 64 letters"),
    ],
)
def test_what_is_not_possible_is_named(arguments: dict[str, Any], problem: str) -> None:
    """At synthesis."""
    with pytest.raises(ValidationError, match=problem):
        stack(**arguments)
