"""Approvals of model packages, from SQS, to executions of the Deploy machine."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.messages import each
from mlops_runtime.rollout.guard import guard

logging.getLogger().setLevel(logging.INFO)

STEP_FUNCTIONS = boto3.client("stepfunctions")
MACHINE_ARN = os.environ["DEPLOY_MACHINE_ARN"]
GROUP = os.environ["MODEL_PACKAGE_GROUP"]


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Guard each message; those that fail stay in the queue."""
    del context
    return each(
        event, lambda message: guard(message, stepfunctions=STEP_FUNCTIONS, machine_arn=MACHINE_ARN, group=GROUP)
    )
