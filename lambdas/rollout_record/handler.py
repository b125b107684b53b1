"""Audit record of what came of an execution; moves the live pointer to what serves."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.eks.gather import SlotReader
from mlops_runtime.rollout.audit import claim_from
from mlops_runtime.rollout.record import AuditChain, record

logging.getLogger().setLevel(logging.INFO)

SAGEMAKER = boto3.client("sagemaker")
CHAIN = AuditChain.from_environment(os.environ, boto3.client)
SLOTS = SlotReader.from_environment(os.environ, boto3.Session)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Record ``{"plan", "request", "outcome", "reason", "execution", "now"}``."""
    del context
    return record(claim_from(event), sagemaker=SAGEMAKER, chain=CHAIN, slots=SLOTS)
