"""What a registry without an endpoint has: moto's S3, and SageMaker's answers as botocore shapes them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws
from tests.released import SOURCE, release

from mlops_runtime.contracts.unit_entries import UnitEntry
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry
from mlops_runtime.registry.registry_overview import RegistryOverview, read_registry, waiting_packages

UNIT = UnitEntry(
    unit="demand",
    automation_table="a",
    audit_bucket="audit",
    artifacts_bucket="artifacts",
    bus="bus",
    heads_bucket="heads",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)
GROUP = "demand-forecast"
AT = datetime(2017, 8, 1, 9, tzinfo=UTC)

Read = Callable[..., RegistryOverview]


def package(version: int, approval: str) -> dict[str, Any]:
    """One line of a listing."""
    return {
        "ModelPackageArn": SOURCE.arn("sagemaker", f"model-package/{GROUP}/{version}"),
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": approval,
        "CreationTime": AT,
    }


@pytest.fixture
def s3() -> Iterator[Any]:
    """The unit's bucket of artifacts."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        client.create_bucket(Bucket="artifacts")
        yield client


@pytest.fixture
def read(s3: Any) -> Read:
    """Read a registry that releases, by default, and has these packages."""

    def found(*, approved: int | None, waiting: tuple[int, ...] = (), releases: str | None = GROUP) -> RegistryOverview:
        sagemaker = boto3.client("sagemaker", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        stub = Stubber(sagemaker)
        listed = [] if approved is None else [package(approved, "Approved")]
        stub.add_response("list_model_packages", {"ModelPackageSummaryList": listed})
        if approved is not None:
            metadata = {"model_sha256": "b" * 64}
            described = {**listed[0], "LastModifiedTime": AT, "CustomerMetadataProperties": metadata}
            described["ModelPackageStatusDetails"] = {"ValidationStatuses": []}
            stub.add_response("describe_model_package", {**described, "ModelPackageName": "none"})
        stub.add_response(
            "list_model_packages",
            {"ModelPackageSummaryList": [package(each, "PendingManualApproval") for each in waiting]},
        )
        stub.activate()
        entry = RegistryEntry(group=GROUP, unit="demand", rule=ApprovalRule(), releases=releases)
        return read_registry(sagemaker, s3, unit=UNIT, registry=entry)

    return found


def test_the_newest_of_each_kind_is_found(read: Read, s3: Any) -> None:
    """What was released last is that of the object that was written last."""
    for version in (6, 7):
        found = release(version=version, archive=bytes([version]))
        s3.put_object(Bucket="artifacts", Key=found.key, Body=found.content)

    overview = read(approved=8, waiting=(10, 9))

    assert overview.released is not None
    assert overview.released.version == f"{GROUP}/7"
    assert overview.approved is not None
    assert (overview.approved.version, overview.approved.model_sha256) == (f"{GROUP}/8", "b" * 64)
    assert overview.waiting is not None
    assert [arn.rpartition("/")[2] for arn in overview.waiting] == ["10", "9"]


def test_a_registry_in_which_nothing_is_decided_has_nothing(read: Read) -> None:
    """One that releases nothing is not asked for releases: its unit may have no bucket that this caller may list."""
    nothing, closed = read(approved=None), read(approved=None, releases=None)

    assert (nothing.approved, nothing.released, nothing.is_releasing, nothing.unread) == (None, None, True, "")
    assert (closed.released, closed.is_releasing, closed.unread) == (None, False, "")


def test_releases_that_cannot_be_read_hide_no_approval(read: Read, s3: Any) -> None:
    """A record of another version of the platform, or a bucket that is gone."""
    s3.put_object(Bucket="artifacts", Key=f"releases/{GROUP}/one.json", Body=b"{}")
    other = read(approved=8)
    s3.delete_object(Bucket="artifacts", Key=f"releases/{GROUP}/one.json")
    s3.delete_bucket(Bucket="artifacts")
    gone = read(approved=8)

    assert [each.approved is not None for each in (other, gone)] == [True, True]
    assert "is not the record of a release" in other.unread
    assert "NoSuchBucket" in gone.unread


@pytest.mark.parametrize(
    ("code", "found"), [("AccessDeniedException", None), ("ValidationException", ()), ("ThrottlingException", "raised")]
)
def test_packages_that_may_not_be_listed_are_unknown(code: str, found: object) -> None:
    """A group that does not exist has none, and any other answer is an error."""
    sagemaker = boto3.client("sagemaker", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    stub = Stubber(sagemaker)
    stub.add_client_error("list_model_packages", code)
    stub.activate()

    if found == "raised":
        with pytest.raises(ClientError):
            waiting_packages(sagemaker, GROUP)
    else:
        assert waiting_packages(sagemaker, GROUP) == found
