"""Verdict on the candidate of one Retrain execution."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.retraining.verdict import Judge

logging.getLogger().setLevel(logging.INFO)

JUDGE = Judge(
    s3=boto3.client("s3"),
    bucket=os.environ["ARTIFACTS_BUCKET"],
    pipeline=os.environ["PIPELINE"],
    spec=from_json(GateSpec, os.environ["GATE"]),
)


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Judge ``{"evaluation_uri", "execution", "now"}``."""
    del context
    return JUDGE.judge(event["evaluation_uri"], event["execution"])
