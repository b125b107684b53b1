"""Decide over the last window whether data drifted and quality fell. Trigger: EventBridge schedule."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import to_dict
from mlops_runtime.monitor.run import DecideSettings, decide_window
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.table import RolloutTable

logging.getLogger("mlops.monitor").setLevel(logging.INFO)
_settings = DecideSettings.from_environment(os.environ)
_store = MonitorStore(
    boto3.client("s3"),
    endpoint=_settings.endpoint,
    artifacts=os.environ["ARTIFACTS_BUCKET"],
    captures=os.environ["CAPTURE_BUCKET"],
)
_table = RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], _settings.endpoint)
_cloudwatch, _events = boto3.client("cloudwatch"), boto3.client("events")


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Run the monitor for the time that the schedule's event carries, and return its report."""
    now = datetime.fromisoformat(event["time"])
    report = decide_window(now, _settings, store=_store, table=_table, cloudwatch=_cloudwatch, events=_events)
    return dict(to_dict(report))
