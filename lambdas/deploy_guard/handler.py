"""Start Deploy executions for approvals, probation alarms, ended executions and deployments. Trigger: SQS."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.lambda_protocol import each
from mlops_runtime.rollout.deploy_guard import GuardSettings
from mlops_runtime.rollout.deploy_start import DeployGuard
from mlops_runtime.rollout.rollout_table import RolloutTable

logging.getLogger().setLevel(logging.INFO)

GUARD = DeployGuard(
    stepfunctions=boto3.client("stepfunctions"),
    cloudwatch=boto3.client("cloudwatch"),
    sagemaker=boto3.client("sagemaker"),
    table=RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], os.environ["ENDPOINT"]),
    settings=GuardSettings(
        machine_arn=os.environ["DEPLOY_MACHINE_ARN"],
        group=os.environ["MODEL_PACKAGE_GROUP"],
        stack=os.environ.get("STACK"),
        alarms=tuple(name for name in os.environ["PROBATION_ALARMS"].split(",") if name),
    ),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Handle each message; those that fail stay in the queue."""
    del context
    return each(event, GUARD.handle)
