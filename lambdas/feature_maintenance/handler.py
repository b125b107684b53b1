"""Daily maintenance of feature tables, to keep them small. Trigger: EventBridge schedule."""

import json
import logging
import os
from dataclasses import asdict
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.features.store_client import FeatureStoreClient

logging.getLogger("mlops.features").setLevel(logging.INFO)
_glue, _s3 = boto3.client("glue"), boto3.client("s3")


def handler(event: dict[str, Any], _: object) -> list[dict[str, Any]]:
    """Maintain every table as of the time of the schedule's event."""
    now = datetime.fromisoformat(event["time"])
    client = FeatureStoreClient.glue(
        database=os.environ["DATABASE"],
        training_sets=os.environ.get("TRAINING_SETS"),  # set if builds by Athena are granted
        s3=_s3,
        glue=_glue,
        now=lambda: now,
    )
    return [asdict(each) for each in client.maintain(json.loads(os.environ["TABLES"]))]
