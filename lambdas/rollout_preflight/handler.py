"""Plan of one Deploy execution, from what the sources say now."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.rollout import DeployRequest
from mlops_runtime.rollout.gather import Sources
from mlops_runtime.rollout.preflight import decide
from mlops_runtime.rollout.table import RolloutTable

logging.getLogger().setLevel(logging.INFO)

SOURCES = Sources(
    sagemaker=boto3.client("sagemaker"),
    cloudwatch=boto3.client("cloudwatch"),
    s3=boto3.client("s3"),
    table=RolloutTable(boto3.client("dynamodb"), os.environ["ROLLOUT_TABLE"], os.environ["ENDPOINT"]),
    group=os.environ.get("MODEL_PACKAGE_GROUP", os.environ["ENDPOINT"]),
    bucket=os.environ["ARTIFACTS_BUCKET"],
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return the plan for ``{"request", "execution", "now"}``."""
    del context
    request = from_dict(DeployRequest, event["request"])
    now = datetime.fromisoformat(event["now"])
    return decide(request, SOURCES.facts(request), execution=event["execution"], now=now).as_dict()
