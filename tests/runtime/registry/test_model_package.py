"""Package requests and descriptions."""

from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.registry.package_samples import SPEC as PACKAGE

from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.registry.model_package import (
    PackageError,
    container_environment,
    package_request,
    read_package,
    registered_metadata,
)

ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1"
SPEC = replace(PACKAGE, environment={"MODE": "fast"})


def _described(request: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return request | {"ModelPackageArn": ARN, "ModelPackageStatus": "Completed"} | changes


def test_request_has_the_shape_of_its_operation() -> None:
    """Botocore's model accepts it."""
    assert check_request("sagemaker", "CreateModelPackage", package_request(SPEC)) == []


def test_what_is_registered_is_read_back() -> None:
    """The server's digest is in the environment and read back as a field."""
    package = read_package(_described(package_request(SPEC, approval="Approved")))
    assert package.spec == replace(SPEC, package_arn=ARN)
    assert package.is_approved


@pytest.mark.parametrize(("approval", "status"), [("Approved", "Pending"), ("Rejected", "Completed")])
def test_only_a_completed_and_approved_package_is_approved(approval: str, status: str) -> None:
    """Both fields are required."""
    described = _described(package_request(SPEC, approval=approval), ModelPackageStatus=status)
    assert not read_package(described).is_approved


@pytest.mark.parametrize(
    ("modified", "person"),
    [
        ({"UserProfileName": "anna"}, "anna"),
        ({"IamIdentity": {"Arn": "arn:role", "SourceIdentity": "anna"}}, "anna"),
        ({"IamIdentity": {"Arn": "arn:role"}}, "arn:role"),
        ({}, None),
    ],
)
def test_who_approved_is_the_closest_to_a_person(modified: dict[str, Any], person: str | None) -> None:
    """In this order: Studio profile, source identity, role."""
    assert read_package(_described(package_request(SPEC), LastModifiedBy=modified)).approved_by == person


def test_fails_with_every_problem_of_a_package() -> None:
    """A tag, a missing digest and a wrong one together."""
    request = package_request(replace(SPEC, image="repository:latest", artifact_uri="http://x", model_sha256="b"))
    del request["CustomerMetadataProperties"]["baseline_uri"], request["CustomerMetadataProperties"]["baseline_sha256"]
    with pytest.raises(PackageError) as error:
        read_package(_described(request))
    text = str(error.value)
    for part in ("must be named by digest, got 'repository:latest'", "must be an S3 URI", "baseline_uri is missing"):
        assert part in text
    assert "CustomerMetadataProperties.baseline_sha256 is missing" in error.value.problems
    assert "model_sha256 must be 64 hexadecimal digits, got 'b'" in text
    assert "it was changed after it was registered" in text
    assert len(error.value.problems) == 6


@pytest.mark.parametrize("named", [None, "none", "8"])
def test_a_package_carries_the_hash_of_its_baseline(named: str | None) -> None:
    """It is read back; a manually registered package without a valid hash is rejected."""
    request = package_request(SPEC)
    assert read_package(_described(request)).spec.baseline_sha256 == SPEC.baseline_sha256
    container = request["InferenceSpecification"]["Containers"][0]
    metadata = {**request["CustomerMetadataProperties"], "baseline_sha256": named}
    by_hand = registered_metadata(container, {name: value for name, value in metadata.items() if value is not None})
    found = "is missing" if named is None else f"must be 64 hexadecimal digits, got {named!r}"
    with pytest.raises(PackageError) as error:
        read_package(_described(request, CustomerMetadataProperties=by_hand))
    assert error.value.problems == (f"CustomerMetadataProperties.baseline_sha256 {found}",)


def test_fails_when_the_server_would_check_something_else() -> None:
    """The digest in the environment differs from the metadata's, or is missing."""
    request = package_request(SPEC)
    environment = request["InferenceSpecification"]["Containers"][0]["Environment"]
    environment["MLOPS_MODEL_SHA256"] = "d" * 64
    with pytest.raises(PackageError, match="MLOPS_MODEL_SHA256 of the container is 'dddd"):
        read_package(_described(request))
    del environment["MLOPS_MODEL_SHA256"]
    with pytest.raises(PackageError, match="could not verify the model"):
        read_package(_described(request))


def test_fails_when_a_package_has_two_containers() -> None:
    """Pipelines of containers are not supported."""
    request = package_request(SPEC)
    request["InferenceSpecification"]["Containers"] *= 2
    with pytest.raises(PackageError, match="must have 1 container, got 2"):
        read_package(_described(request))


def test_what_loads_a_model_is_read_back() -> None:
    """With its trust; ONNX packages have neither."""
    spec = replace(SPEC, flavor="lightgbm", trust="data")
    request = package_request(spec)
    (container,) = request["InferenceSpecification"]["Containers"]  # type: ignore[index]
    assert container["Environment"]["MLOPS_TRUST"] == "data"
    assert read_package(_described(request)).spec == replace(spec, package_arn=ARN)
    assert "MLOPS_TRUST" not in container_environment(SPEC)


@pytest.mark.parametrize(
    ("metadata", "environment", "message"),
    [
        ({"flavor": "pickle"}, {}, "must have flavor and trust, or neither for ONNX, got flavor alone"),
        ({"flavor": "magic", "trust": "data"}, {"MLOPS_TRUST": "data"}, "flavor must be one of xgboost, .*got 'magic'"),
        ({"flavor": "pickle", "trust": "all"}, {"MLOPS_TRUST": "all"}, "trust must be one of data, code, pickle, got 'all'"),
        ({}, {"MLOPS_TRUST": "pickle"}, "MLOPS_TRUST of the container is 'pickle', but trust of the metadata is missing"),
        ({"flavor": "handler", "trust": "code"}, {}, "MLOPS_TRUST of the container is 'missing', but .* is 'code'"),
    ],
)  # fmt: skip
def test_fails_where_trust_is_said_twice(metadata: dict[str, str], environment: dict[str, str], message: str) -> None:
    """The server uses the environment, people read the metadata."""
    request: dict[str, Any] = package_request(SPEC)
    container = request["InferenceSpecification"]["Containers"][0]
    container["Environment"] |= environment
    changed = request["CustomerMetadataProperties"] | metadata
    request["CustomerMetadataProperties"] = registered_metadata(container, changed)
    with pytest.raises(PackageError, match=message):
        read_package(_described(request))
