"""Audit record of an execution's outcome, which moves the live pointer; signature of an archive that passed its gate."""

import logging
import os
from typing import Any

import boto3

from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.rollout.archive_signatures import SignedArchives
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.outcome_record import claim_from, record

logging.getLogger().setLevel(logging.INFO)

SAGEMAKER = boto3.client("sagemaker")
CHAIN = AuditChain.from_environment(os.environ, boto3.client)
ARCHIVES = SignedArchives.from_environment(os.environ, boto3.client)
SLOTS = SlotReader.from_environment(os.environ, boto3.Session)
HAS_ENDPOINT = os.environ.get("HAS_ENDPOINT") != "false"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Record ``{"plan", "request", "outcome", "reason", "execution", "now"}``, or sign the archive of ``{"gate_uri"}``."""
    del context
    if "gate_uri" in event:
        return ARCHIVES.sign(event["gate_uri"])
    return record(claim_from(event), sagemaker=SAGEMAKER, chain=CHAIN, slots=SLOTS, has_endpoint=HAS_ENDPOINT)
