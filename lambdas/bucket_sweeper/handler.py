"""Custom resource that empties a bucket when it leaves a DEVELOPMENT stack."""

import logging
from typing import Any

import boto3

from mlops_runtime.business_unit import sweep
from mlops_runtime.rollout import cloudformation

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.INFO)
_S3 = boto3.client("s3")
_RESERVE_MS = 30_000


def handler(event: dict[str, Any], context: Any) -> None:
    """Empty the bucket on deletion and answer CloudFormation in every case; it waits an hour for an answer that never comes."""
    failure: str | None = None
    physical_id = str(event.get("PhysicalResourceId", event["LogicalResourceId"]))
    try:
        physical_id = sweep.physical_id(event)
        bucket = sweep.bucket_to_empty(event)
        if bucket is not None:
            deleted = sweep.empty(_S3, bucket, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
            _LOG.info("deleted %d versions of %s", deleted, bucket)
    except Exception as error:  # whatever it is, CloudFormation has to hear of it
        failure = f"{type(error).__name__}: {error}"
    cloudformation.answer(event, physical_id=physical_id, failure=failure)
