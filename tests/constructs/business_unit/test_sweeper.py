"""Deploy, destroy, deploy in DEVELOPMENT, on the embedded cloud with IAM enforced."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from mlops_constructs import BusinessUnit, ModelRegistry, Profile, ValidationError
from mlops_constructs._roles import service_role
from mlops_constructs.business_unit._sweeper import MAXIMUM_REGISTRIES
from mlops_runtime.business_unit.sweep import delete_packages, empty_bucket

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud


IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"


def _assembly(folder: Path, stack_name: str, *models: str, profile: Profile = Profile.DEVELOPMENT) -> Path:
    app = cdk.App(outdir=str(folder))
    stack = cdk.Stack(app, stack_name)
    unit = BusinessUnit(stack, "Unit", name="sweeping", profile=profile)
    for number, model in enumerate(models):
        ModelRegistry(stack, f"Registry{number}", business_unit=unit, name=model)
    cdk.CfnOutput(stack, "Artifacts", value=unit.artifacts.bucket_name)
    cdk.CfnOutput(stack, "AccessLogs", value=unit.access_logs.bucket_name)
    app.synth()
    return folder


def _fill(cloud: "Cloud", outputs: dict[str, str]) -> None:
    s3 = cloud.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=outputs["Artifacts"], Key="models/a", Body=body)
    s3.delete_object(Bucket=outputs["Artifacts"], Key="models/a")
    s3.put_object(Bucket=outputs["AccessLogs"], Key="Unit/Artifacts/log", Body=b"line")


def _register(cloud: "Cloud", group: str, count: int) -> None:
    """Register packages and approve the last one."""
    sagemaker = cloud.client("sagemaker")
    for version in range(count):
        sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="Approved" if version + 1 == count else "PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )


def _groups(cloud: "Cloud") -> dict[str, int]:
    """Return the unit's groups with their numbers of packages."""
    sagemaker = cloud.client("sagemaker")
    found = sagemaker.list_model_package_groups(NameContains="sweeping-")["ModelPackageGroupSummaryList"]
    return {
        name: len(sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"])
        for name in (group["ModelPackageGroupName"] for group in found)
    }


def _without(path: Path, kind: str) -> None:
    """Return a template without the resources of a type and the explicit dependencies on them."""
    template: dict[str, Any] = json.loads(path.read_text())
    gone = {name for name, r in template["Resources"].items() if r["Type"] == kind}
    assert gone
    resources = {name: r for name, r in template["Resources"].items() if name not in gone}
    for resource in resources.values():
        if "DependsOn" in resource:
            resource["DependsOn"] = [n for n in resource["DependsOn"] if n not in gone]
    path.write_text(json.dumps({**template, "Resources": resources}))


def _buckets(cloud: "Cloud") -> set[str]:
    return {bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]}


def _delete(cloud: "Cloud", name: str) -> str:
    """Delete a stack as ``cdk destroy`` does; return its last status."""
    cloudformation = cloud.client("cloudformation")
    stack_id = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    cloudformation.delete_stack(StackName=name)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = str(cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])
        if status not in ("DELETE_IN_PROGRESS", "CREATE_COMPLETE"):
            return status
        time.sleep(0.2)
    raise AssertionError(f"{name} is still {status}")


def test_deploy_destroy_deploy(cloud: "Cloud", tmp_path: Path) -> None:
    """Deletes versions, delete markers, delivered logs and model packages with the stack, which deploys again."""
    from mlops_local.stacks.deployer import deploy

    assembly = _assembly(tmp_path / "cdk.out", "Sweeping", "forecast")

    for _ in range(2):
        outputs = deploy(cloud, assembly)["Sweeping"]
        _fill(cloud, outputs)
        _register(cloud, "sweeping-forecast", 3)
        assert _groups(cloud) == {"sweeping-forecast": 3}

        assert _delete(cloud, "Sweeping") == "DELETE_COMPLETE"
        assert not _buckets(cloud) & set(outputs.values())
        assert _groups(cloud) == {}


def test_a_registry_that_leaves_the_stack_takes_only_its_own_packages(cloud: "Cloud", tmp_path: Path) -> None:
    """Removing or renaming a registry deletes the packages of its group and keeps those of other groups."""
    from mlops_local.stacks.deployer import deploy, destroy

    deploy(cloud, _assembly(tmp_path / "1", "Leaving", "kept", "renamed", "dropped"))
    for model in ("kept", "renamed", "dropped"):
        _register(cloud, f"sweeping-{model}", 2)

    last = _assembly(tmp_path / "2", "Leaving", "kept", "other")
    deploy(cloud, last)

    assert _groups(cloud) == {"sweeping-kept": 2, "sweeping-other": 0}
    destroy(cloud, last)
    assert _groups(cloud) == {}


def test_a_unit_that_becomes_production_keeps_everything(cloud: "Cloud", tmp_path: Path) -> None:
    """The update removes the sweeps and retains versions and packages."""
    from mlops_local.stacks.deployer import deploy, destroy

    outputs = deploy(cloud, _assembly(tmp_path / "1", "Growing", "grown"))["Growing"]
    _fill(cloud, outputs)
    _register(cloud, "sweeping-grown", 2)

    production = _assembly(tmp_path / "2", "Growing", "grown", profile=Profile.PRODUCTION)
    deploy(cloud, production)

    versions = cloud.client("s3").list_object_versions(Bucket=outputs["Artifacts"])
    assert (len(versions["Versions"]), len(versions["DeleteMarkers"])) == (2, 1)
    assert _groups(cloud) == {"sweeping-grown": 2}
    destroy(cloud, production)
    assert _groups(cloud) == {"sweeping-grown": 2}
    for package in cloud.client("sagemaker").list_model_packages(ModelPackageGroupName="sweeping-grown")[
        "ModelPackageSummaryList"
    ]:
        cloud.client("sagemaker").delete_model_package(ModelPackageName=package["ModelPackageArn"])
    cloud.client("sagemaker").delete_model_package_group(ModelPackageGroupName="sweeping-grown")


