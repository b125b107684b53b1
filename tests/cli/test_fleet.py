"""`mlops fleet`: the models of three accounts, each read with a role of its account."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.released import release

from mlops_local.cloud import Cloud
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.unit_entries import UnitEntry, entry_value
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter

Run = Callable[..., subprocess.CompletedProcess[str]]

BUILD, STAGING, PRODUCTION = "111111111111", "222222222222", "333333333333"
READS = [
    f"{service}:{verb}*"
    for service in ("ssm", "dynamodb", "sagemaker", "states", "s3")
    for verb in ("Get", "List", "Describe")
]


def _role(cloud: Cloud, account: str, name: str, *, trusts: str, actions: list[str]) -> str:
    """Create a role that another account may assume."""
    iam = cloud.at(account).client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{trusts}:root"}, "Action": "sts:AssumeRole"}
    made = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    allowed = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="May", PolicyDocument=policy)
    return str(made["Role"]["Arn"])


@pytest.fixture(scope="module")
def environments(cloud: Cloud) -> list[dict[str, Any]]:
    """One unit in three accounts: two versions of one model serve there, and production has none yet."""
    found = []
    for account, region, version in (
        (BUILD, "us-east-1", 2),
        (STAGING, "eu-west-1", 1),
        (PRODUCTION, "us-east-1", None),
    ):
        unit = DeployedUnit(cloud.at(account, region), "fleet", buckets=f"fleet-{account}")
        if version is not None:
            unit.serve(version)
        role = _role(cloud, account, "fleet-reader", trusts="000000000000", actions=READS)
        name = {BUILD: "build", STAGING: "staging", PRODUCTION: "production"}[account]
        found.append({"name": name, "account": account, "region": region, "role": role})
    return found


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a fleet file into the command's folder."""

    def written(*found: dict[str, Any]) -> Path:
        path = tmp_path / "fleet.json"
        path.write_text(json.dumps({"format": "mlops.fleet/1", "environments": found}))
        return path

    return written


def test_each_model_of_each_account_is_shown(
    on_cloud: Run, write: Callable[..., Path], environments: list[dict[str, Any]]
) -> None:
    """Keeps the order of environments; versions are per account, the digest is the model's."""
    write(*environments)

    shown, document = on_cloud("fleet", "fleet"), json.loads(on_cloud("fleet", "fleet", "--json").stdout)

    assert [(each["environment"], each["account"], each.get("version")) for each in document["models"]] == [
        ("build", BUILD, 2),
        ("staging", STAGING, 1),
        ("production", PRODUCTION, None),
    ]
    assert [each.get("digest") for each in document["models"]] == ["b" * 64, "b" * 64, None]
    assert (document["models"][2]["state"], document["unread"]) == ("not deployed", {})
    assert [name in shown.stdout for name in ("build", "staging", "production", "b" * 12)] == [True] * 4


def test_the_caller_reads_its_own_account_without_a_role(
    on_cloud: Run, write: Callable[..., Path], environments: list[dict[str, Any]]
) -> None:
    """Works with a profile of the embedded cloud too; credentials of another account are reported."""
    own = {name: value for name, value in environments[0].items() if name != "role"}
    write({**own, "profile": f"mlops-{BUILD}"}, {**own, "name": "other", "account": STAGING})

    document = json.loads(on_cloud("fleet", "fleet", "--json").stdout)

    assert [each["environment"] for each in document["models"]] == ["build"]
    assert "credentials are of account 000000000000" in document["unread"]["other"]


def test_an_environment_that_cannot_be_read_is_named_beside_the_others(
    on_cloud: Run, write: Callable[..., Path], cloud: Cloud, environments: list[dict[str, Any]]
) -> None:
    """Covers a missing role and one without permissions; if no environment can be read the command fails."""
    blind = _role(cloud, PRODUCTION, "fleet-blind", trusts="000000000000", actions=["sqs:ListQueues"])
    foreign = _role(cloud, STAGING, "fleet-foreign", trusts=PRODUCTION, actions=READS)
    bad = [
        {**environments[1], "role": foreign},
        {**environments[2], "role": blind},
    ]
    write(environments[0], *bad)
    shown = on_cloud("fleet", "fleet")
    document = json.loads(on_cloud("fleet", "fleet", "--json").stdout)
    write(*bad)
    nothing = on_cloud("fleet", "fleet")

    assert [each["environment"] for each in document["models"]] == ["build"]
    assert "sts:AssumeRole" in document["unread"]["staging"]
    assert "ssm:GetParametersByPath" in document["unread"]["production"]
    assert "staging: not shown: " in shown.stdout
    assert (nothing.returncode, nothing.stderr.startswith("mlops: no environment can be read: ")) == (1, True)


