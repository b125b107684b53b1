"""Start Retrain executions for alarms, schedules and requests. Trigger: SQS."""

import logging
import os
from functools import partial
from typing import Any

import boto3

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.lambda_protocol import each
from mlops_runtime.registry.package_registry import approval_of
from mlops_runtime.retraining.request_evidence import AlarmEvidence, IngestedRows
from mlops_runtime.retraining.retraining_guard import GuardSettings
from mlops_runtime.retraining.retraining_start import RetrainGuard

logging.getLogger().setLevel(logging.INFO)

DYNAMODB, SETTINGS = boto3.client("dynamodb"), GuardSettings.from_environment(os.environ)
GUARD = RetrainGuard(
    dynamodb=DYNAMODB,
    stepfunctions=boto3.client("stepfunctions"),
    table=os.environ["RETRAINING_TABLE"],
    settings=SETTINGS,
    automation=Automation.from_environment(os.environ, DYNAMODB),
    evidence=AlarmEvidence.from_environment(os.environ, boto3.client("cloudwatch"), boto3.client("s3")),
    ingested=IngestedRows(glue=boto3.client("glue"), s3=boto3.client("s3"), database=SETTINGS.label_database or ""),
    approval=partial(approval_of, boto3.client("sagemaker")),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Handle each message; those that fail stay in the queue."""
    del context
    return each(event, GUARD.handle)
