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
    """SageMaker's answers about one group, in order, checked against its shapes."""

    def __init__(self) -> None:
        self.client: Any = boto3.client(
            "sagemaker", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.pauses: list[float] = []

    def lists(self, *versions: int, status: str = "Completed") -> None:
        """Packages with these numbers are there."""
        summaries = [
            {"ModelPackageArn": f"{ARN}{v}", "CreationTime": 0, "ModelPackageStatus": status} for v in versions
        ]
        self.stub.add_response(
            "list_model_packages",
            {"ModelPackageSummaryList": summaries},
            {"ModelPackageGroupName": "demand-forecast", "MaxResults": sweep.PAGE},
        )

    def deletes(self, version: int) -> None:
        """The package goes."""
        self.stub.add_response("delete_model_package", {}, {"ModelPackageName": f"{ARN}{version}"})

    def says(self, operation: str, message: str, code: str = "ValidationException") -> None:
        """SageMaker refuses."""
        self.stub.add_client_error(operation, code, message)

    def sweep(self, has_time: bool = True) -> int:
        """Delete the packages."""
        deleted = sweep.delete_packages(
            self.client, "demand-forecast", has_time=lambda: has_time, pause=self.pauses.append
        )
        self.stub.assert_no_pending_responses()
        return deleted


def test_every_version_and_marker_goes(s3: Any) -> None:
    """Afterwards S3 lets the bucket go."""
    assert sweep.empty_bucket(s3, "data", has_time=lambda: True) == 4

    s3.delete_bucket(Bucket="data")


def test_pages_are_followed(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More versions than one answer holds are deleted batch by batch."""
    monkeypatch.setattr(sweep, "BATCH", 1)

    assert sweep.empty_bucket(s3, "data", has_time=lambda: True) == 4


def test_an_empty_bucket_is_fine(s3: Any) -> None:
    """Nothing to do is success."""
    s3.create_bucket(Bucket="other")

    assert sweep.empty_bucket(s3, "other", has_time=lambda: True) == 0


def test_a_bucket_that_is_gone_is_fine(s3: Any) -> None:
    """Somebody deleted it by hand."""
    assert sweep.empty_bucket(s3, "gone", has_time=lambda: True) == 0


def test_fails_before_the_function_is_stopped(s3: Any) -> None:
    """CloudFormation hears how to go on."""
    with pytest.raises(
        sweep.SweepError, match="data is not empty yet after 0 deleted versions; delete the stack again to continue"
    ):
        sweep.empty_bucket(s3, "data", has_time=lambda: False)


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
        sweep.empty_bucket(Locked(), "data", has_time=lambda: True)


def test_every_package_goes() -> None:
    """More packages than one answer holds are deleted page by page."""
    registry = Registry()
    registry.lists(1, 2)
    registry.deletes(1)
    registry.deletes(2)
    registry.lists(3)
    registry.deletes(3)
    registry.lists()

    assert (registry.sweep(), registry.pauses) == (3, [])


def test_a_package_that_is_being_deleted_is_waited_for() -> None:
    """The group cannot go before SageMaker lists none."""
    registry = Registry()
    registry.lists(1)
    registry.deletes(1)
    registry.lists(1, status="Deleting")
    registry.lists()

    assert registry.sweep() == 1
    assert len(registry.pauses) == 1


def test_a_group_or_package_that_is_gone_is_fine() -> None:
    """Somebody deleted it by hand."""
    registry = Registry()
    registry.lists(1)
    registry.says("delete_model_package", "Model package does not exist.")
    registry.says("list_model_packages", "Model Package Group does not exist.")

    assert registry.sweep() == 1


@pytest.mark.parametrize("operation", ["list_model_packages", "delete_model_package"])
def test_fails_with_what_sagemaker_says(operation: str) -> None:
    """A denial is no absence."""
    registry = Registry()
    if operation == "delete_model_package":
        registry.lists(1)
    registry.says(operation, "not authorized", "AccessDeniedException")

    with pytest.raises(ClientError, match="not authorized"):
        registry.sweep()


def test_fails_before_the_function_is_stopped_by_packages() -> None:
    """CloudFormation hears how to go on."""
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
    """Making or changing the resource leaves the data alone: no client is even made."""
    event = _event(request_type, kind, PhysicalResourceId="old")

    assert sweep.sweep(event, client=pytest.fail, has_time=lambda: True) == 0


def test_what_was_not_created_has_nothing_to_empty() -> None:
    """The function's rights do not reach a bucket or group of the resource's own name."""
    event = _event("Delete", PhysicalResourceId="Sweep")

    assert sweep.sweep(event, client=pytest.fail, has_time=lambda: True) == 0


def test_deletion_empties_what_the_physical_id_names(s3: Any) -> None:
    """A bucket with S3, a group with SageMaker; the properties may name the new one already."""
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
    """Bucket and group of a unit that became PRODUCTION; a bucket whose policy is gone cannot be looked at, and stays too."""
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
    """Its tag is read by the group's own ARN."""
    registry = Registry()
    registry.lists(3)
    group = ARN.rstrip("/").replace(":model-package/", ":model-package-group/")
    registry.stub.add_response("list_tags", {"Tags": [{"Key": sweep.MARK, "Value": "true"}]}, {"ResourceArn": group})

    assert sweep.is_group_marked(registry.client, "demand-forecast") is True


@pytest.mark.parametrize(("kind", "name"), [(sweep.BUCKET, "data"), (sweep.PACKAGES, "demand-forecast")])
def test_the_name_is_the_physical_id(kind: str, name: str) -> None:
    """Another name is another resource, and the old one is deleted, which empties the old bucket or group."""
    assert sweep.physical_id(_event("Create", kind)) == name
    assert sweep.physical_id(_event("Update", kind, PhysicalResourceId="old")) == name
    assert sweep.physical_id(_event("Delete", kind, PhysicalResourceId="old")) == "old"


@pytest.mark.parametrize("kind", [sweep.BUCKET, sweep.PACKAGES])
def test_a_cancelled_creation_has_nothing_to_sweep(kind: str) -> None:
    """CloudFormation asks by an id of its own, which no client may look at."""
    event = _event("Delete", kind, PhysicalResourceId="stack-Sweep-0K2J4H6G8F1D")
    assert sweep.sweep(event, client=lambda _: None, has_time=lambda: True) == 0


def test_fails_on_a_type_that_is_not_swept() -> None:
    """Which are is said."""
    message = "resource type must be one of Custom::BucketSweep, Custom::ModelPackageSweep, got Custom::Other"
    with pytest.raises(sweep.SweepError, match=message):
        sweep.physical_id(_event("Create", "Custom::Other"))


def test_fails_without_a_name() -> None:
    """What is missing is said."""
    with pytest.raises(sweep.SweepError, match="Custom::BucketSweep needs property BucketName, got none"):
        sweep.physical_id(_event("Create", ResourceProperties={}))
