"""Failures of checks if the registry differs; ``tests/cli/test_verify.py`` covers passing checks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.verify.answers import DEPLOYED, Answers, Refused, answered

from mlops_runtime.verify.package_checks import PackageChecks
from mlops_runtime.verify.probe_model import times
from mlops_runtime.verify.problems import CheckError

CONTAINER = {
    "Image": DEPLOYED.image,
    "ModelDataUrl": f"s3://artifacts/models/{DEPLOYED.outputs['EndpointName']}/{times(1.0).archive_sha256[:12]}/output/model.tar.gz",
    "Environment": {"MLOPS_MODEL_SHA256": times(1.0).model_sha256},
}
MADE = {"PutObject": {}, "CreateModelPackage": {"ModelPackageArn": "arn:aws:sagemaker:us-east-1:1:model-package/g/1"}}


def checks(**table: Any) -> tuple[PackageChecks, Answers]:
    """Return checks of a registry with a given description of packages."""
    answers = Answers(**{**MADE, **table})
    return PackageChecks(answered(answers), DEPLOYED), answers


def described(**more: Any) -> dict[str, Any]:
    """Return a package's description."""
    return {"InferenceSpecification": {"Containers": [CONTAINER | more]}}


def test_a_package_that_someone_changed_by_registering_it_fails() -> None:
    """The message contains the fields of ``LastModifiedBy``."""
    registered = {"CreatedBy": {"IamIdentity": {"Arn": "a"}}}
    found, _ = checks(DescribeModelPackage={**registered, "LastModifiedBy": {"IamIdentity": {"Arn": "a"}}})
    with pytest.raises(CheckError, match="LastModifiedBy of a package without an update has IamIdentity"):
        found.registering_is_no_modification()

    found, _ = checks(DescribeModelPackage=registered)
    assert found.registering_is_no_modification() == "CreatedBy and no LastModifiedBy"
    found, _ = checks(DescribeModelPackage={})
    with pytest.raises(CheckError, match="does not say who registered"):
        found.registering_is_no_modification()


def test_a_third_field_of_a_container_fails() -> None:
    """A changed or missing field fails too."""
    found, _ = checks(DescribeModelPackage=described(ImageDigest="d", ModelDataETag="e"))
    assert found.gains_two_fields() == "3 fields as given, added: ImageDigest, ModelDataETag"

    found, _ = checks(DescribeModelPackage=described(ImageDigest="d", IsCheckpoint=True))
    with pytest.raises(CheckError, match="SageMaker added ImageDigest, IsCheckpoint"):
        found.gains_two_fields()
    found, _ = checks(DescribeModelPackage=described(Image="another"))
    with pytest.raises(CheckError, match="changed or missing: Image"):
        found.gains_two_fields()


def test_a_version_that_is_used_again_fails() -> None:
    """The first was deleted before the second was registered."""
    found, answers = checks(DescribeModelPackage=[{"ModelPackageVersion": 4}], DeleteModelPackage={})
    with pytest.raises(CheckError, match="after version 4 was deleted the next package is version 4"):
        found.versions_are_not_used_again()
    names = [name for name, _ in answers.calls]
    assert names.index("DeleteModelPackage") < len(names) - names[::-1].index("CreateModelPackage") - 1


def test_an_image_that_is_taken_from_nowhere_fails_and_its_package_goes() -> None:
    """A refusal must name the image; the absent one is of the account's own registry."""
    found, answers = checks(DeleteModelPackage={})
    with pytest.raises(CheckError, match="whose image is in no registry is taken"):
        found.image_is_checked()
    assert (
        "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-verify-absent@"
        in answers.requests_of("CreateModelPackage")[0]
    )
    assert len(answers.requests_of("DeleteModelPackage")) == 1

    found, _ = checks(CreateModelPackage=Refused("the group is full"))
    with pytest.raises(CheckError, match="refused for another reason, as ValidationException: the group is full"):
        found.image_is_checked()
    found, _ = checks(CreateModelPackage=Refused("could not find image"))
    assert found.image_is_checked() == "ValidationException: could not find image"
