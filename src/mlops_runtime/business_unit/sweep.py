"""Empty a bucket that leaves its stack: every version and delete marker.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/empty-bucket.html
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

BATCH = 1000  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html


class SweepError(RuntimeError):
    """Some versions could not be deleted; the message names the first."""


def bucket_to_empty(event: Mapping[str, Any]) -> str | None:
    """Return the bucket that a custom resource's event asks to empty, if it does.

    A bucket is emptied when its resource is deleted, and when an update names another bucket CloudFormation deletes the old
    resource by its physical id, which is the bucket's name.

    Args:
        event: CloudFormation's request.
    """
    return str(event["PhysicalResourceId"]) if event["RequestType"] == "Delete" else None


def physical_id(event: Mapping[str, Any]) -> str:
    """Return the physical id of a custom resource: the bucket's name, so that another bucket is another resource.

    Args:
        event: CloudFormation's request.
    """
    if event["RequestType"] == "Delete":
        return str(event["PhysicalResourceId"])
    return str(event["ResourceProperties"]["BucketName"])


def empty(s3: Any, bucket: str, *, has_time: Callable[[], bool]) -> int:
    """Delete every version and delete marker of a bucket, and return how many there were.

    Args:
        s3: A boto3 client of S3.
        bucket: The bucket.
        has_time: Whether the function may start one more batch.

    Raises:
        SweepError: If a version cannot be deleted, or time runs out; deleting the stack again goes on where this one stopped.
    """
    deleted = 0
    for batch in _batches(s3, bucket):
        if not has_time():
            raise SweepError(f"{bucket} is not yet empty after {deleted} versions; delete the stack again to go on")
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        for error in answer.get("Errors", []):
            raise SweepError(f"{error['Key']} of {bucket} cannot be deleted: {error['Code']}: {error['Message']}")
        deleted += len(batch)
    return deleted


def _batches(s3: Any, bucket: str) -> Iterator[list[dict[str, str]]]:
    """The first versions that are left, again and again: what was deleted is not listed any more."""
    while True:
        try:
            page = s3.list_object_versions(Bucket=bucket, MaxKeys=BATCH)
        except s3.exceptions.NoSuchBucket:
            return  # somebody deleted it by hand, which is what was asked for
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not versions:
            return
        yield [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
