"""Plan of one Deploy execution, from what the sources say now."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.rollout import DeployRequest
from mlops_runtime.eks.gather import SlotReader
from mlops_runtime.registry.approval import ApprovalRule
from mlops_runtime.rollout.gather import Sources
from mlops_runtime.rollout.preflight import decide
from mlops_runtime.rollout.table import RolloutTable

logging.getLogger().setLevel(logging.INFO)

DYNAMODB = boto3.client("dynamodb")
SOURCES = Sources(
    sagemaker=boto3.client("sagemaker"),
    cloudwatch=boto3.client("cloudwatch"),
    s3=boto3.client("s3"),
    table=RolloutTable(DYNAMODB, os.environ["ROLLOUT_TABLE"], os.environ["ENDPOINT"]),
    group=os.environ.get("MODEL_PACKAGE_GROUP", os.environ["ENDPOINT"]),
    bucket=os.environ["ARTIFACTS_BUCKET"],
    automation=Automation.from_environment(os.environ, DYNAMODB),
    rule=ApprovalRule.from_environment(os.environ),
    slots=SlotReader.from_environment(os.environ, boto3.Session),
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return the plan for ``{"request", "execution", "now"}``."""
    del context
    request, execution = from_dict(DeployRequest, event["request"]), event["execution"]
    now = datetime.fromisoformat(event["now"])
    return decide(request, SOURCES.facts(request, execution=execution, now=now), execution=execution, now=now).as_dict()
