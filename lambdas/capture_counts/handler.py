"""Count the records of new capture objects by the live model's baseline. Trigger: SQS, partial batch responses."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.monitor.scheduled_run import count_object
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.rollout_table import RolloutTable

_log = logging.getLogger("mlops.monitor")
_log.setLevel(logging.INFO)
_endpoint = os.environ["ENDPOINT"]
_store = MonitorStore(boto3.client("s3"), endpoint=_endpoint, artifacts=os.environ["ARTIFACTS_BUCKET"])
_table = RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], _endpoint)


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Count the objects of a batch; only those that fail are delivered again.

    See: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    failed = []
    for record in event["Records"]:
        try:
            state = count_object(record["body"], _store, _table)
        except Exception:  # for any error, the other objects of the batch must still be counted
            _log.exception("message %s was not counted", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
        else:
            _log.info("message %s: %s", record["messageId"], state)
    return {"batchItemFailures": failed}
