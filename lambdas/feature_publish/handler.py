"""Publish newly ingested rows of feature tables to the online table. Trigger: SQS, partial batch responses."""

import logging
import os
from pathlib import Path
from typing import Any

import boto3

from mlops_runtime.features.online_publication import OnlinePublisher
from mlops_runtime.lambda_protocol import each

logging.getLogger().setLevel(logging.INFO)

PUBLISHER = OnlinePublisher.from_environment(os.environ, Path(__file__).parent, dynamodb=boto3.client("dynamodb"))


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Publish the table of each message; those that fail stay in the queue."""
    del context
    return each(event, PUBLISHER.handle)
