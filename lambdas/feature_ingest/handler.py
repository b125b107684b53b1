"""Ingest each new batch, or reject it with all of its problems. Trigger: SQS, partial batch responses."""

import logging
import os
from pathlib import Path
from typing import Any

import boto3

from mlops_runtime.features.incoming import IncomingBatches
from mlops_runtime.lambda_protocol import each

logging.getLogger().setLevel(logging.INFO)

BATCHES = IncomingBatches.from_environment(
    os.environ,
    Path(__file__).parent,
    s3=boto3.client("s3"),
    events=boto3.client("events"),
    glue=boto3.client("glue"),
)


def handler(event: dict[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Ingest the batch of each message; those that fail stay in the queue."""
    del context
    return each(event, BATCHES.handle)
