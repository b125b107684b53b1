"""Tags the snapshots that a training set will read, before its job reads them. Asked by the Retrain machine."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.snapshot_tags import SnapshotTags

logging.getLogger().setLevel(logging.INFO)

TAGS = SnapshotTags(glue=boto3.client("glue"), s3=boto3.client("s3"), database=os.environ["DATABASE"])
PLAN = from_json(TrainingSetPlan, (Path(__file__).parent / "plan.json").read_text("utf-8"))
TABLES = os.environ["TABLES"].split(",")


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Return the tag of the plan's tables for ``{"as_of": ISO}``."""
    del context
    as_of = datetime.fromisoformat(event["as_of"])
    as_of = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of
    # commits to a table have the time of those who make them
    return {"tag": TAGS.pin(PLAN, TABLES, as_of=as_of, now=datetime.now(UTC))}
