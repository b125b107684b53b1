"""Plan of one Deploy execution, from what the sources say now."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.rollout import DeployRequest
from mlops_runtime.eks.gather import SlotReader
from mlops_runtime.rollout.gather import Sources
from mlops_runtime.rollout.preflight import decide

logging.getLogger().setLevel(logging.INFO)

SOURCES = Sources.from_environment(
    os.environ, boto3.client, slots=SlotReader.from_environment(os.environ, boto3.Session)
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return the plan for ``{"request", "execution", "now"}``."""
    del context
    request, execution = from_dict(DeployRequest, event["request"]), event["execution"]
    now = datetime.fromisoformat(event["now"])
    return decide(request, SOURCES.facts(request, execution=execution, now=now), execution=execution, now=now).as_dict()
