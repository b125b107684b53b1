"""The fleet's reader role in each account: trust, size and findings."""

import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from examples import accounts
from mlops_constructs import FleetReader, PlatformDefaults, ValidationError
from mlops_constructs.compliance.harness import check
from mlops_runtime.contracts.platform_rules import rules_digest
from mlops_runtime.layers import layer_wheels

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED, TRUST = 6144, 2048
STACKS = ("Build", "Staging", "Production")
PARTITION, SUFFIX = "aws-us-gov", "amazonaws.com.cn"  # the longest possible values


def stack(**arguments: Any) -> cdk.Stack:
    """A platform's stack with the role."""
    made = cdk.Stack(cdk.App(), "Platform", env=cdk.Environment(account="222222222222", region="eu-west-1"))
    FleetReader(made, "FleetReader", **{"account": "999999999999", "trusted_roles": ["Operator"], **arguments})
    return made


def resources(made: cdk.Stack) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the properties of role and policy, with intrinsics at their maximum length."""
    found = json.dumps(Template.from_stack(made).to_json()["Resources"])
    for name, value in (("AWS::Partition", PARTITION), ("AWS::URLSuffix", SUFFIX)):
        found = found.replace(json.dumps({"Ref": name}), json.dumps(value))
    kinds = {each["Type"]: each["Properties"] for each in json.loads(found, object_hook=_joined).values()}
    return kinds["AWS::IAM::Role"], kinds["AWS::IAM::ManagedPolicy"]


def _joined(value: dict[str, Any]) -> Any:
    return "".join(value["Fn::Join"][1]) if set(value) == {"Fn::Join"} else value


def test_it_has_the_same_size_for_any_number_of_models() -> None:
    """With every option it stays well below IAM's limits for managed policies and trust policies."""
    roles = [f"Team{number}" for number in range(8)]
    role, policy = resources(stack(costs=True, organization_id="o-" + "a" * 32, trusted_roles=roles))

    assert len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) < MANAGED / 2
    assert len(json.dumps(role["AssumeRolePolicyDocument"], separators=(",", ":"))) < TRUST
    assert role["PermissionsBoundary"] == role["ManagedPolicyArns"][0]
    assert "Policies" not in role


def test_it_trusts_named_roles_of_one_account() -> None:
    """Trusts the account's root, so that no role must exist first, and the organization if one is named."""
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
    """Cost Explorer cannot be restricted by tags."""
    with_costs, without = (json.dumps(resources(stack(costs=costs))[1]) for costs in (True, False))

    assert ["ce:GetCostAndUsage" in each for each in (with_costs, without)] == [True, False]


def test_it_has_no_finding(tmp_path: Path) -> None:
    """No pack reports a finding; each wildcard is acknowledged."""
    app = cdk.App(outdir=str(tmp_path), context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    made = cdk.Stack(app, "Platform", env=cdk.Environment(account="222222222222", region="eu-west-1"))
    FleetReader(made, "FleetReader", account="999999999999", trusted_roles=["Operator"], costs=True)

    assert [problem for each in check(app).stacks for problem in each.problems] == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"account": "99"}, "account must be 12 digits, got '99'"),
        (
            {"trusted_roles": []},
            "trusted_roles must contain at least one role, otherwise every role of the account is trusted",
        ),
        ({"trusted_roles": ["*"]}, "trusted_roles must be names of roles, with '\\*' only at the end, got '\\*'"),
        ({"trusted_roles": ["Oper*tor"]}, "trusted_roles must be names of roles"),
        ({"organization_id": "acme"}, "organization_id must be such as 'o-a1b2c3d4e5', got 'acme'"),
        ({"role_name": "a b"}, "role_name must be 1 to 64 letters"),
    ],
)
def test_what_is_not_possible_is_named(arguments: dict[str, Any], problem: str) -> None:
    """Rejects invalid arguments at synthesis."""
    with pytest.raises(ValidationError, match=problem):
        stack(**arguments)


def _accounts(folder: Path, *, fleet: bool) -> dict[str, dict[str, Any]]:
    """Return the resources of the chain of `examples/accounts.py`, without names of the platform's rules."""
    app = cdk.App(outdir=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_wheels, "ASSETS", folder / "assets")
        (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True)
        patch.setattr(accounts, "retail", lambda _: PlatformDefaults(name="retail", fleet=fleet))
        accounts.compose(app)
    digest = rules_digest(PlatformDefaults(name="retail", fleet=fleet).rules)
    found: dict[str, dict[str, Any]] = {}
    for each in app.synth().stacks:
        text = json.dumps(each.template["Resources"]).replace(digest, "<digest>").replace('\\"fleet\\":true,', "")
        found |= {f"{each.stack_name}/{name}": resource for name, resource in json.loads(text).items()}
    return found


def test_a_fleet_adds_tags_to_tables_and_buckets_of_state_and_nothing_else(tmp_path: Path) -> None:
    """Templates of units without a fleet stay unchanged."""
    without, requested = (_accounts(tmp_path / str(fleet), fleet=fleet) for fleet in (False, True))
    changed = {name: each for name, each in requested.items() if each != without[name]}
    for each in changed.values():
        each["Properties"]["Tags"].remove({"Key": "mlops:data", "Value": "state"})
        if each["Type"] == "AWS::S3::Bucket":
            assert each["Properties"].pop("AbacStatus") == "Enabled"

    assert requested == without
    assert "AbacStatus" not in json.dumps(without) and "mlops:data" not in json.dumps(without)
    assert sorted(re.sub("[0-9A-F]{8}$", "", name) for name in changed) == sorted(
        ["Build/RetrainingTable", "Staging/EndpointRolloutTable", "Production/EndpointRolloutTable"]
        + [f"{of}/Unit{each}" for of in STACKS for each in ("Artifacts", "Audit", "Automation")]
    )
