"""Publish the age of the newest event of each feature table. Trigger: EventBridge schedule."""

import logging
import os
from dataclasses import asdict
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.features.table_freshness import FreshnessSettings, measure

logging.getLogger("mlops.features").setLevel(logging.INFO)
_settings = FreshnessSettings.from_environment(os.environ)
_glue, _s3, _cloudwatch = boto3.client("glue"), boto3.client("s3"), boto3.client("cloudwatch")


def handler(event: dict[str, Any], _: object) -> list[dict[str, Any]]:
    """Measure every table at the time of the schedule's event."""
    now = datetime.fromisoformat(event["time"])
    return [asdict(age) for age in measure(now, _settings, glue=_glue, s3=_s3, cloudwatch=_cloudwatch)]