@pytest.mark.parametrize(
    ("model", "kind", "reason"),
    [
        ("bucketless", "Custom::BucketSweep", "not empty"),
        ("packageless", "Custom::ModelPackageSweep", "still contains model packages"),
    ],
)
def test_fails_without_the_sweeper(cloud: "Cloud", tmp_path: Path, model: str, kind: str, reason: str) -> None:
    """Without the sweeper non-empty buckets and groups block deletion with a reason, in our own deployer too."""
    from mlops_local.stacks.deployer import DeployError, deploy, destroy

    assembly = _assembly(tmp_path / "cdk.out", "Unswept", model)
    _without(assembly / "Unswept.template.json", kind)
    outputs = deploy(cloud, assembly)["Unswept"]
    _fill(cloud, outputs)
    _register(cloud, f"sweeping-{model}", 1)

    with pytest.raises(DeployError, match=reason):
        destroy(cloud, assembly)

    for bucket in set(outputs.values()) & _buckets(cloud):
        empty_bucket(cloud.client("s3"), bucket, has_time=lambda: True)
    if kind == "Custom::ModelPackageSweep":
        delete_packages(cloud.client("sagemaker"), f"sweeping-{model}", has_time=lambda: True)
    destroy(cloud, assembly)
    assert not _buckets(cloud) & set(outputs.values())
    assert _groups(cloud) == {}


def test_production_keeps_the_group_and_its_packages(tmp_path: Path) -> None:
    """The template has no sweep, and the group outlives the stack."""
    assembly = _assembly(tmp_path / "cdk.out", "Kept", "forecast", profile=Profile.PRODUCTION)
    resources = json.loads((assembly / "Kept.template.json").read_text())["Resources"]

    assert not [r for r in resources.values() if r["Type"].startswith("Custom::")]
    assert "DeleteModelPackage" not in json.dumps(resources)
    (group,) = (r for r in resources.values() if r["Type"] == "AWS::SageMaker::ModelPackageGroup")
    assert (group["DeletionPolicy"], group["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_the_right_to_delete_packages_names_one_group(tmp_path: Path) -> None:
    """One policy per registry names its group, and the sweep depends on it: the policy lasts until the packages are deleted."""
    assembly = _assembly(tmp_path / "cdk.out", "Exact", "forecast", "price")
    resources = json.loads((assembly / "Exact.template.json").read_text())["Resources"]
    sweeps = {n: r for n, r in resources.items() if r["Type"] == "Custom::ModelPackageSweep"}

    assert sorted(r["Properties"]["ModelPackageGroupName"] for r in sweeps.values()) == [
        "sweeping-forecast",
        "sweeping-price",
    ]
    for sweep in sweeps.values():
        name = sweep["Properties"]["ModelPackageGroupName"]
        (policy,) = (resources[n] for n in sweep["DependsOn"] if resources[n]["Type"] == "AWS::IAM::ManagedPolicy")
        (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
        actions = ["sagemaker:DeleteModelPackage", "sagemaker:ListModelPackages", "sagemaker:ListTags"]
        assert statement["Action"] == actions
        group, packages = statement["Resource"]
        assert resources[group["Fn::GetAtt"][0]]["Properties"]["ModelPackageGroupName"] == name
        assert packages["Fn::Join"][1][-1] == f":model-package/{name}/*"


def test_fails_with_more_registries_than_the_role_can_have_policies() -> None:
    """Fails at synthesis instead of at deployment by IAM."""
    unit = BusinessUnit(cdk.Stack(cdk.App(), "S"), "Unit", name="sweeping", profile=Profile.DEVELOPMENT)
    for number in range(MAXIMUM_REGISTRIES):
        ModelRegistry(unit, f"Registry{number}", business_unit=unit, name=f"model-{number}")

    with pytest.raises(ValidationError, match=r"TooManyRegistries: .* may have at most 8 registries.*, got 9"):
        ModelRegistry(unit, "Registry", business_unit=unit, name="model")


def test_a_role_of_the_units_stack_may_register_in_another_stack(tmp_path: Path) -> None:
    """That registry's sweep depends on the unit's stack, which therefore cannot depend on the sweep."""
    app = cdk.App(outdir=str(tmp_path))
    own, other = cdk.Stack(app, "Own"), cdk.Stack(app, "Other")
    unit = BusinessUnit(own, "Unit", name="sweeping", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(other, "Registry", business_unit=unit, name="forecast")
    service_role(
        own,
        "Role",
        service="lambda.amazonaws.com",
        business_unit=unit,
        description="Registers packages",
        statements=[iam.PolicyStatement(actions=["sagemaker:CreateModelPackage"], resources=[registry.packages_arn])],
        wildcard_reason="packages are numbered at run time, below their own group's name; rejected: all groups",
    )

    assembly = app.synth()

    assert [each.stack_name for each in assembly.stacks] == ["Own", "Other"]
