"""Plan of a Deploy execution, from the current state of its sources."""

import logging
import os
from datetime import datetime
from typing import Any

import boto3

from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.rollout import DeployRequest
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.rollout.instance_quota import Quotas
from mlops_runtime.rollout.preflight import decide
from mlops_runtime.rollout.preflight_facts import Sources

logging.getLogger().setLevel(logging.INFO)

SOURCES = Sources.from_environment(
    os.environ, boto3.client, slots=SlotReader.from_environment(os.environ, boto3.Session)
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return the plan for ``{"request", "execution", "now", "quotas"}``."""
    del context
    request, execution = from_dict(DeployRequest, event["request"]), event["execution"]
    now = datetime.fromisoformat(event["now"])
    quotas = from_dict(Quotas, event["quotas"])
    facts = SOURCES.facts(request, execution=execution, now=now, quotas=quotas)
    return decide(request, facts, execution=execution, now=now).as_dict()
