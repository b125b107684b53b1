"""Store the candidate of a Retrain execution before its evaluation, and gate it afterwards."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.retraining import Candidate
from mlops_runtime.retraining.registration_gate import Judge, time_of
from mlops_runtime.retraining.training_artifacts import Artifacts

logging.getLogger().setLevel(logging.INFO)

JUDGE = Judge.from_environment(os.environ, boto3.client)
ARTIFACTS = Artifacts(s3=JUDGE.s3, bucket=JUDGE.bucket, pipeline=JUDGE.pipeline)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Store ``{"trained_uri", "execution", "candidate"}``, or gate ``{"evaluation_uri", "execution", "now", "code", ...}``."""
    del context
    if "trained_uri" in event:
        given = event.get("candidate")
        candidate = None if given is None else from_dict(Candidate, given)
        return ARTIFACTS.keep(event["trained_uri"], event["execution"], candidate)
    place = {name: event[name] for name in ("image", "artifact_uri", "environment") if name in event}
    code, now = event["code"], time_of(event["now"])
    return JUDGE.judge(event["evaluation_uri"], event["execution"], now, code=code, **place)
