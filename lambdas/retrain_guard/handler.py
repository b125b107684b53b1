"""Alarms, schedules and requests, from SQS, to executions of the Retrain machine."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.messages import each
from mlops_runtime.retraining.alarm_evidence import AlarmEvidence
from mlops_runtime.retraining.guard import GuardSettings
from mlops_runtime.retraining.start import RetrainGuard

logging.getLogger().setLevel(logging.INFO)

DYNAMODB = boto3.client("dynamodb")
GUARD = RetrainGuard(
    dynamodb=DYNAMODB,
    stepfunctions=boto3.client("stepfunctions"),
    table=os.environ["RETRAINING_TABLE"],
    settings=GuardSettings.from_environment(os.environ),
    automation=Automation.from_environment(os.environ, DYNAMODB),
    evidence=AlarmEvidence.from_environment(os.environ, boto3.client("cloudwatch"), boto3.client("s3")),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Guard each message; those that fail stay in the queue."""
    del context
    return each(event, GUARD.handle)
