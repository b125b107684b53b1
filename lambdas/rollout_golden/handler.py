"""Golden requests to a candidate's rehearsal endpoint, and synthetic traffic during the bakes of a rollout."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.eks.slot_caller import SlotCaller
from mlops_runtime.rollout.golden_rehearsal import RETRIES, GoldenCaller

_log = logging.getLogger("mlops.golden")
_log.setLevel(logging.INFO)
_RESERVE_MS = 90_000  # one more call of at most 70 seconds

CALLER = GoldenCaller(
    s3=boto3.client("s3"),
    runtime=boto3.client("sagemaker-runtime", config=RETRIES),
    bucket=os.environ["ARTIFACTS_BUCKET"],
    slots=SlotCaller.from_environment(os.environ),
)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Check the endpoint or send traffic, by ``{"mode", "endpoint", "golden", ...}``."""
    answer = CALLER.handle(event, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
    _log.info("%s of %s: %s", event["mode"], event["endpoint"], answer)
    return answer
