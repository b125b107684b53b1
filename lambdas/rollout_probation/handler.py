"""Send golden requests to a model on probation. Trigger: EventBridge schedule."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.eks.slot_caller import SlotCaller
from mlops_runtime.rollout.golden_rehearsal import RETRIES, GoldenCaller
from mlops_runtime.rollout.probation_watch import ProbationWatch
from mlops_runtime.rollout.rollout_table import RolloutTable

_log = logging.getLogger("mlops.probation")
_log.setLevel(logging.INFO)
_RESERVE_MS = 90_000  # one more call of at most 70 seconds

_RUNTIME = boto3.client("sagemaker-runtime", config=RETRIES)
_S3, _BUCKET = boto3.client("s3"), os.environ["ARTIFACTS_BUCKET"]
WATCH = ProbationWatch(
    table=RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], os.environ["ENDPOINT"]),
    s3=_S3,
    events=boto3.client("events"),
    cloudwatch=boto3.client("cloudwatch"),
    stepfunctions=boto3.client("stepfunctions"),
    caller=GoldenCaller(s3=_S3, runtime=_RUNTIME, bucket=_BUCKET, slots=SlotCaller.from_environment(os.environ)),
    machine_arn=os.environ["DEPLOY_MACHINE_ARN"],
    bucket=_BUCKET,
)


def handler(event: dict[str, Any], context: Any) -> str:
    """Check once, at the time of the schedule's event."""
    at = datetime.fromisoformat(event["time"])
    result = WATCH.look(at, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
    _log.info("%s", result)
    return result
