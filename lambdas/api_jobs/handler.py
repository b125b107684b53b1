"""Send an API's jobs to an asynchronous endpoint, and store the result of each. Trigger: SQS, partial batch responses."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.inference_api.api_jobs import ApiJobs

_log = logging.getLogger("mlops.jobs")
_log.setLevel(logging.INFO)
_jobs = ApiJobs(
    boto3.client("sagemaker-runtime"),
    boto3.client("s3"),
    endpoint=os.environ["ENDPOINT"],
    bucket=os.environ["EXCHANGE_BUCKET"],
)


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Process the objects of a batch; only those that fail are delivered again.

    See: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    failed = []
    for record in event["Records"]:
        try:
            done = _jobs.follow(record["body"])
        except Exception:  # for any error, the other objects of the batch must still be processed
            _log.exception("message %s failed", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
        else:
            _log.info("message %s: %s", record["messageId"], done)
    return {"batchItemFailures": failed}
