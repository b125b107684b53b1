"""Verdict on the candidate of one Retrain execution."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.retraining.verdict import Judge, time_of

logging.getLogger().setLevel(logging.INFO)

JUDGE = Judge(
    s3=boto3.client("s3"),
    bucket=os.environ["ARTIFACTS_BUCKET"],
    pipeline=os.environ["PIPELINE"],
    spec=from_json(GateSpec, os.environ["GATE"]),
    automation=Automation.from_environment(os.environ, boto3.client("dynamodb")),
)


def handler(event: dict[str, Any], context: object) -> dict[str, str | bool]:
    """Judge ``{"evaluation_uri", "execution", "now"}``."""
    del context
    return JUDGE.judge(event["evaluation_uri"], event["execution"], time_of(event["now"]))
