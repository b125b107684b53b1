"""Record the models that targets serve, and report those served here to the source. Triggers: SQS, with a schedule."""

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
