"""Decide on drift and quality in the last window. Trigger: EventBridge schedule."""

import logging
import os
from functools import partial
from typing import Any

import boto3

from mlops_runtime.contracts import to_dict
from mlops_runtime.monitor.model_monitor.execution_evidence import add_executions
from mlops_runtime.monitor.scheduled_run import DecideSettings, decide_window
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window import event_time
from mlops_runtime.rollout.rollout_table import RolloutTable

logging.getLogger("mlops.monitor").setLevel(logging.INFO)
_settings = DecideSettings.from_environment(os.environ)
_s3, _artifacts, _name = boto3.client("s3"), os.environ["ARTIFACTS_BUCKET"], _settings.endpoint
_store = MonitorStore(_s3, endpoint=_name, artifacts=_artifacts, captures=os.environ["CAPTURE_BUCKET"])
_table = RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], _name)
_clients = {name: boto3.client(name) for name in ("cloudwatch", "events")}
_executions = None
if _settings.model_monitors:
    _arguments = {"spec": _settings.spec, "endpoint": _name, "monitors": _settings.model_monitors}
    _executions = partial(add_executions, s3=_s3, bucket=_artifacts, sagemaker=boto3.client("sagemaker"), **_arguments)


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Run the monitor for the time of the schedule's event, and return its report."""
    report = decide_window(event_time(event), _settings, store=_store, table=_table, executions=_executions, **_clients)
    return dict(to_dict(report))
