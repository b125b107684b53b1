"""A unit in the network and with the key of a Terraform estate: parameters, resolution, deployment."""

import json
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import assertions

from mlops_constructs import Approval, BusinessUnit, ModelRegistry, Network, Platform, Profile, ValidationError
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.unit_entries import PLATFORM_PARAMETERS, platform_parameter

VALUES = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "availability_zones": "us-east-1a,us-east-1b",
    "approver_role_arn": "arn:aws:iam::000000000000:role/Approver",
}


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesize a unit with a registry."""
    folder = tmp_path_factory.mktemp("platform")
    app = cdk.App(outdir=str(folder))
    stack = cdk.Stack(app, "OnPlatform")
    platform = Platform(name="retail")
    unit = BusinessUnit(stack, "Unit", name="onplatform", platform=platform, profile=Profile.DEVELOPMENT)
    approval = Approval.manual(approver=platform.approver(stack, "Approver"))
    ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", approval=approval)
    cdk.CfnOutput(stack, "Subnets", value=",".join(unit.subnet_ids))
    cdk.CfnOutput(stack, "Bucket", value=unit.artifacts.bucket_name)
    app.synth()
    return folder


def test_only_what_is_asked_for_is_read(assembly: Path) -> None:
    """Reads network, key and approver of the contract by name and type, and no cluster."""
    template = json.loads((assembly / "OnPlatform.template.json").read_text())
    read = {p["Default"]: p["Type"] for n, p in template["Parameters"].items() if n != "BootstrapVersion"}
    kinds = {"String": "AWS::SSM::Parameter::Value<String>", "StringList": "AWS::SSM::Parameter::Value<List<String>>"}

    assert read == {
        platform_parameter("retail", p.field): kinds[p.type]
        for p in PLATFORM_PARAMETERS
        if not p.field.startswith("cluster")
    }
    keys = assertions.Template.from_json(template).find_resources("AWS::KMS::Key").values()
    assert {key["Properties"]["KeyUsage"] for key in keys} == {"SIGN_VERIFY"}


def test_a_unit_deploys_on_what_the_estate_wrote(assembly: Path, cloud: Cloud) -> None:
    """The deployment resolves the parameters."""
    cloud.client("iam").create_role(RoleName="Approver", AssumeRolePolicyDocument="{}")
    key = cloud.client("kms").create_key(Description="of the platform")["KeyMetadata"]["Arn"]
    for field, value in (VALUES | {"key_arn": key}).items():
        kind = next(p.type for p in PLATFORM_PARAMETERS if p.field == field)
        cloud.client("ssm").put_parameter(Name=platform_parameter("retail", field), Type=kind, Value=value)

    outputs = deployer.deploy(cloud, assembly)["OnPlatform"]
    encryption = cloud.client("s3").get_bucket_encryption(Bucket=outputs["Bucket"])
    deployer.destroy(cloud, assembly)

    assert outputs["Subnets"] == VALUES["subnet_ids"]
    (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key


def test_a_platform_that_cannot_be_is_refused() -> None:
    """Reports all problems at once."""
    with pytest.raises(
        ValidationError,
        match=r"platform must be 2 to 32 lower-case .*got 'R'.*\n?.*zone_count must be from 1 to 6, got 9",
    ):
        Platform(name="R", availability_zone_count=9)


def test_a_platform_hands_over_network_and_key_alone() -> None:
    """The error names the replaced values."""
    stack = cdk.Stack(cdk.App(), "S")
    with pytest.raises(ValidationError, match="network must not be set together with platform, which provides it"):
        BusinessUnit(stack, "Unit", name="demand", platform=Platform(name="retail"), network=Network.create())
