"""Start the monitoring job, which counts captures and decides. Trigger: EventBridge schedule."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.monitor.job_start import StartSettings, start
from mlops_runtime.monitor.window import event_time

logging.getLogger("mlops.monitor").setLevel(logging.INFO)
_settings = StartSettings.from_environment(os.environ)
_sagemaker = boto3.client("sagemaker")


def handler(event: dict[str, Any], _: object) -> dict[str, str]:
    """Start the job for the time of the schedule's event; the same event starts it only once."""
    return {"job": start(event_time(event), _settings, _sagemaker)}
