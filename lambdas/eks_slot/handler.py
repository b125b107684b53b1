"""Slots of a service on EKS: apply and observe the candidate, and scale a slot without traffic to zero."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.eks.slot import SlotKeeper
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.rollout.rollout_table import RolloutTable

logging.getLogger().setLevel(logging.INFO)
_log = logging.getLogger("mlops.slot")

READER = SlotReader.from_environment(os.environ, boto3.Session)
if READER is None:
    raise RuntimeError(f"TARGET must be EKS, got {os.environ.get('TARGET')!r}")
KEEPER = SlotKeeper(
    s3=boto3.client("s3"),
    bucket=os.environ["ARTIFACTS_BUCKET"],
    table=RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], os.environ["ENDPOINT"]),
    reader=READER,
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Run the action of ``{"action", "plan", "outcome", "execution", "now"}``."""
    del context
    answer = KEEPER.handle(event)
    _log.info("%s for %s: %s", event["action"], event["plan"]["config_name"], answer)
    return answer
