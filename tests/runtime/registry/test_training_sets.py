"""What model packages were trained from, on the embedded registry."""

import itertools

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.registry.package import package_request
from mlops_runtime.registry.training_sets import TrainedPackage, trained_packages, training_sets_in_use

_number = itertools.count(1)


class Group:
    """A package group of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self.sagemaker, self.name = cloud.client("sagemaker"), f"trained-{next(_number)}"
        self.sagemaker.create_model_package_group(ModelPackageGroupName=self.name)

    def register(self, training_set_id: str, *approvals: str, metadata: dict[str, str] | None = None) -> str:
        """Register a package and give it approvals one after the other; return its version."""
        spec = ModelPackageSpec(
            group=self.name,
            image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
            artifact_uri="s3://artifacts/model.tar.gz",
            artifact_sha256="a" * 64,
            model_sha256="b" * 64,
            training_set_id=training_set_id,
            execution="arn:aws:states:us-east-1:000000000000:execution:Retrain:one",
            baseline_uri="s3://artifacts/baseline.json",
            baseline_sha256="8" * 64,
            evaluation_uri="s3://artifacts/evaluation.json",
        )
        request = package_request(spec)
        if metadata is not None:
            request["CustomerMetadataProperties"] = metadata
        arn: str = self.sagemaker.create_model_package(**request)["ModelPackageArn"]
        for approval in approvals:
            self.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=approval)
        return arn.rpartition(":model-package/")[2]


@pytest.fixture
def group(cloud: Cloud) -> Group:
    """An empty group."""
    return Group(cloud)


def test_sets_of_approved_packages_are_in_use(group: Group, cloud: Cloud) -> None:
    """Neither those that wait nor those that were rejected, also of several groups."""
    other = Group(cloud)
    group.register("1" * 64)
    group.register("2" * 64, "Approved")
    group.register("3" * 64, "Approved", "Rejected")
    other.register("4" * 64, "Approved")

    assert training_sets_in_use(group.sagemaker, [group.name, other.name, group.name]) == {"2" * 64, "4" * 64}
    assert training_sets_in_use(group.sagemaker, [group.name]) == {"2" * 64}
    assert training_sets_in_use(group.sagemaker, []) == frozenset()


def test_packages_say_what_they_were_trained_from(group: Group) -> None:
    """The newest first; a package that somebody registered by hand says nothing."""
    first = group.register("1" * 64, "Approved")
    group.register("2" * 64, metadata={"owner": "ann"})
    third = group.register("3" * 64)

    found = trained_packages(group.sagemaker, [group.name])

    assert set(found) == {
        TrainedPackage(version=first, approval="Approved", training_set_id="1" * 64),
        TrainedPackage(version=third, approval="PendingManualApproval", training_set_id="3" * 64),
    }
    assert len(found) == 2


def test_more_packages_than_a_page_holds(group: Group) -> None:
    """None is lost; ``most`` bounds the calls."""
    ids = {f"{number:064x}" for number in range(103)}
    for training_set_id in ids:
        group.register(training_set_id, "Approved")

    assert training_sets_in_use(group.sagemaker, [group.name]) == ids
    assert len(trained_packages(group.sagemaker, [group.name], most=5)) == 5
