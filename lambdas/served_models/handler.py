"""What targets serve, what is served here, and a schedule, from SQS, to what is known of targets and to the source."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.lambda_protocol import each
from mlops_runtime.promotion.served_models import ServedModels

logging.getLogger().setLevel(logging.INFO)

MODELS = ServedModels.from_environment(os.environ, boto3.client)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Handle each message; those that fail stay in the queue."""
    del context
    return each(event, MODELS.handle)