def test_a_registry_without_an_endpoint_has_a_row(
    on_cloud: Run, write: Callable[..., Path], cloud: Cloud, environments: list[dict[str, Any]]
) -> None:
    """Covers the training account: approved, released and pending versions."""
    build = cloud.at(BUILD, environments[0]["region"])
    ssm, sagemaker, s3 = build.client("ssm"), build.client("sagemaker"), build.client("s3")
    entry = RegistryEntry(group="fleet-price", unit="fleet", rule=ApprovalRule(), releases="fleet-price.releases")
    name = registry_parameter(unit=entry.unit, group=entry.group)
    found = release(unit="fleet", model="price", source=LinkedEnvironment(account=BUILD, region="us-east-1"), version=1)
    sagemaker.create_model_package_group(ModelPackageGroupName=entry.group)
    approved, _waiting = (sagemaker.create_model_package(**found.request)["ModelPackageArn"] for _ in range(2))
    sagemaker.update_model_package(
        ModelPackageArn=approved, ModelApprovalStatus="Approved", ApprovalDescription="by hand"
    )
    unit = from_json(UnitEntry, ssm.get_parameter(Name="/mlops/fleet/unit")["Parameter"]["Value"])
    s3.create_bucket(Bucket="fleet-artifacts")
    s3.put_object(Bucket="fleet-artifacts", Key=found.key, Body=found.content)
    ssm.put_parameter(Name=name, Value=canonical_json(entry).decode(), Type="String")
    write(environments[0])
    try:
        without = json.loads(on_cloud("fleet", "fleet", "--json").stdout)
        changed = replace(unit, artifacts_bucket="fleet-artifacts")
        ssm.put_parameter(Name="/mlops/fleet/unit", Value=entry_value(changed), Type="String", Overwrite=True)
        document = json.loads(on_cloud("fleet", "fleet", "--json").stdout)
    finally:
        ssm.put_parameter(Name="/mlops/fleet/unit", Value=entry_value(unit), Type="String", Overwrite=True)
        ssm.delete_parameter(Name=name)

    (blind,) = (each for each in without["models"] if each["model"] == "price")
    (row,) = (each for each in document["models"] if each["model"] == "price")
    assert (blind["approved"], blind.get("released")) == ("fleet-price/1", None)
    assert "NoSuchBucket" in without["unread"]["build/fleet releases of fleet-price"]
    assert (row["state"], row["waiting"]) == ("waits for an approval", ["fleet-price/2"])
    assert (row["approved"], row["released"], row["version"]) == ("fleet-price/1", "fleet-price/1", 1)
    assert (row["digest"], row["since"]) == ("b" * 64, found.record.released_at)


def test_costs_are_asked_for_alone_where_one_wants_them(
    on_cloud: Run, write: Callable[..., Path], environments: list[dict[str, Any]]
) -> None:
    """The embedded cloud has no bill, and the output says so."""
    write(environments[0])

    shown = on_cloud("fleet", "fleet", "--costs")

    assert "cost a day" in shown.stdout
    assert "build: costs: not known here: the embedded cloud bills nothing" in shown.stdout


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "fleet.json cannot be read"),
        ("{}", "fleet.json cannot be read as mlops.fleet/1"),
        ('{"environments": []}', "must not be empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    on_cloud: Run, tmp_path: Path, content: str | None, problem: str
) -> None:
    """The error has file and fix."""
    if content is not None:
        (tmp_path / "fleet.json").write_text(content)

    found = on_cloud("fleet")

    assert (found.returncode, problem in found.stderr) == (1, True)
