"""Emptying buckets and package groups."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from mlops_runtime.business_unit import sweep


@pytest.fixture
def s3() -> Any:
    """Return S3 with a versioned bucket of three versions and a delete marker."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket="data")
        client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
        for body in (b"1", b"2"):
            client.put_object(Bucket="data", Key="a", Body=body)
        client.put_object(Bucket="data", Key="b", Body=b"3")
        client.delete_object(Bucket="data", Key="b")
        yield client


ARN = "arn:aws:sagemaker:us-east-1:111111111111:model-package/demand-forecast/"


def _event(request: str, kind: str = sweep.BUCKET, **fields: Any) -> dict[str, Any]:
    properties = {"BucketName": "data"} if kind == sweep.BUCKET else {"ModelPackageGroupName": "demand-forecast"}
    return {
        "RequestType": request,
        "ResourceType": kind,
        "LogicalResourceId": "Sweep",
        "ResourceProperties": properties,
        **fields,
    }


class Registry:
    """SageMaker's scripted responses about a group, validated by its shapes."""

    def __init__(self) -> None:
        self.client: Any = boto3.client(
            "sagemaker", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.pauses: list[float] = []

    def lists(self, *versions: int, status: str = "Completed") -> None:
        """List packages with these numbers."""
        summaries = [
            {"ModelPackageArn": f"{ARN}{v}", "CreationTime": 0, "ModelPackageStatus": status} for v in versions
        ]
        self.stub.add_response(
            "list_model_packages",
            {"ModelPackageSummaryList": summaries},
            {"ModelPackageGroupName": "demand-forecast", "MaxResults": sweep.PAGE},
        )

    def deletes(self, version: int) -> None:
        """Expect the deletion of a package."""
        self.stub.add_response("delete_model_package", {}, {"ModelPackageName": f"{ARN}{version}"})

    def refuses_with(self, operation: str, message: str, code: str = "ValidationException") -> None:
        """Fail with an error of SageMaker."""
        self.stub.add_client_error(operation, code, message)

    def sweep(self, has_time: bool = True) -> int:
        """Delete the packages."""
        deleted = sweep.delete_packages(
            self.client, "demand-forecast", has_time=lambda: has_time, pause=self.pauses.append
        )
        self.stub.assert_no_pending_responses()
        return deleted


def test_every_version_and_marker_goes(s3: Any) -> None:
    """S3 can delete the bucket afterwards."""
    assert sweep.empty_bucket(s3, "data", has_time=lambda: True) == 4

    s3.delete_bucket(Bucket="data")


def test_pages_are_followed(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are deleted batch by batch."""
    monkeypatch.setattr(sweep, "BATCH", 1)

    assert sweep.empty_bucket(s3, "data", has_time=lambda: True) == 4


def test_an_empty_bucket_is_fine(s3: Any) -> None:
    """Nothing to do is success."""
    s3.create_bucket(Bucket="other")

    assert sweep.empty_bucket(s3, "other", has_time=lambda: True) == 0


def test_a_bucket_that_is_gone_is_fine(s3: Any) -> None:
    """It was deleted manually."""
    assert sweep.empty_bucket(s3, "gone", has_time=lambda: True) == 0


def test_fails_before_the_function_is_stopped(s3: Any) -> None:
    """CloudFormation gets the reason and the fix."""
    with pytest.raises(
        sweep.SweepError, match="data is not empty yet after 0 deleted versions; delete the stack again to continue"
    ):
        sweep.empty_bucket(s3, "data", has_time=lambda: False)


def test_fails_with_what_s3_says() -> None:
    """The error names a locked version."""

    class Locked:
        class exceptions:  # noqa: N801 - boto3's own word
            NoSuchBucket = KeyError

        def list_object_versions(self, **_: object) -> dict[str, Any]:
            return {"Versions": [{"Key": "a", "VersionId": "1"}]}

        def delete_objects(self, **_: object) -> dict[str, Any]:
            return {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "locked"}]}

    with pytest.raises(sweep.SweepError, match="a of data cannot be deleted: AccessDenied: locked"):
        sweep.empty_bucket(Locked(), "data", has_time=lambda: True)


def test_every_package_goes() -> None:
    """Packages are deleted page by page."""
    registry = Registry()
    registry.lists(1, 2)
    registry.deletes(1)
    registry.deletes(2)
    registry.lists(3)
    registry.deletes(3)
    registry.lists()

    assert (registry.sweep(), registry.pauses) == (3, [])


def test_a_package_that_is_being_deleted_is_waited_for() -> None:
    """The group can only be deleted once SageMaker lists none."""
    registry = Registry()
    registry.lists(1)
    registry.deletes(1)
    registry.lists(1, status="Deleting")
    registry.lists()

    assert registry.sweep() == 1
    assert len(registry.pauses) == 1


def test_a_group_or_package_that_is_gone_is_fine() -> None:
    """It was deleted manually."""
    registry = Registry()
    registry.lists(1)
    registry.refuses_with("delete_model_package", "Model package does not exist.")
    registry.refuses_with("list_model_packages", "Model Package Group does not exist.")

    assert registry.sweep() == 1


@pytest.mark.parametrize("operation", ["list_model_packages", "delete_model_package"])
def test_fails_with_what_sagemaker_says(operation: str) -> None:
    """An access error differs from a missing package."""
    registry = Registry()
    if operation == "delete_model_package":
        registry.lists(1)
    registry.refuses_with(operation, "not authorized", "AccessDeniedException")

    with pytest.raises(ClientError, match="not authorized"):
        registry.sweep()


def test_fails_before_the_function_is_stopped_by_packages() -> None:
    """CloudFormation gets the reason and the fix."""
    registry = Registry()
    registry.lists(1)

    with pytest.raises(
        sweep.SweepError,
        match="demand-forecast is not empty yet after 0 deleted packages; delete the stack again to continue",
    ):
        registry.sweep(has_time=False)


@pytest.mark.parametrize("kind", [sweep.BUCKET, sweep.PACKAGES])
@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_only_deletion_empties(kind: str, request_type: str) -> None:
    """Creating or updating the resource creates no client."""
    event = _event(request_type, kind, PhysicalResourceId="old")

    assert sweep.sweep(event, client=pytest.fail, has_time=lambda: True) == 0


def test_what_was_not_created_has_nothing_to_empty() -> None:
    """The function has no access to the resource's own placeholder name."""
    event = _event("Delete", PhysicalResourceId="Sweep")

    assert sweep.sweep(event, client=pytest.fail, has_time=lambda: True) == 0


def test_deletion_empties_what_the_physical_id_names(s3: Any) -> None:
    """A bucket by S3, a group by SageMaker; the properties may already have the new name."""
    registry = Registry()
    registry.stub.add_response(
        "list_model_packages",
        {"ModelPackageSummaryList": []},
        {"ModelPackageGroupName": "old-group", "MaxResults": sweep.PAGE},
    )
    clients = {"s3": s3, "sagemaker": registry.client}
    s3.put_bucket_tagging(Bucket="data", Tagging={"TagSet": [{"Key": sweep.MARK, "Value": "true"}]})

    def run(kind: str, name: str) -> int:
        return sweep.sweep(
            _event("Delete", kind, PhysicalResourceId=name), client=clients.__getitem__, has_time=lambda: True
        )

    assert run(sweep.BUCKET, "data") == 4
    assert run(sweep.PACKAGES, "old-group") == 0
    registry.stub.assert_no_pending_responses()


def test_what_has_lost_its_tag_stays(s3: Any) -> None:
    """A unit that became PRODUCTION keeps bucket and group; an unreadable bucket is kept too."""
    registry = Registry()
    registry.lists(1, 2)
    group = ARN.rstrip("/").replace(":model-package/", ":model-package-group/")
    registry.stub.add_response("list_tags", {"Tags": [{"Key": "other", "Value": "x"}]}, {"ResourceArn": group})
    clients = {"s3": s3, "sagemaker": registry.client}
    for kind, name in ((sweep.BUCKET, "data"), (sweep.BUCKET, "gone"), (sweep.PACKAGES, "demand-forecast")):
        event = _event("Delete", kind, PhysicalResourceId=name)
        assert sweep.sweep(event, client=clients.__getitem__, has_time=lambda: True) == 0
    registry.stub.assert_no_pending_responses()

    denied = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    stub = Stubber(denied)
    stub.add_client_error("get_bucket_tagging", "AccessDenied", http_status_code=403)
    stub.activate()
    assert sweep.is_bucket_marked(denied, "data") is False


def test_a_marked_group_may_be_swept() -> None:
    """Its tag is read by the group's ARN."""
    registry = Registry()
    registry.lists(3)
    group = ARN.rstrip("/").replace(":model-package/", ":model-package-group/")
    registry.stub.add_response("list_tags", {"Tags": [{"Key": sweep.MARK, "Value": "true"}]}, {"ResourceArn": group})

    assert sweep.is_group_marked(registry.client, "demand-forecast") is True


@pytest.mark.parametrize(("kind", "name"), [(sweep.BUCKET, "data"), (sweep.PACKAGES, "demand-forecast")])
def test_the_name_is_the_physical_id(kind: str, name: str) -> None:
    """Another name is another resource; deleting the old one empties its bucket or group."""
    assert sweep.physical_id(_event("Create", kind)) == name
    assert sweep.physical_id(_event("Update", kind, PhysicalResourceId="old")) == name
    assert sweep.physical_id(_event("Delete", kind, PhysicalResourceId="old")) == "old"


@pytest.mark.parametrize("kind", [sweep.BUCKET, sweep.PACKAGES])
def test_a_cancelled_creation_has_nothing_to_sweep(kind: str) -> None:
    """CloudFormation sends its own id, for which no client is called."""
    event = _event("Delete", kind, PhysicalResourceId="stack-Sweep-0K2J4H6G8F1D")
    assert sweep.sweep(event, client=lambda _: None, has_time=lambda: True) == 0


def test_fails_on_a_type_that_is_not_swept() -> None:
    """The error lists the types."""
    message = "resource type must be one of Custom::BucketSweep, Custom::ModelPackageSweep, got Custom::Other"
    with pytest.raises(sweep.SweepError, match=message):
        sweep.physical_id(_event("Create", "Custom::Other"))


def test_fails_without_a_name() -> None:
    """The error has the missing property."""
    with pytest.raises(sweep.SweepError, match="Custom::BucketSweep needs property BucketName, got none"):
        sweep.physical_id(_event("Create", ResourceProperties={}))
