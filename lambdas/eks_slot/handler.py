"""Slots of a service on EKS: the candidate is applied, looked at, and what has no traffic rests."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.eks.gather import SlotReader
from mlops_runtime.eks.slot import SlotKeeper

logging.getLogger().setLevel(logging.INFO)
_log = logging.getLogger("mlops.slot")

READER = SlotReader.from_environment(os.environ, boto3.Session)
if READER is None:
    raise RuntimeError(f"TARGET must be EKS, got {os.environ.get('TARGET')!r}")
KEEPER = SlotKeeper(s3=boto3.client("s3"), bucket=os.environ["ARTIFACTS_BUCKET"], reader=READER)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer ``{"action", "plan", "outcome", "now"}``."""
    del context
    answer = KEEPER.handle(event)
    _log.info("%s for %s: %s", event["action"], event["plan"]["config_name"], answer)
    return answer
