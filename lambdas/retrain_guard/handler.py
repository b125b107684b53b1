"""Alarms, schedules and requests, from SQS, to executions of the Retrain machine."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.messages import each
from mlops_runtime.retraining.guard import GuardSettings
from mlops_runtime.retraining.start import RetrainGuard

logging.getLogger().setLevel(logging.INFO)

GUARD = RetrainGuard(
    dynamodb=boto3.client("dynamodb"),
    cloudwatch=boto3.client("cloudwatch"),
    stepfunctions=boto3.client("stepfunctions"),
    table=os.environ["RETRAINING_TABLE"],
    settings=GuardSettings(
        pipeline=os.environ["PIPELINE"],
        machine_arn=os.environ["RETRAIN_MACHINE_ARN"],
        alarms=tuple(name for name in os.environ.get("ALARM_NAMES", "").split(",") if name),
        cool_down=int(os.environ["COOL_DOWN_SECONDS"]),
        daily_budget=int(os.environ["DAILY_BUDGET"]),
        lock_seconds=int(os.environ.get("LOCK_SECONDS", "21600")),
    ),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Guard each message; those that fail stay in the queue."""
    del context
    return each(event, GUARD.handle)
