"""A person's basis for a decision: problems of a package and of its evidence."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.registry.model_package import PackageError, package_request, registered_metadata
from mlops_runtime.registry.package_case import PackageCase
from mlops_runtime.registry.package_finder import PackageFinder
from mlops_runtime.registry.package_registry import Evidence

NOW = datetime(2017, 8, 10, tzinfo=UTC)
SPEC = ModelPackageSpec(
    group="demand-forecast",
    image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
    artifact_uri="s3://artifacts/models/demand-forecast/one/model.tar.gz",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    execution="arn:aws:states:us-east-1:000000000000:execution:Retrain:one",
    baseline_uri="s3://artifacts/baseline.json",
    baseline_sha256="8" * 64,
    evaluation_uri="s3://artifacts/evaluation.json",
)


def _nothing(_service: str) -> Any:
    raise AssertionError("no call is needed")


def case() -> PackageCase:
    """Return a pending package as SageMaker describes it."""
    request = package_request(SPEC)
    container = request["InferenceSpecification"]["Containers"][0]
    description = {
        **request,
        "ModelPackageArn": "arn:aws:sagemaker:us-east-1:000000000000:model-package/demand-forecast/3",
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "PendingManualApproval",
        "CreationTime": NOW,
        "CustomerMetadataProperties": registered_metadata(container, request["CustomerMetadataProperties"]),
    }
    return PackageCase(
        finder=PackageFinder(client=_nothing), description=description, rule=None, evidence=Evidence(), now=NOW
    )


def test_a_sound_package_may_be_approved() -> None:
    """It has no problem and is pending."""
    found = case()

    found.require_approvable()
    assert (found.version, found.review.problems, found.is_settled, found.not_compared) == (
        "demand-forecast/3",
        (),
        False,
        None,
    )


def test_problems_of_evidence_forbid_an_approval_too() -> None:
    """Each is named once, next to those of the package."""
    found = replace(case(), evidence=Evidence(problems=("the evaluation cannot be read",)))
    failed = replace(found, description={**found.description, "ModelPackageStatus": "Failed"})

    assert found.review.problems == ("the evaluation cannot be read",)
    with pytest.raises(PackageError) as refused:
        failed.require_approvable()
    assert "the evaluation cannot be read" in refused.value.problems
    assert any("ModelPackageStatus must be Completed" in problem for problem in refused.value.problems)
