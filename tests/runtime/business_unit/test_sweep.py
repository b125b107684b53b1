"""Emptying a bucket."""

from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.business_unit import sweep


@pytest.fixture
def s3() -> Any:
    """S3 with a versioned bucket of three versions and a delete marker."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket="data")
        client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
        for body in (b"1", b"2"):
            client.put_object(Bucket="data", Key="a", Body=body)
        client.put_object(Bucket="data", Key="b", Body=b"3")
        client.delete_object(Bucket="data", Key="b")
        yield client


def _event(request: str, **fields: Any) -> dict[str, Any]:
    return {"RequestType": request, "ResourceProperties": {"BucketName": "data"}, **fields}


def test_every_version_and_marker_goes(s3: Any) -> None:
    """Afterwards S3 lets the bucket go."""
    assert sweep.empty(s3, "data", has_time=lambda: True) == 4

    s3.delete_bucket(Bucket="data")


def test_pages_are_followed(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More versions than one answer holds are deleted batch by batch."""
    monkeypatch.setattr(sweep, "BATCH", 1)

    assert sweep.empty(s3, "data", has_time=lambda: True) == 4


def test_an_empty_bucket_is_fine(s3: Any) -> None:
    """Nothing to do is success."""
    s3.create_bucket(Bucket="other")

    assert sweep.empty(s3, "other", has_time=lambda: True) == 0


def test_a_bucket_that_is_gone_is_fine(s3: Any) -> None:
    """Somebody deleted it by hand."""
    assert sweep.empty(s3, "gone", has_time=lambda: True) == 0


def test_fails_before_the_function_is_stopped(s3: Any) -> None:
    """CloudFormation hears how to go on."""
    with pytest.raises(
        sweep.SweepError, match="data is not yet empty after 0 versions; delete the stack again to go on"
    ):
        sweep.empty(s3, "data", has_time=lambda: False)


def test_fails_with_what_s3_says() -> None:
    """A locked version is named."""

    class Locked:
        class exceptions:  # noqa: N801 - boto3's own word
            NoSuchBucket = KeyError

        def list_object_versions(self, **_: object) -> dict[str, Any]:
            return {"Versions": [{"Key": "a", "VersionId": "1"}]}

        def delete_objects(self, **_: object) -> dict[str, Any]:
            return {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "locked"}]}

    with pytest.raises(sweep.SweepError, match="a of data cannot be deleted: AccessDenied: locked"):
        sweep.empty(Locked(), "data", has_time=lambda: True)


@pytest.mark.parametrize(("request_type", "bucket"), [("Create", None), ("Update", None), ("Delete", "data")])
def test_only_deletion_empties(request_type: str, bucket: str | None) -> None:
    """Making or changing the resource leaves the data alone."""
    assert sweep.bucket_to_empty(_event(request_type, PhysicalResourceId="data")) == bucket


def test_the_bucket_is_the_physical_id() -> None:
    """Another bucket is another resource, and the old one is deleted, which empties the old bucket."""
    assert sweep.physical_id(_event("Create")) == "data"
    assert sweep.physical_id(_event("Update", PhysicalResourceId="old")) == "data"
    assert sweep.physical_id(_event("Delete", PhysicalResourceId="old")) == "old"
