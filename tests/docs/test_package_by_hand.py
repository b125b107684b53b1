"""The page about externally trained models: a package registered by hand can be deployed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from examples.pages.package_by_hand import register_again

from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.registry.model_package import package_request, read_package
from mlops_runtime.registry.package_approval import ApprovalRule, unapprovable

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NEWER = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "2" * 64
SPEC = ModelPackageSpec(
    group="demand-forecast",
    image=NEWER.replace("2" * 64, "1" * 64),
    artifact_uri="s3://artifacts/models/demand-forecast/one/model.tar.gz",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    execution="arn:aws:states:us-east-1:123456789012:execution:Retrain:one",
    baseline_uri="s3://artifacts/evaluations/demand-forecast/one/baseline.json",
    baseline_sha256="8" * 64,
    evaluation_uri="s3://artifacts/evaluations/demand-forecast/one/evaluation.json",
    environment={"MLOPS_SIGNATURE_SHA256": "9" * 64},
    signing_key="arn:aws:kms:us-east-1:123456789012:key/1",
    flavor="lightgbm",
    trust="data",
)


class Registry:
    """SageMaker's registry with one group."""

    def __init__(self) -> None:
        self.packages: list[dict[str, Any]] = []
        self.create_model_package(**package_request(SPEC))

    def create_model_package(self, **request: Any) -> dict[str, str]:
        """CreateModelPackage."""
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/{len(self.packages) + 1}"
        described = {
            "ModelPackageArn": arn,
            "ModelPackageStatus": "Completed",
            "CreationTime": NOW - timedelta(hours=1),
        }
        self.packages.append(request | described)
        return {"ModelPackageArn": arn}

    def describe_model_package(self, *, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """DescribeModelPackage."""
        return next(each for each in self.packages if each["ModelPackageArn"] == ModelPackageName)


def test_a_model_is_registered_again_in_another_image() -> None:
    """The package is pending and can be approved; everything but the image equals the evaluated one."""
    registry = Registry()
    arn = register_again(registry, registry.packages[0]["ModelPackageArn"], image=NEWER)
    described = registry.describe_model_package(ModelPackageName=arn)
    rule = ApprovalRule(artifacts=("s3://artifacts/models/demand-forecast/",), timeout_seconds=86400)
    assert (arn.rpartition("/")[2], described["ModelApprovalStatus"]) == ("2", "PendingManualApproval")
    assert unapprovable(described, rule=rule, now=NOW) == []
    spec = read_package(described).spec
    assert (spec.image, spec.trust, spec.environment) == (NEWER, "data", SPEC.environment)
