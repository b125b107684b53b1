"""Tag the snapshots of a training set before its job reads them. Invoked by the Retrain machine."""

import logging
import os
from pathlib import Path
from typing import Any

import boto3

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.snapshot_tags import SnapshotTags
from mlops_runtime.iso_time import parse_time

logging.getLogger().setLevel(logging.INFO)

TAGS = SnapshotTags(
    glue=boto3.client("glue"),
    s3=boto3.client("s3"),
    database=os.environ["DATABASE"],
    memory=int(os.environ["MEMORY"]),
)
PLAN = from_json(TrainingSetPlan, (Path(__file__).parent / "plan.json").read_text("utf-8"))
TABLES = os.environ["TABLES"].split(",")


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Return the tag of the plan's tables for ``{"as_of": ISO, "now": ISO}``, and the engine for their size with the reason."""
    del context
    found = TAGS.pin(PLAN, TABLES, as_of=parse_time(event["as_of"]), now=parse_time(event["now"]))
    return {"tag": found.tag, "engine": found.choice.engine, "reason": found.choice.reason}
