"""Empty resources that CloudFormation deletes only if they are empty: versioned buckets and model package groups.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/empty-bucket.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-delete-model-group.html
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.lambda_protocol import is_made_up, is_missing

BATCH = 1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
PAGE = 100  # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModelPackages.html
BUCKET = "Custom::BucketSweep"
PACKAGES = "Custom::ModelPackageSweep"
MARK = "mlops:swept"  # tag of resources that may be emptied; a unit that becomes PRODUCTION loses it before its sweeper is deleted
_POLL = 2.0  # seconds between checks for packages that SageMaker is deleting
_NAMES = {BUCKET: "BucketName", PACKAGES: "ModelPackageGroupName"}

HasTime = Callable[[], bool]


class SweepError(RuntimeError):
    """An object or package could not be deleted; the message names the first one."""


def physical_id(event: Mapping[str, Any]) -> str:
    """Return the physical id of a custom resource: the name of the bucket or group, so that a changed name replaces the resource.

    Raises:
        SweepError: If the resource has an unsupported type, or no name.
    """
    if event["RequestType"] == "Delete":
        return str(event["PhysicalResourceId"])
    kind, properties = str(event["ResourceType"]), event["ResourceProperties"]
    if kind not in _NAMES:
        raise SweepError(f"resource type must be one of {', '.join(_NAMES)}, got {kind}")
    if _NAMES[kind] not in properties:
        raise SweepError(f"{kind} needs property {_NAMES[kind]}, got {', '.join(sorted(properties)) or 'none'}")
    return str(properties[_NAMES[kind]])


def sweep(event: Mapping[str, Any], *, client: Callable[[str], Any], has_time: HasTime) -> int:
    """Handle a request, and return the number of deleted objects or packages; only requests of type ``Delete`` delete anything.

    When an update names another bucket or group, CloudFormation deletes the old resource by its physical id. The physical id of a
    resource whose creation failed is its logical id, and that of a cancelled creation contains it: neither has anything to empty.
    Resources without the tag ``MARK`` are kept: their unit retains its data.

    Args:
        event: CloudFormation's request.
        client: Creates the boto3 client of a service.
        has_time: Returns whether the function has time for another call.

    Raises:
        SweepError: See ``empty_bucket`` and ``delete_packages``.
    """
    name = physical_id(event)
    if event["RequestType"] != "Delete" or is_made_up(event):
        return 0
    if event["ResourceType"] == BUCKET:
        s3 = client("s3")
        return empty_bucket(s3, name, has_time=has_time) if is_bucket_marked(s3, name) else 0
    sagemaker = client("sagemaker")
    return delete_packages(sagemaker, name, has_time=has_time) if is_group_marked(sagemaker, name) else 0


def is_bucket_marked(s3: Any, bucket: str) -> bool:
    """Return whether a bucket may be emptied; ``False`` for a deleted bucket, or one whose policy denies the sweeper access.

    Args:
        s3: S3 client.
    """
    try:
        tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchTagSet", "NoSuchBucket", "AccessDenied"):
            return False
        raise
    return any(tag["Key"] == MARK for tag in tags)


def is_group_marked(sagemaker: Any, group: str) -> bool:
    """Return whether a group's packages may be deleted; ``False`` for an empty group."""
    packages = _packages(sagemaker, group)
    if not packages:
        return False
    arn = min(packages).rsplit("/", 1)[0].replace(":model-package/", ":model-package-group/")
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return any(tag["Key"] == MARK for page in pages for tag in page["Tags"])


def empty_bucket(s3: Any, bucket: str, *, has_time: HasTime) -> int:
    """Delete every version and delete marker of a bucket, and return their number.

    Args:
        s3: S3 client.
        has_time: Returns whether the function has time for another batch.

    Raises:
        SweepError: If a version cannot be deleted, or time runs out; deleting the stack again continues.
    """
    deleted = 0
    for batch in _batches(s3, bucket):
        if not has_time():
            raise SweepError(
                f"{bucket} is not empty yet after {deleted} deleted versions; delete the stack again to continue"
            )
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        for error in answer.get("Errors", []):
            raise SweepError(f"{error['Key']} of {bucket} cannot be deleted: {error['Code']}: {error['Message']}")
        deleted += len(batch)
    return deleted


def delete_packages(
    sagemaker: Any, group: str, *, has_time: HasTime, pause: Callable[[float], None] = time.sleep
) -> int:
    """Delete every package of a group, wait until SageMaker lists none, and return their number.

    Args:
        sagemaker: SageMaker client.
        group: Name of the model package group.
        has_time: Returns whether the function has time for another call.
        pause: Called with the seconds to wait. Default: ``time.sleep``.

    Raises:
        SweepError: If time runs out; deleting the stack again continues.
    """
    deleted: set[str] = set()
    while left := _packages(sagemaker, group):
        new = left - deleted
        for package in sorted(new):
            _check_time(group, len(deleted), has_time)
            try:
                sagemaker.delete_model_package(ModelPackageName=package)
            except ClientError as error:
                if not is_missing(error):
                    raise
            deleted.add(package)
        if not new:
            # status Deleting: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelPackageSummary.html
            _check_time(group, len(deleted), has_time)
            pause(_POLL)
    return len(deleted)


def _check_time(group: str, deleted: int, has_time: HasTime) -> None:
    if not has_time():
        raise SweepError(
            f"{group} is not empty yet after {deleted} deleted packages; delete the stack again to continue"
        )


def _packages(sagemaker: Any, group: str) -> set[str]:
    """Return the ARNs on the first page of remaining packages."""
    try:
        page = sagemaker.list_model_packages(ModelPackageGroupName=group, MaxResults=PAGE)
    except ClientError as error:
        if is_missing(error):
            return set()  # deleted by hand
        raise
    return {package["ModelPackageArn"] for package in page["ModelPackageSummaryList"]}


def _batches(s3: Any, bucket: str) -> Iterator[list[dict[str, str]]]:
    """Yield the first page of remaining versions until none remain; the caller deletes each."""
    while True:
        try:
            page = s3.list_object_versions(Bucket=bucket, MaxKeys=BATCH)
        except s3.exceptions.NoSuchBucket:
            return  # deleted by hand
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not versions:
            return
        yield [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
