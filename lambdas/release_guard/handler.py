"""Start Release executions for approvals, promotions and a retry schedule. Trigger: SQS."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.lambda_protocol import each
from mlops_runtime.promotion.release_guard import ReleaseSettings
from mlops_runtime.promotion.release_start import ReleaseGuard
from mlops_runtime.rollout.rollout_table import RolloutTable

logging.getLogger().setLevel(logging.INFO)

DYNAMODB = boto3.client("dynamodb")
GUARD = ReleaseGuard(
    stepfunctions=boto3.client("stepfunctions"),
    sagemaker=boto3.client("sagemaker"),
    table=RolloutTable(DYNAMODB, os.environ["ROLLOUT_TABLE"], os.environ["ENDPOINT"]),
    automation=Automation.from_environment(os.environ, DYNAMODB),
    settings=ReleaseSettings.from_environment(os.environ),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Handle each message; those that fail stay in the queue."""
    del context
    return each(event, GUARD.handle)
