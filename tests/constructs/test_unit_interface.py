"""Profiles of business units."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest

from mlops_constructs import BusinessUnit, ModelRegistry, Profile, ValidationError
from mlops_local.stacks import deployer
from mlops_local.stacks.deployer import DeployError

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


def test_production_keeps_and_development_destroys() -> None:
    """Profiles differ in data retention and zones."""
    kept = cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
    assert (Profile.PRODUCTION.removal_policy, Profile.PRODUCTION.zones) == (kept, 2)
    assert (Profile.DEVELOPMENT.removal_policy, Profile.DEVELOPMENT.zones) == (cdk.RemovalPolicy.DESTROY, 1)
    assert [profile.keeps_data for profile in (Profile.PRODUCTION, Profile.DEVELOPMENT)] == [True, False]


@pytest.mark.parametrize(
    ("context", "got"), [({}, "None"), ({"profile": "staging"}, "'staging'"), ({"profile": ["a"]}, "['a']")]
)
def test_a_context_without_a_profile_is_refused(context: dict[str, Any], got: str) -> None:
    """The error names what is allowed and how to set it."""
    with pytest.raises(ValidationError, match=rf"'development' or 'production', got {re.escape(got)}; run `cdk synth`"):
        Profile.from_context(cdk.App(context=context))


@pytest.mark.cloud
def test_what_a_failed_creation_made_does_not_stand_in_the_way_of_the_next(cloud: "Cloud", tmp_path: Path) -> None:
    """PRODUCTION retains a group with a fixed name at deletion of the stack, but not if its creation is rolled back."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    stack = cdk.Stack(app, "FailedCreation")
    unit = BusinessUnit(stack, "Unit", name="failing", profile=Profile.PRODUCTION)
    ModelRegistry(stack, "Registry", business_unit=unit, name="first")
    app.synth()
    path = tmp_path / "cdk.out" / "FailedCreation.template.json"
    whole = json.loads(path.read_text())
    broken: dict[str, Any] = json.loads(path.read_text())
    broken["Resources"]["Broken"] = {
        "Type": "AWS::EC2::FlowLog",
        "Properties": {"ResourceType": "VPC"},
        "DependsOn": sorted(broken["Resources"]),
    }

    path.write_text(json.dumps(broken))
    with pytest.raises(DeployError, match="ended as ROLLBACK_COMPLETE"):
        deployer.deploy(cloud, tmp_path / "cdk.out")
    sagemaker = cloud.client("sagemaker")
    assert sagemaker.list_model_package_groups(NameContains="failing-")["ModelPackageGroupSummaryList"] == []

    path.write_text(json.dumps(whole))
    deployer.deploy(cloud, tmp_path / "cdk.out")
    kept = {event.resource_type for event in deployer.destroy(cloud, tmp_path / "cdk.out")}
    assert {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SageMaker::ModelPackageGroup"} <= kept
    with pytest.raises(DeployError, match="Model Package Group already exists"):
        deployer.deploy(cloud, tmp_path / "cdk.out")
